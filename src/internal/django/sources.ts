/**
 * The places where Django's engines keep sessions: a table, files, and signed cookies.
 */
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { BoundEngine, CookieValue } from "../../SessionEngine.js"
import type { SessionRecord } from "../../SessionRecord.js"
import { SessionStoreError } from "../../SessionStore.js"
import { encodeBase64Url, nameBytes } from "../crypto/primitives.js"
import * as Tokens from "../crypto/sessionToken.js"
import * as Ids from "../domain/id.js"
import * as DjangoContent from "./content.js"
import type { Options } from "./engine.js"
import { isKey } from "./engine.js"
import type { Live, Moved, Source } from "./moving.js"
import type { Reader } from "./reader.js"
import type { Signer, Verified } from "./signing.js"
import { signatureOf } from "./signing.js"
import type { SessionRow } from "./table.js"

/**
 * The table of the engines `db` and `cached_db`. A claimed session is in a row with another key, which no cookie has; so is the trace of a
 * move, without data.
 */
export const table = (options: Options, namespace: string): Source => {
  const { calls: { limited, resolved }, reader, signer, table } = options
  const find = (key: string, now: number) => limited("load", table.loadMoved(key, DjangoContent.movedKeyOf(key), now))

  /** Converts a row that is found by its own key, or by that of a claimed session. */
  const foundIn = (
    key: string,
    row: SessionRow,
    now: number
  ): Effect.Effect<Live | Moved | undefined, SessionStoreError> =>
    Effect.flatMap(reader.read(row.text, "the table"), (read): Effect.Effect<Live | Moved | undefined> => {
      if (read === undefined) return Effect.succeed(undefined)
      const { ours: { id, movedFrom }, verified: { signature } } = read.content
      if (id !== undefined && movedFrom !== undefined) {
        return Effect.succeed({ _tag: "Moved", signature: movedFrom, id })
      }
      const record = DjangoContent.liveRecordOf(read.content, { namespace, key, expiresAt: row.expiresAt }, now)
      if (record === undefined) return Effect.succeed(undefined)
      const expected = (now: number) => ({ key: row.key, signature, now })
      return Effect.succeed({
        _tag: "Live",
        record,
        signature,
        // If a reply was lost and the second call finds no row, a logout in Django may have deleted it, and counts.
        end: (now) => resolved("rotate", table.end(expected(now)), Effect.succeed, Effect.succeed),
        ...row.key !== key ? {} : {
          claim: (now) =>
            resolved(
              "save",
              table.replace("save", expected(now), { ...row, key: DjangoContent.movedKeyOf(key) }),
              (changed) => Effect.succeed(changed === true),
              (changed) =>
                changed === true
                  ? Effect.succeed(true)
                  : Effect.map(find(key, now), (found) => found?.key !== key && found?.text === row.text)
            )
        }
      })
    })

  return {
    remote: options.remote,
    recognizes: isKey,
    open: (key, now) =>
      Effect.flatMap(find(key, now), (row) =>
        row?.key === key || row?.key === DjangoContent.movedKeyOf(key)
          ? foundIn(key, row, now)
          : Effect.succeed(undefined)),
    ping: (now) => Effect.asVoid(limited("load", table.load("", now))),
    finish: (key, { id, now, signature, until }) =>
      Effect.flatMap(signer.sign(DjangoContent.encodeMoved(signature, id), now), (text) => {
        const moved = DjangoContent.movedKeyOf(key)
        const row = { key: moved, text, expiresAt: Math.floor(until) }
        const isChanged = (changed: boolean | "taken") => Effect.succeed(changed === true)
        return resolved("save", table.replace("save", { key: moved, signature, now }, row), isChanged, isChanged)
      }),
    remove: (key) => resolved("destroy", table.destroy(key), Effect.succeed, Effect.succeed),
    forget: (key) => {
      const done = () => Effect.void
      return resolved("destroy", table.destroy(DjangoContent.movedKeyOf(key)), done, done)
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

/**
 * The files of the engine `file`. A claimed session, and the trace of its move, is the file under another name, which Django does not look
 * for.
 */
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
  const claimedOf = (key: string): string => `${pathOf(key)}.claimed`
  const movedOf = (key: string): string => `${pathOf(key)}.moved`
  const idOf = (key: string): string => `${pathOf(key)}.id`
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
  const rename = (from: string, to: string) => Effect.map(ifThere("save", fs.rename(from, to)), Option.isSome)
  const remove = (path: string) => Effect.map(ifThere("destroy", fs.remove(path)), Option.isSome)
  /** Converts a file. `path`: where it was read. */
  const live = (key: string, path: string, { modifiedAt, text }: File, now: number) =>
    Effect.map(reader.read(text, "a file"), (found): Live | undefined => {
      if (found === undefined) return undefined
      const { lifetime, verified: { signature } } = found.content
      const end = lifetime?._tag === "Until"
        ? lifetime.at
        : modifiedAt + (lifetime?._tag === "Inactivity" ? lifetime.millis : cookieAge)
      const record = DjangoContent.liveRecordOf(found.content, { namespace, key, expiresAt: end }, now)
      if (record === undefined) return undefined
      /** Changes the file, if it still has this text. */
      const unchanged = (change: Effect.Effect<boolean, SessionStoreError>) =>
        Effect.flatMap(read(path), (file) => file?.text === text ? change : Effect.succeed(false))
      return {
        _tag: "Live",
        record,
        signature,
        end: () => unchanged(remove(path)),
        ...path === claimedOf(key) ? {} : { claim: () => unchanged(rename(path, claimedOf(key))) }
      }
    })
  const open = (key: string, now: number): Effect.Effect<Live | Moved | undefined, SessionStoreError> =>
    Effect.gen(function*() {
      // In the order of a move, so that a file that is renamed meanwhile is found.
      for (const path of [pathOf(key), claimedOf(key)]) {
        const file = yield* read(path)
        if (file !== undefined && file.text !== "") return yield* live(key, path, file, now)
      }
      const [file, id] = yield* Effect.all([read(movedOf(key)), read(idOf(key))])
      return file === undefined || id === undefined
        ? undefined
        : { _tag: "Moved", signature: signatureOf(file.text), id: id.text } as const
    })
  return {
    remote: false,
    // Django's own engine accepts no other characters, so a cookie cannot name a file elsewhere.
    recognizes: (value) => /^[a-z0-9]{8,40}$/.test(value),
    open,
    finish: (key, { id }) =>
      Effect.zipRight(
        // The first one counts: an id that is written later is that of a late move.
        Effect.catchIf(
          fs.writeFileString(idOf(key), id, { flag: "wx" }),
          (error) => error._tag === "SystemError" && error.reason === "AlreadyExists",
          () => Effect.void
        ).pipe(Effect.mapError((cause) => new SessionStoreError({ operation: "save", reason: "unavailable", cause }))),
        rename(claimedOf(key), movedOf(key))
      ),
    remove: (key) => remove(pathOf(key)),
    forget: (key) => Effect.zipRight(remove(movedOf(key)), Effect.asVoid(remove(idOf(key))))
  }
}

/**
 * The cookies of the engine `signed_cookies`. Django ignores the lifetime of a session here; a date in it is respected.
 *
 * Such a cookie stays valid for Django. So the target keeps a marker of each session that was claimed, has moved or has ended, as long as
 * its cookie could be used. The marker is a session without a user. Only the secret of the cookie can derive its token: no visitor can end
 * it.
 */
export const signedCookies = ({ cookieAge, reader, signer }: Formats, namespace: string, to: BoundEngine): Source => {
  /** Returns the token of the marker of a verified cookie, and the end of both in milliseconds. */
  const markerOf = (value: string, verified: Verified): Marker => ({
    token: Tokens.fromBytes(signer.secretOf(value, verified)),
    at: verified.signedAt * 1000 + cookieAge
  })

  /** Changes the marker of a cookie. Returns `false` if the cookie is not valid. */
  const withMarker = (
    value: string,
    now: number,
    change: (marker: Marker) => Effect.Effect<boolean, SessionStoreError>
  ): Effect.Effect<boolean, SessionStoreError> =>
    Effect.flatMap(signer.verify(value), (verified) => {
      if (verified._tag === "Rejected") return Effect.succeed(false)
      const marker = markerOf(value, verified)
      return marker.at > now ? change(marker) : Effect.succeed(false)
    })

  /** Creates the marker of a session. Returns `false` if it has one. */
  const createMarker = (
    { at, token }: Marker,
    data: string,
    now: number
  ): Effect.Effect<boolean, SessionStoreError> =>
    Effect.suspend(() => {
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
        to.write({ _tag: "Create", record, minted: token }, now),
        (created): Effect.Effect<boolean, SessionStoreError> =>
          created._tag !== "Written"
            ? Effect.succeed(false)
            : Redacted.value(created.value) === Redacted.value(token)
            ? Effect.succeed(true)
            : Effect.as(to.destroy(created.value), false)
      )
    })

  /** Replaces the data of a marker. Returns `false` if it is in another state than `from`, or another request has changed it. */
  const changeMarker = (
    { token }: Marker,
    from: "claimed" | "moved",
    data: string,
    now: number
  ): Effect.Effect<boolean, SessionStoreError> =>
    Effect.flatMap(
      to.open(token, now, "fresh"),
      Option.match({
        onNone: () => Effect.succeed(false),
        onSome: ({ record }) =>
          stateIn(record.data)._tag !== from ? Effect.succeed(false) : Effect.map(
            to.write({
              _tag: "Save",
              value: token,
              record: { ...record, data, version: record.version + 1, writeId: encodeBase64Url(nameBytes(12)) },
              expectedVersion: record.version
            }, now),
            ({ _tag }) => _tag === "Written"
          )
      })
    )

  const open = (value: string, now: number): Effect.Effect<Live | Moved | undefined, SessionStoreError> =>
    Effect.flatMap(
      reader.read(value, "a cookie"),
      (read): Effect.Effect<Live | Moved | undefined, SessionStoreError> => {
        if (read === undefined) return Effect.succeed(undefined)
        const { verified } = read.content
        const { signature } = verified
        const marker = markerOf(value, verified)
        const record = DjangoContent.liveRecordOf(read.content, { namespace, key: value, expiresAt: marker.at }, now)
        if (record === undefined) return Effect.succeed(undefined)
        const live = { _tag: "Live", record, signature } as const
        return Effect.map(
          to.open(marker.token, now, "fresh"),
          Option.match({
            onNone: (): Live => ({
              ...live,
              claim: (now) => createMarker(marker, claimed, now),
              end: (now) => createMarker(marker, ended, now)
            }),
            onSome: ({ record: { data } }): Live | Moved | undefined => {
              const state = stateIn(data)
              switch (state._tag) {
                case "claimed":
                  return { ...live, end: (now) => changeMarker(marker, "claimed", ended, now) }
                case "moved":
                  return { _tag: "Moved", signature, id: state.id }
                case "ended":
                  return undefined
              }
            }
          })
        )
      }
    )

  return {
    remote: false,
    recognizes: (value) => /^\.?[A-Za-z0-9_-]+:[A-Za-z0-9-]+:[A-Za-z0-9_-]{43}$/.test(value),
    open,
    finish: (value, { id, now }) =>
      withMarker(value, now, (marker) => changeMarker(marker, "claimed", movedAs(id), now)),
    remove: (value, now) => withMarker(value, now, (marker) => createMarker(marker, ended, now)),
    forget: (value, now) => Effect.asVoid(withMarker(value, now, (marker) => changeMarker(marker, "moved", ended, now)))
  }
}

/** A marker in the target. `at`: its end, and that of the cookie, in milliseconds since the epoch. */
interface Marker {
  readonly token: CookieValue
  readonly at: number
}

/** The data of a marker, by the state of the session. */
const claimed = "{\"_claimed\":true}"
const ended = "{\"_ended\":true}"
const movedAs = (id: string): string => JSON.stringify({ _moved: id })

/** The state of a session by the data of its marker. */
const stateIn = (
  data: string
): { readonly _tag: "claimed" | "ended" } | { readonly _tag: "moved"; readonly id: string } => {
  const id = /^\{"_moved":"([\w-]+)"\}$/.exec(data)?.[1]
  return id !== undefined ? { _tag: "moved", id } : { _tag: data === claimed ? "claimed" : "ended" }
}
