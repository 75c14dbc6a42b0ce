/**
 * Finds and lists the sessions of two stores while sessions move from one to the other. It moves none.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SessionInfo, SessionRecord } from "../../SessionRecord.js"
import { byAge, toInfo } from "../../SessionRecord.js"
import type { Corrupt, Located, Page, SessionStoreError, Store } from "../../SessionStore.js"
import { pageSize } from "../../SessionStore.js"
import { isCorruptEntry, orCorruptEntry, orLeftOut } from "../store/corrupt.js"
import { isMovedTo, isSourceMarker, markerOf } from "./markers.js"

type Read<A> = Effect.Effect<Option.Option<A>, SessionStoreError>

/** Pages read the old store first: a session that moves meanwhile is then found in the new one. */
export const movedDirectory = (old: Store, fresh: Store): Pick<Store, "find" | "list" | "scan"> => {
  const find: Store["find"] = (namespace, id, now) =>
    visible(fresh.find(namespace, id, now), old.find(namespace, id, now))

  const pageAfter = (
    namespace: string,
    after: string | undefined,
    limit: number,
    now: number
  ): Effect.Effect<ReadonlyArray<Located | Corrupt>, SessionStoreError> =>
    Effect.gen(function*() {
      const older = yield* old.scan(namespace, { after, limit, now })
      const newer = yield* fresh.scan(namespace, { after, limit, now })
      const [readable, corrupt] = Arr.partition([...older, ...newer], isCorruptEntry)
      // Of several records with one id the last one is returned, so the records are in ascending order of preference. The key of an arriving copy is not the key of the session, and the key of
      // a source marker may no longer be.
      const byPreference = [isArriving, isSourceMarker, isPlain].flatMap((kind) => readable.filter(kind))
      const found = new Map([...corrupt, ...byPreference].map((one) => [one.id, one]))
      const first = [...found.values()].sort((a, b) => a.id < b.id ? -1 : 1).slice(0, limit)
      const moved = new Set(newer.filter((one) => !isCorruptEntry(one) && isPlain(one)).map(({ id }) => id))
      const visibleOnes = yield* Effect.forEach(first, (one) =>
        moved.has(one.id)
          ? Effect.succeedSome(one)
          : orCorruptEntry(one.id)(
            Effect.map(
              find(namespace, one.id, now),
              Option.map((found) => isCorruptEntry(one) ? one : { ...found, key: one.key })
            )
          ), {
        concurrency: 16
      })
      const page = Arr.getSomes(visibleOnes)
      const last = first.at(-1)
      // Sessions that have ended meanwhile are not in the result, so the page is filled with later ones.
      return last === undefined || first.length < limit || page.length === limit
        ? page
        : [...page, ...(yield* pageAfter(namespace, last.id, limit - page.length, now))]
    })

  const listAfter = (
    namespace: string,
    subject: string,
    now: number,
    after: Page["after"],
    limit: number
  ): Effect.Effect<ReadonlyArray<SessionInfo>, SessionStoreError> =>
    Effect.gen(function*() {
      const older = yield* old.list(namespace, subject, now, { after, limit })
      const newer = yield* fresh.list(namespace, subject, now, { after, limit })
      const all = [...new Map([...older, ...newer].map((info) => [info.id, info])).values()].sort(byAge)
      const first = all.slice(0, limit)
      const found = yield* Effect.forEach(
        first,
        ({ id }) => orLeftOut(namespace, id)(find(namespace, id, now)),
        { concurrency: 16 }
      )
      const page = Arr.getSomes(found)
        .filter((record) => record.subject === subject)
        .map(toInfo)
      const last = first.at(-1)
      // Records that are not visible are not in the result, so the page is filled with later ones.
      const hasMore = all.length > limit || older.length === limit || newer.length === limit
      return last === undefined || page.length === limit || !hasMore
        ? page
        : [...page, ...(yield* listAfter(namespace, subject, now, last, limit - page.length))]
    })

  return {
    find,
    list: (namespace, subject, now, { after, limit = pageSize } = {}) =>
      limit <= 0 ? Effect.succeed([]) : listAfter(namespace, subject, now, after, limit),
    scan: (namespace, { after, limit, now }) =>
      limit <= 0 ? Effect.succeed([]) : pageAfter(namespace, after, limit, now)
  }
}

/** Reads one session from both stores. It reads the new store again at the end, because the session may have moved meanwhile. */
const visible = <A extends SessionRecord>(inNew: Read<A>, inOld: Read<A>): Read<A> =>
  Effect.gen(function*() {
    const before = yield* inNew
    if (Option.exists(before, isPlain)) return before
    const found = yield* inOld
    const first = Option.orElse(shown(found, before), () => shown(before, found))
    return Option.isSome(first) ? first : shown(yield* inNew, found)
  })

/** The session of a record with a marker; `None` if the record is a copy that the other store does not confirm. */
const shown = <A extends SessionRecord>(found: Option.Option<A>, other: Option.Option<A>): Option.Option<A> =>
  Option.filterMap(found, (record) => {
    const marker = markerOf(record)
    switch (marker._tag) {
      case "Plain":
        return Option.some(record)
      case "Moving":
        return Option.some({ ...record, ...marker.original })
      case "Arriving":
        return Option.filterMap(other, (moved) =>
          isMovedTo(moved, marker.copy)
            ? Option.some({ ...record, ...marker.original, expiry: moved.expiry, lastSeenAt: moved.lastSeenAt })
            : Option.none())
      case "Moved":
        return Option.none()
    }
  })

const isArriving = (record: SessionRecord): boolean => markerOf(record)._tag === "Arriving"

const isPlain = (record: SessionRecord): boolean => markerOf(record)._tag === "Plain"
