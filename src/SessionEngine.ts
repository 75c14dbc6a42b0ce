/**
 * How a cookie value becomes a record, and back.
 *
 * There are two kinds of engine: a *stored* one keeps the record elsewhere and the cookie names it; with a *cookie*
 * engine the cookie is the record. Both speak in cookie values, so the service above does not know which it has.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { Option } from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type { SessionConfigError } from "./SessionConfigError.js"
import type { SessionRecord } from "./SessionRecord.js"
import type { ReadConsistency, SessionStoreError } from "./SessionStore.js"

/**
 * What a cookie of ours holds: secret, whatever the engine.
 *
 * @since 0.1.0
 * @category models
 */
export type CookieValue = Redacted.Redacted<string>

/**
 * What a response must do with our cookie: set it to a value, with its Max-Age in seconds (`undefined`: until the browser
 * closes), or expire it.
 *
 * @since 0.6.0
 * @category models
 */
export type CookieUpdate = { readonly value: CookieValue; readonly maxAge: number | undefined } | "expire"

/**
 * What an engine must know of a session tag. Values of one scope mean nothing in another.
 *
 * @since 0.1.0
 * @category models
 */
export interface Scope {
  readonly namespace: string
  readonly cookieName: string
  /**
   * The domain, the path and the partition of the cookie, where they are not the usual ones (this host, `/`, none). A
   * browser keeps cookies apart by them, so an engine whose value is the record must not take the value of another scope: no
   * answer could end it.
   *
   * @since 0.6.0
   */
  readonly cookieScope?: string
}

/**
 * A live record and the value that led to it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Opened {
  readonly value: CookieValue
  readonly record: SessionRecord
  /** The value was opened with an older key of the ring and should be written again. */
  readonly needsReseal: boolean
  /** It is a copy of what was there a moment ago, because the store cannot be reached: it can only be read. */
  readonly stale?: true
}

/**
 * One write. `expectedVersion` is the version that the caller had read. `resent`: the cookie would run out in the browser,
 * so it is sent again.
 *
 * @since 0.1.0
 * @category models
 */
export type Write =
  | { readonly _tag: "Create"; readonly record: SessionRecord }
  | {
    readonly _tag: "Save" | "Rotate"
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
 * How a write ended: done (with the value and record that are now current), or overtaken, or the session had ended.
 *
 * @since 0.1.0
 * @category models
 */
export type Written =
  | { readonly _tag: "Written"; readonly value: CookieValue; readonly record: SessionRecord }
  | { readonly _tag: "Conflict" }
  | { readonly _tag: "Gone" }

/**
 * An engine bound to one session tag.
 *
 * @since 0.1.0
 * @category models
 */
export interface BoundEngine {
  /** Calls leave the process, so time limits apply to them. */
  readonly remote: boolean
  /**
   * The value is the record: each save makes another value, which the browser must be given, and no value leads to what
   * another request has made of the session. A conflict is then final: there is nothing to replay the changes on.
   */
  readonly selfContained: boolean
  /**
   * The same engine, whose `open` and `write` do their work when they are called, and answer with an `Exit`. A request that uses
   * it takes no turn of a scheduler and no lock. Call them inside a running effect.
   *
   * @since 0.6.0
   */
  readonly synchronous?: BoundEngine
  /** The live record that a value leads to. Whatever a visitor can send is `None`, never an error. */
  readonly open: (
    value: CookieValue,
    now: number,
    reading?: ReadConsistency
  ) => Effect.Effect<Option<Opened>, SessionStoreError>
  /**
   * Writes. When it fails, nothing is known to have been written; when it answers, the answer is certain, even if a
   * reply was lost on the way.
   */
  readonly write: (write: Write, now: number) => Effect.Effect<Written, SessionStoreError>
  /** Ends the session that a value leads to. Needs no load; an unknown value is fine. */
  readonly destroy: (value: CookieValue) => Effect.Effect<void, SessionStoreError>
}

/**
 * The tag under which an engine is provided. `bind` is called once per session tag, when its layer is built: keys are
 * derived there, never per request.
 *
 * @since 0.1.0
 * @category tags
 */
export class SessionEngine extends Context.Tag("effect-session/SessionEngine")<SessionEngine, {
  readonly bind: (scope: Scope) => Effect.Effect<BoundEngine, SessionConfigError>
}>() {}
