/**
 * What two stores hold together, while sessions move from one to the other. Nothing is moved by looking.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SessionId } from "../SessionId.js"
import type { SessionInfo, SessionRecord } from "../SessionRecord.js"
import type { Located, SessionStoreError, Shape } from "../SessionStore.js"
import { markOf } from "./marks.js"

type Read<A> = Effect.Effect<Option.Option<A>, SessionStoreError>

/** Who moves on goes from the old store to the new one, so that is the order in which both are looked at. */
export const movedDirectory = (old: Shape, fresh: Shape): Pick<Shape, "find" | "list" | "scan"> => {
  const find: Shape["find"] = (namespace, id, now) =>
    visible(fresh.find(namespace, id, now), old.find(namespace, id, now))

  const page = (
    namespace: string,
    after: SessionId | undefined,
    limit: number,
    now: number
  ): Effect.Effect<ReadonlyArray<Located>, SessionStoreError> =>
    Effect.gen(function*() {
      const older = yield* old.scan(namespace, after, limit, now)
      const newer = yield* fresh.scan(namespace, after, limit, now)
      // The key of a copy that is on its way is not the session's.
      const found = new Map([...newer, ...older, ...newer.filter(isPlain)].map((record) => [record.id, record]))
      const first = [...found.values()].sort((a, b) => a.id < b.id ? -1 : 1).slice(0, limit)
      const settled = new Set(newer.filter(isPlain).map(({ id }) => id))
      const records = yield* Effect.forEach(first, (record) =>
        settled.has(record.id)
          ? Effect.succeedSome(record)
          : Effect.map(find(namespace, record.id, now), Option.map((found) => ({ ...found, key: record.key }))), {
        concurrency: 16
      })
      const alive = records.flatMap(Option.toArray)
      const last = first.at(-1)
      // Those that have ended leave room for others.
      return last === undefined || first.length < limit || alive.length === limit
        ? alive
        : [...alive, ...(yield* page(namespace, last.id, limit - alive.length, now))]
    })

  return {
    find,
    list: (namespace, subject, now) =>
      Effect.gen(function*() {
        const older = yield* old.list(namespace, subject, now)
        const newer = yield* fresh.list(namespace, subject, now)
        const found = yield* Effect.forEach(
          new Set([...older, ...newer].map(({ id }) => id)),
          (id) => find(namespace, id, now),
          { concurrency: 16 }
        )
        return found.flatMap(Option.toArray)
          .filter((record) => record.subject === subject)
          .sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1))
          .map(({ data: _, ...info }): SessionInfo => info)
      }),
    scan: (namespace, after, limit, now) => limit <= 0 ? Effect.succeed([]) : page(namespace, after, limit, now)
  }
}

/** What two ways of looking, in the new store and in the old, say of one session. */
const visible = <A extends SessionRecord>(inNew: Read<A>, inOld: Read<A>): Read<A> =>
  Effect.gen(function*() {
    const before = yield* inNew
    if (Option.exists(before, isPlain)) return before
    const found = yield* inOld
    const mark = Option.map(found, markOf)
    if (Option.isSome(found) && Option.isSome(mark)) {
      if (mark.value._tag === "Plain") return found
      if (mark.value._tag === "Moving") return Option.some({ ...found.value, ...mark.value.original })
    }
    const after = yield* inNew
    return Option.filterMap(after, (copy) => {
      const state = markOf(copy)
      if (state._tag === "Plain") return Option.some(copy)
      return state._tag === "Arriving" &&
          Option.exists(mark, (mark) => mark._tag === "Moved" && mark.copy === state.copy)
        ? Option.some({ ...copy, ...state.original })
        : Option.none()
    })
  })

const isPlain = (record: SessionRecord): boolean => markOf(record)._tag === "Plain"
