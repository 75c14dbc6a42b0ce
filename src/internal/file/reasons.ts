/**
 * Why sessions have ended, as empty files whose names are the entries. They are written after a session has ended and as well as
 * possible: no write fails for lack of an entry. The sweep removes them when the session would have expired.
 */
import type { PlatformError } from "@effect/platform/Error"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { EndReason } from "../../SessionStore.js"
import * as StoreKey from "../../StoreKey.js"
import type { Disk } from "./disk.js"
import { decodeName, encodeName, shardOf } from "./names.js"

export interface Reasons {
  /** Writes why the session of a key has ended. Never fails. */
  readonly write: (key: StoreKey.StoreKey, reason: EndReason, until: number) => Effect.Effect<void>
  /** Returns why the last session of a key has ended, if that is still known. */
  readonly find: (key: StoreKey.StoreKey, now: number) => Effect.Effect<EndReason | undefined, PlatformError>
  /** Removes the entries of earlier sessions of a key. */
  readonly forget: (key: StoreKey.StoreKey) => Effect.Effect<void, PlatformError>
}

/** The words of the reasons in file names, which must not differ only in case. */
const words = {
  expired: "expired",
  loggedOut: "logout",
  rotated: "rotated",
  revoked: "revoked",
  subjectRevoked: "subject",
  allRevoked: "all",
  limit: "limit"
} as const satisfies Record<EndReason, string>

const reasonOf = new Map<string, EndReason>(
  (Object.keys(words) as ReadonlyArray<EndReason>).map((reason) => [words[reason], reason])
)

/** The decoded name of an entry. */
interface Entry {
  readonly key: StoreKey.StoreKey
  readonly reason: EndReason
  /** When the session would have expired, in milliseconds. */
  readonly until: number
}

/** Parses the name of an entry; `undefined` if it is not one. */
export const parseReason = (name: string): Entry | undefined => {
  const [, encodedKey = "", word = "", until] = /^([0-9a-f]+)_([a-z]+)_(-?\d+(?:\.\d+)?)$/.exec(name) ?? []
  const key = Option.getOrUndefined(StoreKey.parse(decodeName(encodedKey) ?? ""))
  const reason = reasonOf.get(word)
  return key === undefined || reason === undefined ? undefined : { key, reason, until: Number(until) }
}

export const make = (disk: Disk): Reasons => {
  const directoryOf = (key: StoreKey.StoreKey) => disk.at("reasons", shardOf(encodeName(key)))

  const entriesOf = (key: StoreKey.StoreKey) =>
    Effect.map(
      disk.list(directoryOf(key)),
      (names) =>
        names.filter((name) => name.startsWith(`${encodeName(key)}_`)).flatMap((name) => {
          const entry = parseReason(name)
          return entry === undefined ? [] : [{ ...entry, file: disk.join(directoryOf(key), name) }]
        })
    )

  return {
    write: (key, reason, until) =>
      Effect.ignore(disk.createEmpty(disk.join(directoryOf(key), `${encodeName(key)}_${words[reason]}_${until}`))),
    find: (key, now) =>
      Effect.gen(function*() {
        const entries = yield* entriesOf(key)
        // More than one only if another session was created under the key after the first had ended.
        const times = yield* Effect.forEach(entries, ({ file }) =>
          entries.length < 2 ? Effect.succeed(0) : disk.changedAt(file))
        const last = entries.reduce((last, _, i) =>
          (times[i] ?? 0) > (times[last] ?? 0) ? i : last, 0)
        const entry = entries[last]
        return entry === undefined || entry.until <= now ? undefined : entry.reason
      }),
    forget: (key) =>
      Effect.flatMap(
        entriesOf(key),
        Effect.forEach(({ file }) => disk.remove(file), { discard: true })
      )
  }
}
