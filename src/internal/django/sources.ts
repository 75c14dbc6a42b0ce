/**
 * The places where Django's engines keep sessions: a table, files, and signed cookies.
 */
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { BoundEngine } from "../../SessionEngine.js"
import type { SessionRecord } from "../../SessionRecord.js"
import { SessionStoreError } from "../../SessionStore.js"
import { encodeBase64Url, nameBytes } from "../crypto/primitives.js"
import * as Tokens from "../crypto/sessionToken.js"
import * as Ids from "../domain/id.js"
import * as DjangoContent from "./content.js"
import type { Options } from "./engine.js"
import { isKey, sessionOf } from "./engine.js"
import type { Found, Source } from "./moving.js"
import type { Reader } from "./reader.js"
import type { Signer, Verified } from "./signing.js"

/** The table of the engines `db` and `cached_db`. The trace of a move is a row that Django cannot find. */
export const table = (options: Options, namespace: string): Source => {
  const { calls: { limited, resolved }, reader, signer, table } = options
  const open = (key: string, now: number): Effect.Effect<Found | undefined, SessionStoreError> => {
    const moved = DjangoContent.movedKeyOf(key)
    return Effect.flatMap(limited("load", table.loadMoved(key, moved, now)), (row) => {
      if (row?.key === key) {
        return Effect.map(
          sessionOf(options, namespace, row, now),
          (session): Found | undefined =>
            session === undefined
              ? undefined
              : { _tag: "Live", record: session.record, signature: session.content.verified.signature }
        )
      }
      return row?.key !== moved ? Effect.succeed(undefined) : Effect.map(
        reader.read(row.text, "the table"),
        (read): Found | undefined => {
          const signature = read?.content.ours.movedFrom
          return signature === undefined ? undefined : { _tag: "Moved", signature }
        }
      )
    })
  }
  return {
    remote: options.remote,
    recognizes: isKey,
    open,
    ping: (now) => Effect.asVoid(limited("load", table.load("", now))),
    ending: {
      end: (key, { leavesTrace, now, signature, until }) => {
        const expected = { key, signature, now }
        if (!leavesTrace) {
          // A lost reply may be that of a logout in Django as well as that of this call: the session counts as ended.
          return resolved("rotate", table.end(expected), Effect.succeed, Effect.succeed)
        }
        return Effect.flatMap(
          signer.sign(DjangoContent.encodeMoved(signature), now),
          (text) => {
            const row = { key: DjangoContent.movedKeyOf(key), text, expiresAt: Math.floor(until) }
            return resolved(
              "rotate",
              table.replace("rotate", expected, row),
              (changed) => Effect.succeed(changed === true),
              (changed) =>
                changed === true ? Effect.succeed(true) : Effect.map(
                  open(key, now),
                  (found) => found?._tag === "Moved" && found.signature === signature
                )
            )
          }
        )
      },
      remove: (key) => resolved("destroy", table.destroy(key), Effect.succeed, Effect.succeed),
      forget: (key) =>
        resolved(
          "destroy",
          table.destroy(DjangoContent.movedKeyOf(key)),
          () => Effect.void,
          () => Effect.void
        )
    }
  }
}

/** The formats of Django's other engines. `cookieAge` in milliseconds. */
export interface Formats {
  readonly signer: Signer
  readonly reader: Reader
  readonly cookieAge: number
}

/** A file: its text, and when it was written, in milliseconds since the epoch. */
interface File {
  readonly text: string
  readonly modifiedAt: number
}

/** The files of the engine `file`. The trace of a move is the file under another name, which Django does not look for. */
export const files = (
  { cookieAge, reader }: Formats,
  { directory, fs, prefix }: {
    readonly fs: FileSystem.FileSystem
    readonly directory: string
    /** The name of the cookie, with which the names of the files begin. */
    readonly prefix: string
  },
  namespace: string
): Source => {
  const pathOf = (key: string): string => `${directory}/${prefix}${key}`
  const movedOf = (key: string): string => `${pathOf(key)}.moved`
  const ifThere = <A>(
    operation: string,
    effect: Effect.Effect<A, PlatformError>
  ): Effect.Effect<Option.Option<A>, SessionStoreError> =>
    Effect.catchAll(
      Effect.asSome(effect),
      (cause) =>
        cause._tag === "SystemError" && cause.reason === "NotFound"
          ? Effect.succeedNone
          : new SessionStoreError({ operation, reason: "unavailable", cause })
    )
  const read = (path: string): Effect.Effect<File | undefined, SessionStoreError> =>
    Effect.map(
      ifThere("load", Effect.zip(fs.readFileString(path), fs.stat(path))),
      Option.match({
        onNone: () => undefined,
        onSome: ([text, { mtime }]) => ({
          text,
          modifiedAt: Option.match(mtime, { onNone: () => 0, onSome: (date) => date.getTime() })
        })
      })
    )
  const live = (key: string, { modifiedAt, text }: File, now: number) =>
    Effect.map(reader.read(text, "a file"), (found): Found | undefined => {
      if (found === undefined) return undefined
      const { lifetime, verified: { signature } } = found.content
      const end = lifetime?._tag === "Until"
        ? lifetime.at
        : modifiedAt + (lifetime?._tag === "Inactivity" ? lifetime.millis : cookieAge)
      const record = DjangoContent.recordOf(found.content, { namespace, key, expiresAt: end })
      return record.expiry.at > now ? { _tag: "Live", record, signature } : undefined
    })
  const open = (key: string, now: number): Effect.Effect<Found | undefined, SessionStoreError> =>
    Effect.flatMap(
      read(pathOf(key)),
      (file) =>
        file !== undefined && file.text !== "" ? live(key, file, now) : Effect.map(
          read(movedOf(key)),
          (file): Found | undefined =>
            file === undefined ? undefined : { _tag: "Moved", signature: signatureOf(file.text) }
        )
    )
  const remove = (path: string) => Effect.map(ifThere("destroy", fs.remove(path)), Option.isSome)
  return {
    remote: false,
    // Django's own engine accepts no other characters, so a cookie cannot name a file elsewhere.
    recognizes: (value) => /^[a-z0-9]{8,40}$/.test(value),
    open,
    ending: {
      end: (key, { leavesTrace, signature }) =>
        Effect.flatMap(read(pathOf(key)), (file) =>
          file === undefined || signatureOf(file.text) !== signature
            ? Effect.succeed(false)
            : leavesTrace
            ? Effect.map(ifThere("rotate", fs.rename(pathOf(key), movedOf(key))), Option.isSome)
            : remove(pathOf(key))),
      remove: (key) => remove(pathOf(key)),
      forget: (key) => Effect.asVoid(remove(movedOf(key)))
    }
  }
}

