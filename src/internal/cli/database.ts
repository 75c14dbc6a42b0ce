/**
 * Database clients of the command line, and the sentences with which it reports failures.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Cause from "effect/Cause"
import type { ConfigError } from "effect/ConfigError"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import { SessionConfigError } from "../../SessionConfigError.js"
import { SessionStore, SessionStoreError } from "../../SessionStore.js"
import { type HelpId, referring } from "../help.js"
import { isUnmigrated } from "../sql/errors.js"
import { unchecked } from "../sql/store.js"
import type { Dialect } from "../sql/tables.js"

/** The failure of a command, reported as one sentence without a stack. */
export class CliFailure extends Data.TaggedError("CliFailure")<{
  /** 1: failed; 2: wrong usage; 3: not found. */
  readonly exitCode: 1 | 2 | 3
  readonly message: string
  /** The entry of the troubleshooting page. It ends the sentence that is reported. */
  readonly help: string | undefined
}> {}

export const failed = (message: string, help: HelpId, exitCode: 1 | 2 | 3 = 1) =>
  new CliFailure({ exitCode, message, help })

/** The failure of an option that the library rejects. */
export const misconfigured = ({ help, problem }: SessionConfigError, exitCode: 1 | 2 = 2) =>
  new CliFailure({ exitCode, message: problem, help })

/** The same failure with another message. */
export const reworded = ({ exitCode, help }: CliFailure, message: string) => new CliFailure({ exitCode, message, help })

/** The sentence that is reported. */
export const sentenceOf = ({ help, message }: CliFailure): string =>
  help === undefined ? message : referring(message, help)

/** The URL of a database. It may contain a password. */
export type DatabaseUrl = Redacted.Redacted

/** The dialect that a URL names. It does not connect. */
export const dialectOf = (url: DatabaseUrl): Effect.Effect<Dialect, CliFailure> => {
  const scheme = /^([a-z0-9+.-]+):/i.exec(Redacted.value(url))?.[1]?.toLowerCase()
  switch (scheme) {
    case "postgres":
    case "postgresql":
      return Effect.succeed("pg")
    case "sqlite":
      return Effect.succeed("sqlite")
    case "mysql":
    case "mariadb":
      return Effect.succeed("mysql")
    default:
      return Effect.fail(
        failed(
          "The database URL must begin with postgres://, mysql:// or sqlite:; for all but migrate also with redis:// or file:.",
          "database-url-invalid"
        )
      )
  }
}

type Client = Effect.Effect<
  Layer.Layer<SqlClient.SqlClient, SqlError | ConfigError>,
  CliFailure,
  FileSystem.FileSystem
>

/** A client for the URL. Without `create` a SQLite file that does not exist is an error. */
export const client = (url: DatabaseUrl, create: boolean, connections = 1): Client =>
  Effect.flatMap(dialectOf(url), (dialect) => {
    switch (dialect) {
      case "mysql":
        return mysql(url, connections)
      case "pg":
        return postgres(url, connections)
      case "sqlite":
        return sqlite(url, create)
    }
  })

const postgres = (url: DatabaseUrl, maxConnections: number): Client =>
  Effect.gen(function*() {
    yield* parse(url)
    const PgClient = yield* driver("@effect/sql-pg", () => import("@effect/sql-pg/PgClient"))
    return PgClient.layer({
      url,
      maxConnections,
      applicationName: "effect-session",
      // Passed on to the driver: without it a connection attempt to a silent server never ends.
      connectTimeout: "5 seconds"
    })
  })

const mysql = (url: DatabaseUrl, maxConnections: number): Client =>
  Effect.gen(function*() {
    const parsed = yield* parse(url)
    if (parsed.pathname.length < 2) {
      return yield* failed(
        "The database URL names no database: mysql://user:password@host/database.",
        "database-url-invalid"
      )
    }
    const MysqlClient = yield* driver("@effect/sql-mysql2", () => import("@effect/sql-mysql2/MysqlClient"))
    // The driver reads its settings from the URL. Its default timeout is ten seconds.
    if (!parsed.searchParams.has("connectTimeout")) parsed.searchParams.set("connectTimeout", "5000")
    return MysqlClient.layer({ url: Redacted.make(parsed.href), maxConnections })
  })

