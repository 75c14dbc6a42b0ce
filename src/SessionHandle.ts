/**
 * The session as a handler sees it.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type { Option } from "effect/Option"
import type { SessionCommitted, SessionError, SessionUnavailable, SessionWriteError } from "./SessionError.js"
import type { SessionId } from "./SessionId.js"

/**
 * The fields of a session that may be absent: those that can be removed.
 *
 * @since 0.1.0
 * @category models
 */
export type OptionalKey<A> = { [K in keyof A & string]-?: Pick<A, K> extends Required<Pick<A, K>> ? never : K }[
  & keyof A
  & string
]

/**
 * One request's session. `yield* AppSession` gives it and does no I/O; the first use loads the record, once.
 *
 * A change is a pure step: nothing is written before the response is decided, and then everything at once. If another
 * request changed the session meanwhile, the steps are replayed on the fresh value, so no update is lost.
 *
 * A value read after `update` in the same request is provisional until the commit. Where the answer must hold, use the
 * result of `modify`, or call `save` first.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionHandle<A> {
  /** The whole session. */
  readonly value: Effect.Effect<A, SessionUnavailable>

  /** One field. */
  readonly get: <K extends keyof A & string>(key: K) => Effect.Effect<A[K], SessionUnavailable>

  /** A field that may be absent. */
  readonly getOption: <K extends OptionalKey<A>>(
    key: K
  ) => Effect.Effect<Option<Exclude<A[K], undefined>>, SessionUnavailable>

  /** Whether a field is there. */
  readonly has: (key: keyof A & string) => Effect.Effect<boolean, SessionUnavailable>

  /**
   * Sets a field. If this request had read the field and another one changed it meanwhile, the field's merge decides,
   * or the commit fails with `SessionConflict`. A field that was never read is simply replaced.
   */
  readonly set: <K extends keyof A & string>(
    key: K,
    value: Required<A>[K]
  ) => Effect.Effect<void, SessionWriteError>

  /** Changes a field by a pure function, which is replayed on the fresh value if another request was faster. */
  readonly update: <K extends keyof A & string>(
    key: K,
    f: (value: A[K]) => Required<A>[K]
  ) => Effect.Effect<void, SessionWriteError>

  /**
   * As `update`, with a result. A replay whose result differs from the one given here (by `Equal`, or by `same`) fails
   * the commit with `SessionConflict`: the handler has acted on an answer that no longer holds.
   */
  readonly modify: <K extends keyof A & string, B>(
    key: K,
    f: (value: A[K]) => readonly [result: B, next: Required<A>[K]],
    same?: (a: B, b: B) => boolean
  ) => Effect.Effect<B, SessionWriteError>

  /** Sets several fields, as `set` does each. */
  readonly patch: (fields: Partial<A>) => Effect.Effect<void, SessionWriteError>

  /** Removes a field and gives what it held. At most one of two racing requests gets it. */
  readonly pop: <K extends OptionalKey<A>>(
    key: K
  ) => Effect.Effect<Option<Exclude<A[K], undefined>>, SessionWriteError>

  /** Removes a field. */
  readonly remove: (key: OptionalKey<A>) => Effect.Effect<void, SessionWriteError>

  /** Sets all data back to the initial value, unknown fields included. Subject, id and token stay. */
  readonly clear: Effect.Effect<void, SessionWriteError>

  /** Moves the session to a new token at the commit; the old one is dead from then on. */
  readonly cycleKey: Effect.Effect<void, SessionWriteError>

  /**
   * Ends the session: logout. Needs no load. The cookie is expired once the store has confirmed, whatever the status
   * of the response. Changes made afterwards begin another session.
   */
  readonly flush: Effect.Effect<void, SessionCommitted>

  /**
   * Says whose session it is, and always moves it to a new token. Data of an anonymous session, or of the same
   * subject, is carried over; another subject starts from the initial value under a new id. Make it the last step of a
   * login, or call `discard` if a later check fails.
   */
  readonly authenticate: (subject: string) => Effect.Effect<void, SessionWriteError>

  /** Whose session it is. */
  readonly subject: Effect.Effect<Option<string>, SessionUnavailable>

  /** Nothing of this request's changes is written. */
  readonly discard: Effect.Effect<void>

  /**
   * Writes now. For handlers that stream, and where a result must be certain before the handler goes on. The cookie
   * that this causes is sent with the response, whatever its status.
   */
  readonly save: Effect.Effect<void, SessionError>

  /** The public handle of the session; absent until a new session is written. */
  readonly id: Effect.Effect<Option<SessionId>, SessionUnavailable>
}
