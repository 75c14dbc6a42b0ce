/**
 * A record that is damaged, among others: it is no failure of theirs.
 */
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { SessionId } from "../../SessionId.js"
import type { SessionInfo } from "../../SessionRecord.js"
import type { Corrupt } from "../../SessionStore.js"
import { SessionStoreError } from "../../SessionStore.js"

type Read<A> = Effect.Effect<Option.Option<A>, SessionStoreError>

export const corrupt = (operation: string, cause: unknown): SessionStoreError =>
  new SessionStoreError({ operation, reason: "corrupt", cause })

export const isCorrupt = ({ reason }: SessionStoreError): boolean => reason === "corrupt"

/** Whether a place in a page is that of a record which is damaged. */
export const isDamaged = (one: SessionInfo | Corrupt): one is Corrupt => "error" in one

/**
 * Reads a page of `limit` usable entries: as long as unusable ones take places in it, it reads a longer page. The result holds the
 * unusable entries, too, and may be longer than `limit`.
 */
export const filled = <A, E>(
  limit: number,
  read: (limit: number) => Effect.Effect<ReadonlyArray<A>, E>,
  isUsable: (entry: A) => boolean,
  /** The number of entries known to be unusable. */
  unusable = 0
): Effect.Effect<ReadonlyArray<A>, E> =>
  Effect.flatMap(read(limit + unusable), (page) => {
    const found = page.filter((entry) => !isUsable(entry)).length
    return found > unusable && page.length === limit + unusable
      ? filled(limit, read, isUsable, found)
      : Effect.succeed(page)
  })

/** In a page: it has its place. */
export const orDamaged = (id: SessionId) => <A>(read: Read<A>): Read<A | Corrupt> =>
  Effect.catchIf(read, isCorrupt, (error) => Effect.succeedSome({ id, error }))

/** In a list: it is left out, and the log says so. */
export const orLeftOut = (namespace: string, id?: string) => <A>(read: Read<A>): Read<A> =>
  Effect.catchIf(read, isCorrupt, (error) => leftOut(namespace, error, id))

/** Tells the log what a list leaves out. Its id may be unknown, too. */
export const leftOut = (
  namespace: string,
  error: SessionStoreError,
  id?: string
): Effect.Effect<Option.Option<never>> =>
  Effect.zipRight(
    Effect.logWarning(
      `A list of sessions of ${JSON.stringify(namespace)} leaves out ${
        id ?? "one whose id is not known"
      }: it is damaged.`,
      error
    ),
    Effect.succeedNone
  )