const sqlite = (url: DatabaseUrl, create: boolean): Client =>
  Effect.gen(function*() {
    const filename = fileOf(url)
    if (filename === "") {
      return yield* failed("The database URL names no file: sqlite:path/to/file.", "database-url-invalid")
    }
    const files = yield* FileSystem.FileSystem
    const there = yield* Effect.orElseSucceed(files.exists(filename), () => false)
    if (!there && !create) {
      return yield* failed(`There is no file ${filename}: "effect-session migrate" creates one.`, "store-missing")
    }
    const SqliteClient = yield* driver("@effect/sql-sqlite-node", () => import("@effect/sql-sqlite-node/SqliteClient"))
    // The journal mode is stored in the file, and is the application's choice.
    return SqliteClient.layer({ filename, disableWAL: true })
  })

/** The versions that are compatible with Effect 3, which are not the newest of every package. */
const versions = {
  "@effect/sql-mysql2": "0.53",
  "@effect/sql-pg": "0.53",
  "@effect/sql-sqlite-node": "0.53",
  ioredis: "5"
} as const

/** Loads a driver lazily, so that only the one in use must be installed. */
export const driver = <A>(name: keyof typeof versions, load: () => Promise<A>): Effect.Effect<A, CliFailure> =>
  Effect.tryPromise({
    try: load,
    catch: (cause) =>
      failed(
        Predicate.hasProperty(cause, "code") && cause.code === "ERR_MODULE_NOT_FOUND"
          ? `The database driver is not installed: npm install ${name}@${versions[name]}`
          : `The database driver ${name} could not be loaded: ${firstLine(cause)}`,
        "database-driver-missing"
      )
  })

/** `sqlite:path`, and `sqlite://` before an absolute path. */
export const fileOf = (url: DatabaseUrl): string => Redacted.value(url).replace(/^sqlite:(?:\/\/)?/i, "")

/** Parses a URL. Fails with a sentence that does not repeat it. */
export const parse = (url: DatabaseUrl): Effect.Effect<URL, CliFailure> =>
  Effect.try({
    try: () => {
      const parsed = new URL(Redacted.value(url))
      decodeURIComponent(parsed.username + parsed.password)
      // A raw "/", "?" or "#" in a password ends the authority early: the rest of the password must not be shown as a name.
      if (`${parsed.pathname}${parsed.search}${parsed.hash}`.includes("@")) throw new TypeError()
      return parsed
    },
    catch: () =>
      failed(
        "The database URL cannot be read; special characters in its user, password and name must be percent-encoded.",
        "database-url-invalid"
      )
  })

/** The option that names one of two stores. */
export type Side = "--from" | "--to"

/** Turns any failure, including a defect of a driver, into the sentence that is reported. */
export const explained =
  (url: DatabaseUrl, side?: Side) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, CliFailure, R> =>
    Effect.catchAllCause(effect, (cause) => {
      if (Cause.isInterruptedOnly(cause)) return Effect.interrupt
      const error = Cause.squash(cause)
      const root = rootOf(error)
      return root instanceof CliFailure
        ? root
        : error instanceof SessionConfigError
        ? misconfigured(error)
        : Effect.flatMap(explain(error, url, side), ([message, help]) => new CliFailure({ exitCode: 1, message, help }))
    })

type Explanation = readonly [message: string, help: HelpId | undefined]

/** Describes an error as one sentence that never contains the password. */
const explain = (error: unknown, url: DatabaseUrl, side: Side | undefined): Effect.Effect<Explanation> =>
  Effect.map(Effect.option(parse(url)), (parsed) => {
    const cause = rootOf(error)
    const message = firstLine(cause)
    if (Predicate.hasProperty(error, "reason") && error.reason === "clock") return [message, "clocks-differ"]
    const code = codeOf(cause, message)
    if (isUnmigrated(code, message)) {
      return [
        side === undefined
          ? `The tables are missing or out of date: run "effect-session migrate" with the same --prefix and --schema.`
          : `The tables of ${side} are missing or out of date: run "effect-session migrate" with its URL, prefix and schema.`,
        "tables-missing"
      ]
    }
    const place = parsed._tag === "Some" && parsed.value.host !== "" ? ` at ${parsed.value.host}` : ""
    if (code === "ETIMEDOUT") return [`The database${place} cannot be reached (no answer).`, "database-unreachable"]
    if (unreachable.has(code)) return [`The database${place} cannot be reached (${code}).`, "database-unreachable"]
    if (/connection (?:time(?:d )?out|terminated)|timeout exceeded/i.test(message)) {
      return [`The database${place} cannot be reached (no answer).`, "database-unreachable"]
    }
    // Its message has a reference.
    if (cause instanceof SessionStoreError) return [`The database${place} failed: ${message}`, undefined]
    const known = sentences[code]
    if (known !== undefined) return [known, "store-unavailable"]
    const secrets = parsed._tag === "Some" ? secretsOf(parsed.value) : []
    return [
      message === "" || secrets.some((secret) => message.includes(secret))
        ? `The database${place} failed${code === "" ? "" : ` (${code})`}.`
        : `The database${place} failed: ${message.replace(/\.?$/, ".")}`,
      "store-unavailable"
    ]
  })

