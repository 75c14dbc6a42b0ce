/**
 * Finds, lists and revokes records by id and by subject.
 *
 * A rotation inserts the new entry before it removes the old one, but a reader may read the one too early and the other too late. So it
 * reads again until it finds the record, or the entries no longer change.
 */
import type { PlatformError } from "@effect/platform/Error"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SessionId } from "../../SessionId.js"
import type { SessionInfo } from "../../SessionRecord.js"
import { toInfo } from "../../SessionRecord.js"
import type { Corrupt, Located, Page } from "../../SessionStore.js"
import { pageOf } from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"
import { corrupt, leftOut } from "../store/corrupt.js"
import type { Entry, Index } from "./indexes.js"
import type { CorruptFile, Found, Records } from "./records.js"

type Read<A> = Effect.Effect<A, PlatformError | CorruptFile>

/** The record of an id. All but `id` are `undefined` if there is none. */
interface ById {
  readonly id: SessionId
  readonly found: Found | undefined
  readonly alive: Found | undefined
  readonly error?: CorruptFile
}

export interface LookUp {
  readonly find: (namespace: string, id: SessionId, now: number) => Read<Found | undefined>
  readonly list: (
    namespace: string,
    subject: string,
    now: number,
    page: Page
  ) => Read<ReadonlyArray<SessionInfo>>
  readonly scan: (
    namespace: string,
    after: string | undefined,
    limit: number,
    now: number
  ) => Read<ReadonlyArray<Located | Corrupt>>
  /** Returns the live records of a subject. Corrupt ones are omitted. */
  readonly aliveOf: (namespace: string, subject: string, now: number) => Read<ReadonlyArray<Found>>
  /** Ends the session of an id, if it belongs to the subject. */
  readonly revoke: (namespace: string, id: SessionId, subject: string | undefined) => Read<boolean>
}

