/**
 * What two stores hold together, while sessions move from one to the other. Nothing is moved by looking.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SessionInfo, SessionRecord } from "../../SessionRecord.js"
import { byAge, toInfo } from "../../SessionRecord.js"
import type { Corrupt, Located, Page, SessionStoreError, Store } from "../../SessionStore.js"
import { pageSize } from "../../SessionStore.js"
import { isCorruptEntry, orCorruptEntry, orLeftOut } from "../store/corrupt.js"
import { isLeaving, isMovedTo, markOf } from "./marks.js"

type Read<A> = Effect.Effect<Option.Option<A>, SessionStoreError>

/** Who moves on goes from the old store to the new one, so that is the order in which both are looked at. */
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
      const [whole, damaged] = Arr.partition([...older, ...newer], isCorruptEntry)
      // The key of a copy that does not count yet is not the session's, and that of a mark may be so no more. Of what is damaged
      // there may be a better one.
      const kinds = [isArriving, isLeaving, isPlain].flatMap((kind) => whole.filter(kind))
      const found = new Map([...damaged, ...kinds].map((one) => [one.id, one]))
      const first = [...found.values()].sort((a, b) => a.id < b.id ? -1 : 1).slice(0, limit)
      const settled = new Set(newer.filter((one) => !isCorruptEntry(one) && isPlain(one)).map(({ id }) => id))
      const seen = yield* Effect.forEach(first, (one) =>
        settled.has(one.id)
          ? Effect.succeedSome(one)
          : orCorruptEntry(one.id)(
            Effect.map(
              find(namespace, one.id, now),
              Option.map((found) => isCorruptEntry(one) ? one : { ...found, key: one.key })
            )
          ), {
        concurrency: 16
      })
      const page = Arr.getSomes(seen)
      const last = first.at(-1)
      // Those that have ended leave room for others.
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
      // Those that do not count leave room for others. Where neither had more to give, there are none.
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

/** What two ways of looking, in the new store and in the old, say of one session. */
const visible = <A extends SessionRecord>(inNew: Read<A>, inOld: Read<A>): Read<A> =>
  Effect.gen(function*() {
    const before = yield* inNew
    if (Option.exists(before, isPlain)) return before
    const found = yield* inOld
    const first = Option.orElse(shown(found, before), () => shown(before, found))
    return Option.isSome(first) ? first : shown(yield* inNew, found)
  })

/** What a record is behind its mark; nothing if it is a copy that does not count, by what the other store says. */
const shown = <A extends SessionRecord>(found: Option.Option<A>, other: Option.Option<A>): Option.Option<A> =>
  Option.filterMap(found, (record) => {
    const mark = markOf(record)
    switch (mark._tag) {
      case "Plain":
        return Option.some(record)
      case "Moving":
        return Option.some({ ...record, ...mark.original })
      case "Arriving":
        return Option.filterMap(other, (moved) =>
          isMovedTo(moved, mark.copy)
            ? Option.some({ ...record, ...mark.original, expiry: moved.expiry, lastSeenAt: moved.lastSeenAt })
            : Option.none())
      case "Moved":
        return Option.none()
    }
  })

const isArriving = (record: SessionRecord): boolean => markOf(record)._tag === "Arriving"

const isPlain = (record: SessionRecord): boolean => markOf(record)._tag === "Plain"
