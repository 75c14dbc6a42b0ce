/**
 * Corrupt records in lists and pages: the other records are still returned.
 */
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { SessionId } from "../../SessionId.js"
import type { SessionInfo } from "../../SessionRecord.js"
import type { Corrupt } from "../../SessionStore.js"
import { SessionStoreError } from "../../SessionStore.js"
import { withHelp } from "../help.js"

type Read<A> = Effect.Effect<Option.Option<A>, SessionStoreError>

/** The error of a record that cannot be decoded. */
export const corrupt = (operation: string, cause: unknown): SessionStoreError =>
  new SessionStoreError({ operation, reason: "corrupt", cause })

export const isCorrupt = ({ reason }: SessionStoreError): boolean => reason === "corrupt"

/** Returns whether an entry of a page represents a corrupt record. */
export const isCorruptEntry = (one: SessionInfo | Corrupt): one is Corrupt => "error" in one

/**
 * Reads a page of `limit` usable entries: reads longer pages until enough of their entries are usable. The result also
 * contains the unusable entries, and may be longer than `limit`.
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

/** Returns an entry with the error in place of a corrupt record. */
export const orCorruptEntry = (id: SessionId) => <A>(read: Read<A>): Read<A | Corrupt> =>
  Effect.catchIf(read, isCorrupt, (error) => Effect.succeedSome({ id, error }))

/** Omits a corrupt record from a list, and logs a warning. */
export const orLeftOut = (namespace: string, id?: string) => <A>(read: Read<A>): Read<A> =>
  Effect.catchIf(read, isCorrupt, (error) => leftOut(namespace, error, id))

/** Logs a warning that a list omits a corrupt record. Its id may be unknown. */
export const leftOut = (
  namespace: string,
  error: SessionStoreError,
  id?: string
): Effect.Effect<Option.Option<never>> =>
  Effect.zipRight(
    Effect.logWarning(
      withHelp(
        `A list of the sessions of ${JSON.stringify(namespace)} omits ${
          id === undefined ? "a corrupt record whose id is unknown" : `the corrupt record ${id}`
        }. Repair or delete it; see the error.`,
        "record-corrupt"
      ),
      error
    ),
    Effect.succeedNone
  )
