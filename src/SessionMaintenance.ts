/**
 * Keeping a store in order.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type { Store } from "./SessionStore.js"

/**
 * Counts records and deletes those that have expired. Stored engines provide it, for the reaper and the command line.
 *
 * @since 0.1.0
 * @category tags
 */
export class SessionMaintenance extends Context.Tag("effect-session/SessionMaintenance")<
  SessionMaintenance,
  Pick<Store, "removeExpired" | "count">
>() {}
