/**
 * The contract of session engines: an engine turns a cookie value into a record, and back.
 *
 * A *stored* engine keeps the record in a store, and the cookie holds a token. With a *cookie* engine the cookie holds the record. The
 * interface has cookie values and records only, so the rest of the library works with both.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { Option } from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type { Expiry } from "./Expiry.js"
import type { SessionConfigError } from "./SessionConfigError.js"
import type { SessionId } from "./SessionId.js"
import type { SessionRecord } from "./SessionRecord.js"
import type { EndReason, ReadConsistency, SessionStoreError, SubjectLimit } from "./SessionStore.js"

/**
 * The value of a session cookie. It is a secret, with every engine.
 *
 * @since 0.1.0
 * @category models
 */
export type CookieValue = Redacted.Redacted<string>

/**
 * The change of the session cookie that a response makes: set it to a value, with its Max-Age in seconds (`undefined`: until the browser
 * closes), or expire it.
 *
 * @since 0.6.0
 * @category models
 */
export type CookieUpdate = { readonly value: CookieValue; readonly maxAge: number | undefined } | "expire"

/**
 * The namespace and the cookie of a session tag. Cookie values of one scope are not valid in another.
 *
 * @since 0.1.0
 * @category models
 */
export interface Scope {
  readonly namespace: string
  readonly cookieName: string
  /**
   * The domain, the path and the partition of the cookie. Absent for the defaults (this host, `/`, none). A browser keeps cookies apart by
   * them, so a cookie engine must reject the value of another scope: no response could delete that cookie.
   *
   * @since 0.6.0
   */
  readonly cookieScope?: string
  /**
   * The names of the fields of the schema in their encoding.
   *
   * @since 0.6.0
   */
  readonly fields?: ReadonlyArray<string>
  /**
   * The expiry policy of the tag. An engine rejects a policy that it cannot enforce.
   *
   * @since 0.6.0
   */
  readonly expiry?: Expiry
}

/**
 * A live record and the cookie value that it was loaded by.
 *
 * @since 0.1.0
 * @category models
 */
export interface Opened {
  readonly value: CookieValue
  readonly record: SessionRecord
  /** The value was sealed with an older key of the keyring and should be sealed again. */
  readonly needsReseal: boolean
  /** The store was unreachable; this is the last cached record. It can only be read. */
  readonly stale?: true
}

/**
 * One write of a session. `expectedVersion` is the version that the caller has read. `resent`: the cookie is sent again, because it would
 * expire in the browser. `minted`: the cookie value of the new or rotated session, from `BoundEngine.mint`. `limit`: the maximum number of
 * live sessions of the record's subject.
 *
 * @since 0.1.0
 * @category models
 */
export type Write =
  | {
    readonly _tag: "Create"
    readonly record: SessionRecord
    readonly minted?: CookieValue | undefined
    readonly limit?: SubjectLimit | undefined
  }
  | {
    readonly _tag: "Rotate"
    readonly value: CookieValue
    readonly record: SessionRecord
    readonly expectedVersion: number
    readonly minted?: CookieValue | undefined
    readonly limit?: SubjectLimit | undefined
  }
  | {
    readonly _tag: "Save"
    readonly value: CookieValue
    readonly record: SessionRecord
    readonly expectedVersion: number
  }
  | {
    readonly _tag: "Touch"
    readonly value: CookieValue
    readonly record: SessionRecord
    readonly resent?: boolean
  }

/**
 * The outcome of a write. `Written`: done, with the value and the record that are now current, and the ids of the sessions that a limit has
 * ended. `Conflict`: another write came first. `Gone`: the session has ended. `Full`: a limit denies one more session of the subject, and
 * nothing was written.
 *
 * @since 0.1.0
 * @category models
 */
export type Written =
  | {
    readonly _tag: "Written"
    readonly value: CookieValue
    readonly record: SessionRecord
    readonly evicted?: ReadonlyArray<SessionId>
  }
  | { readonly _tag: "Conflict" }
  | { readonly _tag: "Gone" }
  | { readonly _tag: "Full" }

