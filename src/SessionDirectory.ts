/**
 * Finding sessions without a token.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type { Shape } from "./SessionStore.js"

/**
 * Lists and finds sessions. Stored engines provide it; a cookie engine cannot, so a program that needs it does not
 * compile there.
 *
 * @since 0.1.0
 * @category tags
 */
export class SessionDirectory extends Context.Tag("effect-session/SessionDirectory")<
  SessionDirectory,
  Pick<Shape, "list" | "find" | "scan">
>() {}
