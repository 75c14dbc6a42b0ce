/**
 * Counting and deleting expired records.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type { Store } from "./SessionStore.js"

/**
 * Counts records and deletes expired ones. Stored engines provide it for `SessionReaper` and the command line.
 *
 * @example
 * ```ts
 * import { Clock, Effect } from "effect"
 * import { SessionMaintenance } from "effect-session"
 *
 * export const counted = Effect.flatMap(
 *   Clock.currentTimeMillis,
 *   (now) => Effect.flatMap(SessionMaintenance.SessionMaintenance, ({ count }) => count(now))
 * )
 * ```
 *
 * @since 0.1.0
 * @category tags
 */
export class SessionMaintenance extends Context.Tag("effect-session/SessionMaintenance")<
  SessionMaintenance,
  Pick<Store, "removeExpired" | "count">
>() {}