const signatureOf = (text: string): string => text.slice(text.lastIndexOf(":") + 1)

/**
 * The cookies of the engine `signed_cookies`. Django ignores the lifetime of a session here; a date in it is respected.
 *
 * Such a cookie stays valid for Django. So the target keeps a mark of each session that has moved or ended, as long as its cookie could
 * be used. The mark is a session without a user, whose token only the secret of the cookie can derive: no visitor can end it.
 */
export const signedCookies = ({ cookieAge, reader, signer }: Formats, namespace: string, to: BoundEngine): Source => {
  const markOf = (value: string, verified: Verified) => Tokens.fromBytes(signer.secretOf(value, verified))

  const open = (value: string, now: number): Effect.Effect<Found | undefined, SessionStoreError> =>
    Effect.flatMap(reader.read(value, "a cookie"), (read): Effect.Effect<Found | undefined, SessionStoreError> => {
      if (read === undefined) return Effect.succeed(undefined)
      const { verified } = read.content
      const { signature, signedAt } = verified
      const record = DjangoContent.recordOf(read.content, {
        namespace,
        key: value,
        expiresAt: signedAt * 1000 + cookieAge
      })
      if (record.expiry.at <= now) return Effect.succeed(undefined)
      return Effect.map(
        to.open(markOf(value, verified), now, "fresh"),
        Option.match({
          onNone: (): Found => ({ _tag: "Live", record, signature }),
          onSome: (mark): Found | undefined =>
            mark.record.data === marks.moved ? { _tag: "Moved", signature } : undefined
        })
      )
    })

  /** Returns whether this call has marked the session: `false` if another one has, or if the cookie is not valid. */
  const marked = (value: string, data: string, now: number): Effect.Effect<boolean, SessionStoreError> =>
    Effect.flatMap(signer.verify(value), (verified): Effect.Effect<boolean, SessionStoreError> => {
      if (verified._tag === "Rejected") return Effect.succeed(false)
      const at = verified.signedAt * 1000 + cookieAge
      if (at <= now) return Effect.succeed(false)
      const minted = markOf(value, verified)
      const record: SessionRecord = {
        namespace,
        id: Ids.fromBytes(nameBytes(Ids.byteLength)),
        data,
        schemaVersion: 1,
        subject: undefined,
        version: 1,
        writeId: encodeBase64Url(nameBytes(12)),
        createdAt: now,
        authenticatedAt: undefined,
        modifiedAt: now,
        lastSeenAt: now,
        expiry: { at, deadline: undefined, lifetime: undefined },
        attributes: undefined
      }
      return Effect.flatMap(
        to.write({ _tag: "Create", record, minted }, now),
        (created): Effect.Effect<boolean, SessionStoreError> =>
          created._tag !== "Written"
            ? Effect.succeed(false)
            : Redacted.value(created.value) === Redacted.value(minted)
            ? Effect.succeed(true)
            : Effect.as(to.destroy(created.value), false)
      )
    })

  return {
    remote: false,
    recognizes: (value) => /^\.?[A-Za-z0-9_-]+:[A-Za-z0-9-]+:[A-Za-z0-9_-]{43}$/.test(value),
    open,
    ending: {
      end: (value, { leavesTrace, now }) => marked(value, leavesTrace ? marks.moved : marks.ended, now),
      remove: (value) =>
        Effect.flatMap(Effect.clock, (clock) => marked(value, marks.ended, clock.unsafeCurrentTimeMillis())),
      forget: () => Effect.void
    }
  }
}

/** The data of marks. */
const marks = { moved: "{\"_moved\":true}", ended: "{\"_ended\":true}" } as const
