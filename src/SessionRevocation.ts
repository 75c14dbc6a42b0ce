/**
 * Listing and ending the sessions of a subject without a token.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type { Store } from "./SessionStore.js"

/**
 * Lists the sessions of a subject, and ends sessions by id, by subject, or all of a namespace. Each of the latter is one write, independent
 * of the number of sessions. Stored engines and `CookieEngine.layerLedger` provide it; the plain cookie engine does not, so a program that
 * needs it does not compile with that one.
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
  Pick<Store, "list" | "revoke" | "revokeSubject" | "revokeAll">
>() {}
