/**
 * The engine on Django's table: the cookie holds the key of a row.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { JsonRecord } from "../../Json.js"
import type { BoundEngine, CookieValue, Opened, Scope, Write, Written } from "../../SessionEngine.js"
import type { SessionRecord } from "../../SessionRecord.js"
import { SessionStoreError } from "../../SessionStore.js"
import { hmacSha256, lengthPrefixed, randomBytes } from "../crypto/primitives.js"
import * as ExpiryRules from "../domain/expiry.js"
import { isRecord } from "../json.js"
import type { StoreCalls } from "../store/calls.js"
import { corrupt } from "../store/corrupt.js"
import type { Dates } from "./content.js"
import * as DjangoContent from "./content.js"
import * as DjangoMembers from "./members.js"
import type { Read, Reader } from "./reader.js"
import { maxJsonBytes, signatureOf, type Signer } from "./signing.js"
import type { SessionRow, Table } from "./table.js"

/** The keys of Django and of its older versions. Tokens of this library have a dot. */
const keyPattern = /^[A-Za-z0-9_-]{8,40}$/

/** Returns whether a cookie value has the form of a key. */
export const isKey = (text: string): boolean => keyPattern.test(text)

const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"

/** Draws a key as Django does: 32 small letters and digits, 165 bits. */
const drawKey = (): string => {
  let key = ""
  while (key.length < 32) {
    // Larger bytes would make the first characters of the alphabet more frequent.
    for (const byte of randomBytes(64)) if (byte < 7 * 36 && key.length < 32) key += alphabet.charAt(byte % 36)
  }
  return key
}

/** A session as its row was read. */
export interface Session extends Read {
  readonly row: SessionRow
  readonly record: SessionRecord
}

export interface Options {
  readonly table: Table
  readonly calls: StoreCalls
  readonly remote: boolean
  readonly signer: Signer
  readonly reader: Reader
  readonly dates: Dates
  /** The authentication backend of logins. */
  readonly backend: string
}

const place = "the table"

/** Reads a row; `undefined` if it has no session. */
const sessionOf = (
  { reader }: Pick<Options, "reader">,
  namespace: string,
  row: SessionRow,
  now: number
): Effect.Effect<Session | undefined, SessionStoreError> =>
  Effect.map(reader.read(row.text, place), (read) => {
    if (read === undefined) return undefined
    const record = DjangoContent.liveRecordOf(read.content, { namespace, ...row }, now)
    return record === undefined ? undefined : { ...read, row, record }
  })