/** The code of an error. An error of Redis begins with its code. */
const codeOf = (cause: unknown, message: string): string =>
  Predicate.hasProperty(cause, "code")
    ? String(cause.code)
    : cause instanceof Error && cause.name === "ReplyError"
    ? message.split(" ", 1).join("")
    : ""

const unreachable = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOENT",
  "ENOTFOUND",
  "EPIPE",
  "PROTOCOL_CONNECTION_LOST"
])

const sentences: Readonly<Record<string, string>> = {
  "28000": "The database rejects the user.",
  "28P01": "The database rejects the user or the password.",
  "3D000": "The server has no database of that name.",
  ENOTDIR: "There is a file where the directory of sessions should be.",
  ER_ACCESS_DENIED_ERROR: "The database rejects the user or the password.",
  ER_BAD_DB_ERROR: "The server has no database of that name.",
  ER_CON_COUNT_ERROR: "The server has too many connections; try again.",
  ER_DBACCESS_DENIED_ERROR: "The user may not use that database, or it does not exist.",
  ER_HOST_IS_BLOCKED: "The server blocks this host after too many failures.",
  ER_HOST_NOT_PRIVILEGED: "The server does not allow connections from this host.",
  ER_LOCK_DEADLOCK: "Repeated conflicts with concurrent transactions; try again.",
  ER_LOCK_WAIT_TIMEOUT: "Repeated conflicts with concurrent transactions; try again.",
  ER_OPTION_PREVENTS_STATEMENT: "The server is read-only.",
  ER_TABLEACCESS_DENIED_ERROR: "The user lacks a privilege on these tables.",
  LOADING: "The server is still loading its data; try again.",
  NOAUTH: "The database rejects the user or the password.",
  NOPERM: "The user lacks a permission for these keys.",
  READONLY: "The server is read-only.",
  SQLITE_BUSY: "The SQLite file is locked by another process; try again.",
  SQLITE_CANTOPEN: "The SQLite file cannot be opened.",
  SQLITE_NOTADB: "The file is not a SQLite database.",
  SQLITE_READONLY: "The SQLite file cannot be written.",
  WRONGPASS: "The database rejects the user or the password."
}

const secretsOf = (url: URL): ReadonlyArray<string> =>
  [url.password, decodeURIComponent(url.password), url.searchParams.get("password") ?? ""]
    .filter((secret) => secret !== "")

/** The innermost cause, which is the error of the driver. */
const rootOf = (error: unknown): unknown =>
  Predicate.hasProperty(error, "cause") && Predicate.isObject(error.cause) ? rootOf(error.cause) : error

/** Describes why a record is corrupt. The error of a store never contains its data. */
export const corruptionOf = (error: SessionStoreError): string => printable(firstLine(rootOf(error)))

/** Escapes control characters, so that text from a database cannot move the cursor of a terminal or begin a new line. */
export const printable = (text: string): string =>
  text.replace(
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`
  )

const firstLine = (error: unknown): string => error instanceof Error ? error.message.split("\n", 1).join("").trim() : ""

/** The store on a database, without a check of its tables: each command explains what it cannot do. */
export const sqlStore = (
  names: { readonly prefix?: string; readonly schema?: string }
): Layer.Layer<SessionStore, SessionConfigError, SqlClient.SqlClient> =>
  Layer.effect(SessionStore, unchecked({ ...names, durableDestroy: false }))
