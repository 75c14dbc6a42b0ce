/**
 * Streams of the pages of a store: of a namespace, or of a subject.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { SessionId } from "../../SessionId.js"
import type { SessionInfo } from "../../SessionRecord.js"
import type { Corrupt, Located, SessionStoreError, Store } from "../../SessionStore.js"

/** Streams all live sessions of a subject in pages. */
export const listed = (
  { list }: Pick<Store, "list">,
  namespace: string,
  subject: string,
  limit: number
): Stream.Stream<ReadonlyArray<SessionInfo>, SessionStoreError> =>
  Stream.paginateEffect(Option.none<SessionInfo>(), (after) =>
    Effect.gen(function*() {
      const found = yield* list(namespace, subject, yield* Clock.currentTimeMillis, {
        after: Option.getOrUndefined(after),
        limit
      })
      return [found, found.length < limit ? Option.none() : Option.some(Option.fromNullable(found.at(-1)))] as const
    }))

/** A page, and the time at which it was read. */
export interface Page {
  readonly found: ReadonlyArray<Located | Corrupt>
  readonly now: number
}

/** Streams all live sessions of a namespace in pages; the last page is empty. `since`: milliseconds by which the time of the reads is in the past. */
export const pages = (
  { scan }: Pick<Store, "scan">,
  namespace: string,
  size: number,
  since = 0
): Stream.Stream<Page, SessionStoreError> =>
  Stream.paginateEffect(Option.none<SessionId>(), (after) =>
    Effect.gen(function*() {
      const now = (yield* Clock.currentTimeMillis) - since
      const found = yield* scan(namespace, { after: Option.getOrUndefined(after), limit: size, now })
      const last = Option.map(Option.fromNullable(found.at(-1)), ({ id }) => id)
      return [{ found, now }, Option.map(last, Option.some)] as const
    }))
