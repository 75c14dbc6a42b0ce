/**
 * What nodes tell each other of the sessions that they change, so that a copy elsewhere need not be believed until its lease
 * ends.
 *
 * Notices are hints. One that is lost or late costs nothing but time: the lease of the copy holds all the same.
 *
 * @since 0.5.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { SessionId } from "./SessionId.js"
import type { StoreKey } from "./StoreKey.js"

/**
 * What was changed: one session, by its key or by its id, those of a subject, those of a namespace; or nobody knows what,
 * because notices were lost.
 *
 * @since 0.5.0
 * @category models
 */
export type InvalidationEvent =
  | { readonly _tag: "Key"; readonly key: StoreKey }
  | { readonly _tag: "Id"; readonly namespace: string; readonly id: SessionId }
  | {
    readonly _tag: "Subject"
    readonly namespace: string
    readonly subject: string
    readonly except?: SessionId | undefined
  }
  | { readonly _tag: "Everyone"; readonly namespace: string }
  | { readonly _tag: "Gap" }

/**
 * A channel between nodes.
 *
 * @since 0.5.0
 * @category models
 */
export interface Channel {
  /** Tells the other nodes. It does not wait for them, and does not fail. */
  readonly publish: (notice: InvalidationEvent) => Effect.Effect<void>
  /** Hears what other nodes tell, until it is interrupted. */
  readonly subscribe: (hear: (notice: InvalidationEvent) => Effect.Effect<void>) => Effect.Effect<never>
}

/**
 * The tag under which a channel is provided: see `PgInvalidation`.
 *
 * @since 0.5.0
 * @category tags
 */
export class SessionInvalidation
  extends Context.Tag("effect-session/SessionInvalidation")<SessionInvalidation, Channel>()
{}
