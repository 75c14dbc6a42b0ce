/**
 * All that a store holds of a namespace, page by page.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { SessionId } from "../SessionId.js"
import type { Damaged, Located, SessionStoreError, Shape } from "../SessionStore.js"

/** A page, and the moment at which it was read. */
export interface Page {
  readonly found: ReadonlyArray<Located | Damaged>
  readonly now: number
}

/** The last page is empty. `since`: as of so many milliseconds ago. */
export const pages = (
  { scan }: Pick<Shape, "scan">,
  namespace: string,
  size: number,
  since = 0
): Stream.Stream<Page, SessionStoreError> =>
  Stream.paginateEffect(undefined as SessionId | undefined, (after) =>
    Effect.gen(function*() {
      const now = (yield* Clock.currentTimeMillis) - since
      const found = yield* scan(namespace, after, size, now)
      return [{ found, now }, Option.map(Option.fromNullable(found.at(-1)), ({ id }) => id)] as const
    }))
