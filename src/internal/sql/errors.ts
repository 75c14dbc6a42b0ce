/**
 * Error codes of the databases, and what they mean to the store.
 */
import { SqlError } from "@effect/sql/SqlError"
import * as Predicate from "effect/Predicate"
import type { SessionStoreError } from "../../SessionStore.js"

/** The error code of the database or its driver; "" if there is none. */
export const codeOf = (error: SqlError): string =>
  Predicate.hasProperty(error.cause, "code") ? String(error.cause.code) : ""

/** Whether tables or columns are missing. SQLite has no code for this error. */
export const isUnmigrated = (code: string, message: string): boolean =>
  unmigrated.has(code) || /no such (?:table|column)|has no column named/.test(message)

const unmigrated = new Set(["42P01", "42703", "ER_BAD_FIELD_ERROR", "ER_NO_SUCH_TABLE"])

/** The server is a replica, or read-only by its settings. */
export const readOnly: ReadonlySet<string> = new Set([
  "25006",
  "ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION",
  "ER_OPTION_PREVENTS_STATEMENT",
  "ER_READ_ONLY_MODE"
])

/** The user lacks a privilege. */
export const denied: ReadonlySet<string> = new Set([
  "42501",
  "ER_COLUMNACCESS_DENIED_ERROR",
  "ER_DBACCESS_DENIED_ERROR",
  "ER_TABLEACCESS_DENIED_ERROR"
])

/** Conflicts with other transactions: the statement has changed nothing, so retrying is safe. */
export const transient: ReadonlySet<string> = new Set([
  "40001",
  "40P01",
  "ER_CHECKREAD",
  "ER_LOCK_DEADLOCK",
  "ER_LOCK_WAIT_TIMEOUT",
  "SQLITE_BUSY",
  "SQLITE_BUSY_SNAPSHOT"
])

/**
 * Whether Postgres reports that it has not executed the statement. Not so if the connection was lost or the server shuts down (08, 57): the
 * statement may have been executed. Nor if it conflicted with other transactions (40), because that is retried.
 */
export const isRejected = (code: string): boolean => /^(?!08|40|57)[0-9A-Z]{5}$/.test(code)

/** Whether nothing was written because a table is missing, or because the user may not write it. */
export const isUnwritable = (error: SqlError): boolean =>
  denied.has(codeOf(error)) ||
  isUnmigrated(codeOf(error), error.cause instanceof Error ? error.cause.message : "")

/** Whether a unique constraint was violated. */
export const isDuplicate = ({ cause }: SessionStoreError): boolean =>
  cause instanceof SqlError && duplicate.has(codeOf(cause))

const duplicate: ReadonlySet<string> = new Set([
  "23505",
  "ER_DUP_ENTRY",
  "SQLITE_CONSTRAINT_PRIMARYKEY",
  "SQLITE_CONSTRAINT_UNIQUE"
])

/** A character has no equivalent in the encoding, or is not valid in it. */
export const unencodable: ReadonlySet<string> = new Set(["22P05", "22021"])

/** Why every statement on a table would fail. `message`: the first line of the database's own message. */
interface AccessProblem {
  readonly kind: "missing" | "denied" | "readOnly"
  readonly message: string
}

/** Returns why a table is missing, may not be used, or may not be written; `undefined` for an error of the driver that may pass. */
export const accessProblem = (error: SqlError): AccessProblem | undefined => {
  const [code, message] = [codeOf(error), messageOf(error)]
  const kind = isUnmigrated(code, message)
    ? "missing"
    : denied.has(code)
    ? "denied"
    : readOnly.has(code) || code.startsWith("SQLITE_READONLY")
    ? "readOnly"
    : undefined
  return kind === undefined ? undefined : { kind, message }
}

/** As {@link accessProblem}, for the error of a call. */
export const problemOfAccess = ({ cause }: SessionStoreError): AccessProblem | undefined =>
  cause instanceof SqlError ? accessProblem(cause) : undefined

const messageOf = ({ cause }: SqlError): string => cause instanceof Error ? cause.message.split("\n", 1).join("") : ""
