/**
 * Records by id and by subject.
 *
 * A rotation enters the new key before it leaves the old one, but a reader may look at the one too early and at the
 * other too late. So it looks again until it has found what it looks for, or the entries no longer change.
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
import type { Damaged as DamagedFile, Found, Records } from "./records.js"

type Read<A> = Effect.Effect<A, PlatformError | DamagedFile>

/** What there is of an id. */
interface Look {
  readonly id: SessionId
  readonly found: Found | undefined
  readonly alive: Found | undefined
  readonly damage?: DamagedFile
}

interface LookUp {
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
  readonly revoke: (namespace: string, id: SessionId) => Read<boolean>
}

export const make = (index: Index, records: Records): LookUp => {
  /** The first thing that is found under one of the keys of an id. `known`: what another listing says they are. */
  const atKeyOf = <A>(
    namespace: string,
    id: SessionId,
    look: (key: StoreKey) => Read<A | undefined>,
    known?: ReadonlyArray<StoreKey>
  ) => {
    const pass = (keys: ReadonlyArray<StoreKey>, before?: ReadonlyArray<StoreKey>): Read<A | undefined> =>
      Effect.flatMap(
        firstOf(keys, look),
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

  const located = (namespace: string, id: SessionId, known?: ReadonlyArray<StoreKey>) =>
    atKeyOf(
      namespace,
      id,
      (key) => Effect.map(records.found(key), (found) => belongs(found, namespace, id) ? found : undefined),
      known
    )

  const looks = (namespace: string, ids: ReadonlyArray<readonly [SessionId, ReadonlyArray<StoreKey>]>, now: number) =>
    Effect.forEach(
      ids,
      ([id, keys]) =>
        located(namespace, id, keys).pipe(
          Effect.flatMap((found) => Effect.map(records.ifAlive(found, now), (alive): Look => ({ id, found, alive }))),
          Effect.catchTag(
            "Damaged",
            (damage) => Effect.succeed<Look>({ id, found: undefined, alive: undefined, damage })
          )
        ),
      { concurrency: 8 }
    )

  const list = (
    namespace: string,
    subject: string,
    now: number,
    page: Page,
    before?: ReadonlyArray<string>
  ): Read<ReadonlyArray<SessionInfo>> =>
    Effect.gen(function*() {
      const entries = yield* index.ofSubject(namespace, subject)
      const seen = entries.map(({ id, key }) => id + key)
      const all = yield* looks(namespace, byId(entries), now)
      if (
        all.some(({ damage, found }) => found === undefined && damage === undefined) &&
        (before === undefined || !isSame(seen, before))
      ) {
        return yield* list(namespace, subject, now, page, seen)
      }
      const shown = yield* Effect.forEach(all, ({ alive, damage, id }) =>
        damage === undefined
          ? Effect.succeed(Option.fromNullable(alive))
          : leftOut(namespace, corrupt("list", damage), id))
      return pageOf(Arr.getSomes(shown).flatMap(({ record }) => record.subject === subject ? [record] : []), page)
        .map(toInfo)
    })

  const scan = (namespace: string, after: string | undefined, limit: number, now: number) =>
    Effect.gen(function*() {
      const page: Array<Located | Corrupt> = []
      for (const shard of yield* index.shardsAfter(after)) {
        const ids = byId(yield* index.inShard(shard, namespace, after))
        while (ids.length > 0 && page.length < limit) {
          const all = yield* looks(namespace, ids.splice(0, limit - page.length), now)
          page.push(...all.flatMap(inPage))
        }
        if (page.length >= limit) break
      }
      return page
    })

  const ended = (namespace: string, id: SessionId, key: StoreKey): Read<true | undefined> =>
    records.found(key).pipe(
      Effect.flatMap((found) =>
        belongs(found, namespace, id)
          ? Effect.if(records.end(key, found.marker, true), {
            onTrue: () => Effect.succeed<true | undefined>(true),
            onFalse: () => ended(namespace, id, key)
          })
          : Effect.succeed(undefined)
      ),
      // What cannot be read can still be ended, by what its entry says.
      Effect.catchTag("Damaged", () => Effect.map(records.endAll(key), (ended) => ended ? true as const : undefined))
    )

  return {
    find: (namespace, id, now) => Effect.flatMap(located(namespace, id), (found) => records.ifAlive(found, now)),
    list: (namespace, subject, now, page) => list(namespace, subject, now, page),
    scan,
    revoke: (namespace, id) =>
      Effect.map(atKeyOf(namespace, id, (key) => ended(namespace, id, key)), (ended) => ended === true)
  }
}

const inPage = ({ alive, damage, id }: Look): ReadonlyArray<Located | Corrupt> =>
  damage !== undefined
    ? [{ id, error: corrupt("scan", damage) }]
    : alive === undefined
    ? []
    : [{ ...alive.record, key: alive.key }]

const belongs = (found: Found | undefined, namespace: string, id: SessionId): found is Found =>
  found?.record.namespace === namespace && found.record.id === id

const firstOf = <A>(
  keys: ReadonlyArray<StoreKey>,
  look: (key: StoreKey) => Read<A | undefined>
): Read<A | undefined> => {
  const [key, ...others] = keys
  return key === undefined
    ? Effect.succeed(undefined)
    : Effect.flatMap(look(key), (found) => found === undefined ? firstOf(others, look) : Effect.succeed(found))
}

const byId = (entries: ReadonlyArray<Entry>): Array<readonly [SessionId, ReadonlyArray<StoreKey>]> => {
  const keys = new Map<SessionId, Array<StoreKey>>()
  for (const { id, key } of entries) keys.set(id, [...keys.get(id) ?? [], key])
  return [...keys]
}

const isSame = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): boolean =>
  a.length === b.length && new Set([...a, ...b]).size === a.length
