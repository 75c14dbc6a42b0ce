/**
 * Invalidation events between nodes: a node publishes which sessions it changed, and the other nodes drop them from their caches before
 * the lease ends.
 *
 * Events are hints. If one is lost or late, other nodes use their cached record until its lease ends.
 *
 * @since 0.5.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { SessionId } from "./SessionId.js"
import type { StoreKey } from "./StoreKey.js"

/**
 * An invalidation event. One session (`Key`, `Id`), all sessions of a subject (`Subject`) or all of a namespace (`Namespace`) have changed.
 * `Lost`: events were lost, so any session may have changed.
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
  | { readonly _tag: "Namespace"; readonly namespace: string }
  | { readonly _tag: "Lost" }

/**
 * A publish/subscribe channel between nodes.
 *
 * @since 0.5.0
 * @category models
 */
export interface Channel {
  /** Publishes an event to the other nodes. Does not wait for delivery, and never fails. */
  readonly publish: (event: InvalidationEvent) => Effect.Effect<void>
  /** Runs `onEvent` for each event of another node, until it is interrupted. */
  readonly subscribe: (onEvent: (event: InvalidationEvent) => Effect.Effect<void>) => Effect.Effect<never>
}

/**
 * The service tag of the channel. `PgInvalidation` provides it on Postgres.
 *
 * @since 0.5.0
 * @category tags
 */
export class SessionInvalidation
  extends Context.Tag("effect-session/SessionInvalidation")<SessionInvalidation, Channel>()
{}
