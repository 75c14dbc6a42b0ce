/**
 * Ending sessions without a token.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type { Store } from "./SessionStore.js"

/**
 * Ends sessions by id, by subject, or all of a namespace. Each call is one write, independent of the number of sessions.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { SessionRevocation } from "effect-session"
 *
 * export const endAll = (namespace: string) =>
 *   Effect.flatMap(SessionRevocation.SessionRevocation, ({ revokeAll }) => revokeAll(namespace))
 * ```
 *
 * @since 0.1.0
 * @category tags
 */
export class SessionRevocation extends Context.Tag("effect-session/SessionRevocation")<
  SessionRevocation,
  Pick<Store, "revoke" | "revokeSubject" | "revokeAll">
>() {}