/**
 * An engine bound to one session tag.
 *
 * @since 0.1.0
 * @category models
 */
export interface BoundEngine {
  /** Calls leave the process, so timeouts apply to them. */
  readonly remote: boolean
  /**
   * The cookie value holds the record: each save makes a new value for the browser, and no value gives access to the changes of another
   * request. So a conflict is final: there is no newer record to replay the changes on.
   */
  readonly selfContained: boolean
  /**
   * A variant of the engine whose `open` and `write` do their work synchronously when called, and return an `Exit`. Requests then need no
   * scheduler step and no lock. Call them inside a running effect.
   *
   * @since 0.6.0
   */
  readonly synchronous?: BoundEngine
  /**
   * Another program sets the cookie, too: each of its writes sends it with the end of the session. So each write of this library sends the
   * cookie again, and without regard to the deadline of the policy.
   *
   * @since 0.6.0
   */
  readonly sharesCookie?: true
  /**
   * Returns whether a text has the form of a value of this engine, without checking it. Bearer tokens of another form belong to the
   * application. Absent: every bearer token is taken for one of ours.
   *
   * @since 0.6.0
   */
  readonly recognizes?: (text: string) => boolean
  /** Loads the live record of a cookie value. Returns `None` for any value that is not valid; a visitor's input is never an error. */
  readonly open: (
    value: CookieValue,
    now: number,
    reading?: ReadConsistency
  ) => Effect.Effect<Option<Opened>, SessionStoreError>
  /**
   * Writes a session. On success the outcome is certain, even if the reply of a store was lost on the way. On failure it is unknown
   * whether anything was written.
   */
  readonly write: (write: Write, now: number) => Effect.Effect<Written, SessionStoreError>
  /** Ends the session of a cookie value, without loading it. Succeeds if the value is unknown. */
  readonly destroy: (value: CookieValue) => Effect.Effect<void, SessionStoreError>
  /**
   * Returns why `open` finds no session for this value, as far as it is known. `"unknown"`: the value has the form of one of ours, and no
   * trace of it was found: it was invented, or its trace is gone. `None`: the value has not the form of one of ours. Absent: not known.
   *
   * @since 0.6.0
   */
  readonly endReason?: (
    value: CookieValue,
    now: number
  ) => Effect.Effect<Option<EndReason | "unknown">, SessionStoreError>
  /**
   * Fails if the store cannot answer. Reads at most one record, which does not exist. Absent: the engine keeps nothing outside of the
   * cookie, so there is nothing that could be down.
   *
   * @since 0.6.0
   */
  readonly ping?: (now: number) => Effect.Effect<void, SessionStoreError>
  /**
   * The engine enforces the limit of a `Create` and a `Rotate` in one atomic step.
   *
   * @since 0.6.0
   */
  readonly limitsSubjects?: true | undefined
  /**
   * Makes the value of a session that is not written yet, to be passed to `write` as `minted`: so a page can contain what is derived from
   * it. `beside`: the value that the session is rotated from. Absent: a value is not known before it is written.
   *
   * @since 0.6.0
   */
  readonly mint?: (beside: CookieValue | undefined) => CookieValue
  /**
   * Derives 32 secret bytes from a session, for tokens against forged requests. They change with every rotation, and with nothing else.
   * Absent: the engine cannot.
   *
   * @since 0.6.0
   */
  readonly secretOf?: (session: { readonly value: CookieValue; readonly record: SessionRecord }) => Uint8Array
}

/**
 * The service tag of the engine. The layer of each session tag calls `bind` once, when it is built: keys are derived there, never per
 * request. `bind` fails with `SessionConfigError` if the options of the engine are invalid.
 *
 * @since 0.1.0
 * @category tags
 */
export class SessionEngine extends Context.Tag("effect-session/SessionEngine")<SessionEngine, {
  readonly bind: (scope: Scope) => Effect.Effect<BoundEngine, SessionConfigError>
}>() {}