export const make = (index: Index, records: Records): LookUp => {
  /** Returns the first result of `read` under the keys of an id. `known`: the keys, if they were listed before. */
  const atKeyOf = <A>(
    namespace: string,
    id: SessionId,
    read: (key: StoreKey) => Read<A | undefined>,
    known?: ReadonlyArray<StoreKey>
  ) => {
    const pass = (keys: ReadonlyArray<StoreKey>, before?: ReadonlyArray<StoreKey>): Read<A | undefined> =>
      Effect.flatMap(
        firstOf(keys, read),
        (found) =>
          found !== undefined || (before !== undefined && isSame(keys, before))
            ? Effect.succeed(found)
            : Effect.flatMap(index.keysOf(namespace, id), (next) => pass(next, keys))
      )
    return known === undefined
      ? Effect.flatMap(
        index.keysOf(namespace, id),
        (keys) => keys.length === 0 ? Effect.succeed(undefined) : pass(keys)
      )
      : pass(known)
  }

  const find = (namespace: string, id: SessionId, known?: ReadonlyArray<StoreKey>) =>
    atKeyOf(
      namespace,
      id,
      (key) => Effect.map(records.found(key), (found) => belongs(found, namespace, id) ? found : undefined),
      known
    )

  const loadAll = (namespace: string, ids: ReadonlyArray<readonly [SessionId, ReadonlyArray<StoreKey>]>, now: number) =>
    Effect.forEach(
      ids,
      ([id, keys]) =>
        find(namespace, id, keys).pipe(
          Effect.flatMap((found) => Effect.map(records.ifAlive(found, now), (alive): ById => ({ id, found, alive }))),
          Effect.catchTag(
            "CorruptFile",
            (error) => Effect.succeed<ById>({ id, found: undefined, alive: undefined, error })
          )
        ),
      { concurrency: 8 }
    )

  const ofSubject = (
    namespace: string,
    subject: string,
    now: number,
    before?: ReadonlyArray<string>
  ): Read<ReadonlyArray<ById>> =>
    Effect.gen(function*() {
      const entries = yield* index.ofSubject(namespace, subject)
      const seen = entries.map(({ id, key }) => id + key)
      const all = yield* loadAll(namespace, byId(entries), now)
      if (
        all.some(({ error, found }) => found === undefined && error === undefined) &&
        (before === undefined || !isSame(seen, before))
      ) {
        return yield* ofSubject(namespace, subject, now, seen)
      }
      return all
    })

  const list = (namespace: string, subject: string, now: number, page: Page) =>
    Effect.gen(function*() {
      const all = yield* ofSubject(namespace, subject, now)
      const shown = yield* Effect.forEach(all, ({ alive, error, id }) =>
        error === undefined
          ? Effect.succeed(Option.fromNullable(alive))
          : leftOut(namespace, corrupt("list", error), id))
      return pageOf(Arr.getSomes(shown).flatMap(({ record }) => record.subject === subject ? [record] : []), page)
        .map(toInfo)
    })

  const scan = (namespace: string, after: string | undefined, limit: number, now: number) =>
    Effect.gen(function*() {
      const page: Array<Located | Corrupt> = []
      for (const shard of yield* index.shardsAfter(after)) {
        const ids = byId(yield* index.inShard(shard, namespace, after))
        while (ids.length > 0 && page.length < limit) {
          const all = yield* loadAll(namespace, ids.splice(0, limit - page.length), now)
          page.push(...all.flatMap(inPage))
        }
        if (page.length >= limit) break
      }
      return page
    })

  const end = (
    namespace: string,
    id: SessionId,
    subject: string | undefined,
    key: StoreKey
  ): Read<true | undefined> =>
    records.found(key).pipe(
      Effect.flatMap((found) =>
        belongs(found, namespace, id) && (subject === undefined || found.record.subject === subject)
          ? Effect.if(records.end(key, found.marker, "revoked"), {
            onTrue: () => Effect.succeed<true | undefined>(true),
            onFalse: () => end(namespace, id, subject, key)
          })
          : Effect.succeed(undefined)
      ),
      // A corrupt record is deleted by the key in its index entries, which also name its subject.
      Effect.catchTag("CorruptFile", () =>
        Effect.gen(function*() {
          const isTheirs = subject === undefined ||
            (yield* index.ofSubject(namespace, subject)).some((entry) => entry.id === id && entry.key === key)
          return isTheirs && (yield* records.endAll(key, "revoked")) ? true : undefined
        }))
    )

  return {
    find: (namespace, id, now) => Effect.flatMap(find(namespace, id), (found) => records.ifAlive(found, now)),
    list,
    scan,
    aliveOf: (namespace, subject, now) =>
      Effect.map(
        ofSubject(namespace, subject, now),
        (all) => all.flatMap(({ alive }) => alive?.record.subject === subject ? [alive] : [])
      ),
    revoke: (namespace, id, subject) =>
      Effect.map(atKeyOf(namespace, id, (key) => end(namespace, id, subject, key)), (ended) => ended === true)
  }
}

const inPage = ({ alive, error, id }: ById): ReadonlyArray<Located | Corrupt> =>
  error !== undefined
    ? [{ id, error: corrupt("scan", error) }]
    : alive === undefined
    ? []
    : [{ ...alive.record, key: alive.key }]

const belongs = (found: Found | undefined, namespace: string, id: SessionId): found is Found =>
  found?.record.namespace === namespace && found.record.id === id

const firstOf = <A>(
  keys: ReadonlyArray<StoreKey>,
  read: (key: StoreKey) => Read<A | undefined>
): Read<A | undefined> => {
  const [key, ...others] = keys
  return key === undefined
    ? Effect.succeed(undefined)
    : Effect.flatMap(read(key), (found) => found === undefined ? firstOf(others, read) : Effect.succeed(found))
}

const byId = (entries: ReadonlyArray<Entry>): Array<readonly [SessionId, ReadonlyArray<StoreKey>]> => {
  const keys = new Map<SessionId, Array<StoreKey>>()
  for (const { id, key } of entries) keys.set(id, [...keys.get(id) ?? [], key])
  return [...keys]
}

const isSame = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): boolean =>
  a.length === b.length && new Set([...a, ...b]).size === a.length