export const make = (options: Options, { expiry, fields, namespace }: Scope): BoundEngine => {
  const { backend, calls: { limited, resolved }, dates, reader, remote, signer, table } = options
  const names = fields === undefined ? undefined : new Set(fields)

  /** The sessions that were read last by each cookie value: a write needs the source of their members. */
  const sessions = new WeakMap<CookieValue, Session>()

  const opened = (value: CookieValue, session: Session): Opened => {
    sessions.set(value, session)
    return { value, record: session.record, needsReseal: false }
  }

  const load = (key: string, now: number, operation = "load") => limited(operation, table.load(key, now, operation))

  /** Returns the session that was read last for this value if it has this version, else loads it. `undefined`: it has ended. */
  const sessionAt = (value: CookieValue, version: number, now: number) => {
    const known = sessions.get(value)
    return known?.record.version === version
      ? Effect.succeed(known)
      : Effect.flatMap(
        load(Redacted.value(value), now),
        (row) => row === undefined ? Effect.succeed(undefined) : sessionOf(options, namespace, row, now)
      )
  }

  /** Limits a record by its deadline. A session that only Django has written gets one by this write. */
  const limitedBy = (record: SessionRecord, before: Session | undefined, now: number): SessionRecord => {
    const deadline = record.expiry.deadline ??
      (before?.record.id === record.id ? before.record.expiry.deadline : undefined) ??
      (expiry === undefined ? undefined : ExpiryRules.deadlineFrom(expiry, now))
    const at = Math.min(Math.floor(record.expiry.at), deadline ?? Infinity, DjangoContent.lastDate)
    return { ...record, expiry: { ...record.expiry, at, deadline } }
  }

  /** Encodes a record to the row of a key. */
  const encoded = (
    operation: string,
    written: SessionRecord,
    before: Session | undefined,
    key: string,
    now: number
  ): Effect.Effect<Session, SessionStoreError> =>
    Effect.gen(function*() {
      const record = limitedBy(written, before, now)
      const data = yield* dataOf(operation, record)
      // A new login of the same user takes the hash of the password as it is now: the request may have changed it.
      const isSame = before?.record.id === record.id && before.content.subject === record.subject &&
        before.record.authenticatedAt === record.authenticatedAt
      const authHash = record.subject === undefined
        ? undefined
        : isSame
        ? before.authHash
        : yield* Effect.flatMap(reader.authHashOf(record.subject), (hash) =>
          hash === undefined ? Effect.fail(unknownUser(operation)) : Effect.succeed(hash))
      const login = authHash === undefined ? undefined : { hash: authHash, backend: isSame ? undefined : backend }
      const json = DjangoContent.encode(record, data, { before, login, fields: names, dates, now })
      if (json.length > maxJsonBytes) {
        return yield* new SessionStoreError({ operation, reason: "size" })
      }
      const text = yield* signer.sign(json, now)
      const signedAt = Math.floor(now / 1000)
      const content = DjangoContent.decode(
        { _tag: "Verified", json, signedAt, signature: signatureOf(text), secret: 0 },
        dates
      )
      if (content === undefined) {
        return yield* corrupt(operation, new TypeError("the session is not a JSON object"))
      }
      const row = { key, text, expiresAt: record.expiry.at }
      // As the next request will read it.
      return { content, authHash, row, record: DjangoContent.recordOf(content, { namespace, ...row }) }
    })

  const written = (session: Session, value: CookieValue = Redacted.make(session.row.key)): Written => {
    sessions.set(value, session)
    return { _tag: "Written", value, record: session.record }
  }

  /** Finds whether a row that no write has changed was written by another one, or has ended. */
  const unwritten = (operation: string, key: string, now: number) =>
    Effect.map(load(key, now, operation), (row): Written => row === undefined ? { _tag: "Gone" } : { _tag: "Conflict" })

  /** Whether the row of a key has the text of this write: its reply was lost. */
  const isOwn = (operation: string, { row }: Session, now: number) =>
    Effect.map(load(row.key, now, operation), (found) => found?.text === row.text)

  const create = (
    record: SessionRecord,
    now: number,
    minted: string | undefined,
    tries = 3
  ): Effect.Effect<Written, SessionStoreError> =>
    Effect.flatMap(encoded("create", record, undefined, minted ?? drawKey(), now), (session) =>
      resolved(
        "create",
        table.create(session.row),
        (isCreated): Effect.Effect<Written, SessionStoreError> =>
          isCreated
            ? Effect.succeed(written(session))
            : tries > 1
            ? create(record, now, undefined, tries - 1)
            : Effect.fail(new SessionStoreError({ operation: "create", reason: "corrupt" })),
        (isCreated, error) =>
          isCreated ? Effect.succeed(written(session)) : Effect.flatMap(
            isOwn("create", session, now),
            (isOwn) => isOwn ? Effect.succeed(written(session)) : Effect.fail(error)
          )
      ))

  const replace = (
    write: Extract<Write, { readonly _tag: "Rotate" | "Save" }>,
    now: number
  ): Effect.Effect<Written, SessionStoreError> => {
    const operation = write._tag === "Save" ? "save" : "rotate"
    const key = Redacted.value(write.value)
    return Effect.flatMap(sessionAt(write.value, write.expectedVersion, now), (before) => {
      if (before === undefined) return Effect.succeed<Written>({ _tag: "Gone" })
      if (before.record.version !== write.expectedVersion) return Effect.succeed<Written>({ _tag: "Conflict" })
      const attempt = (minted: string | undefined): Effect.Effect<Written, SessionStoreError> =>
        Effect.flatMap(
          encoded(operation, write.record, before, write._tag === "Save" ? key : minted ?? drawKey(), now),
          (session) => {
            const done = () => Effect.succeed(written(session, write._tag === "Save" ? write.value : undefined))
            const expected = { key, signature: before.content.verified.signature, now }
            return resolved(
              operation,
              table.replace(operation, expected, session.row),
              (changed): Effect.Effect<Written, SessionStoreError> =>
                changed === "taken" ? attempt(undefined) : changed ? done() : unwritten(operation, key, now),
              (changed, error): Effect.Effect<Written, SessionStoreError> =>
                changed === true ? done() : Effect.flatMap(
                  isOwn(operation, session, now),
                  (isOwn): Effect.Effect<Written, SessionStoreError> =>
                    isOwn
                      ? done()
                      : Effect.flatMap(unwritten(operation, key, now), (outcome) =>
                        outcome._tag === "Gone" ? Effect.succeed(outcome) : Effect.fail(error))
                )
            )
          }
        )
      return attempt(write._tag === "Rotate" && write.minted !== undefined ? Redacted.value(write.minted) : undefined)
    })
  }

  return {
    remote,
    selfContained: false,
    sharesCookie: true,
    recognizes: isKey,
    mint: () => Redacted.make(drawKey()),
    secretOf: ({ value }) => hmacSha256(new TextEncoder().encode(Redacted.value(value)), forgery),
    endReason: (value, now) => {
      const key = Redacted.value(value)
      if (!isKey(key)) return Exit.succeed(Option.none())
      return Effect.flatMap(load(key, now, "endReason"), (row) =>
        row !== undefined
          ? Effect.succeedSome("unknown" as const)
          : Effect.map(
            limited("endReason", table.exists(key)),
            (isThere) => Option.some(isThere ? "expired" as const : "unknown" as const)
          ))
    },
    ping: (now) => Effect.asVoid(load(drawKey(), now)),
    open: (value, now) => {
      const key = Redacted.value(value)
      if (!isKey(key)) return Exit.succeed(Option.none())
      return Effect.flatMap(load(key, now), (row) =>
        row?.key !== key
          ? Effect.succeedNone
          : Effect.map(
            sessionOf(options, namespace, row, now),
            (session) => session === undefined ? Option.none() : Option.some(opened(value, session))
          ))
    },
    write: (write, now) => {
      if (write._tag === "Create") {
        return create(write.record, now, write.minted === undefined ? undefined : Redacted.value(write.minted))
      }
      if (!isKey(Redacted.value(write.value))) return Exit.succeed<Written>({ _tag: "Gone" })
      return write._tag === "Touch"
        // A touch would sign the text again, and conflict with saves of Django. Only a policy with `idle` needs it, which is rejected.
        ? Exit.succeed<Written>({ _tag: "Written", value: write.value, record: write.record })
        : replace(write, now)
    },
    destroy: (value) => {
      const key = Redacted.value(value)
      if (!isKey(key)) return Exit.void
      return resolved("destroy", table.destroy(key), () => Exit.void, () => Exit.void)
    }
  }
}

const forgery = lengthPrefixed("effect-session/csrf")

/** The data of a record as JSON, without names that Django reserves. */
const dataOf = (operation: string, record: SessionRecord): Effect.Effect<JsonRecord, SessionStoreError> => {
  let data: unknown
  try {
    data = JSON.parse(record.data)
  } catch (cause) {
    return Effect.fail(corrupt(operation, cause))
  }
  return isRecord(data) && !Object.keys(data).some(DjangoMembers.isReserved)
    ? Effect.succeed(data)
    : Effect.fail(
      corrupt(
        operation,
        new TypeError(
          "Django keeps a session as a JSON object whose names begin with no underscore: leave SessionCodec out, and rename such fields."
        )
      )
    )
}

const unknownUser = (operation: string): SessionStoreError =>
  new SessionStoreError({
    operation,
    reason: "unavailable",
    cause: new Error(
      "Django has no active user with the id of this login, so it would end the session at the next request: authenticate with the " +
        "primary key of the user."
    )
  })
