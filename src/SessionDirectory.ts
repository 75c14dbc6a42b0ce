/**
 * Finding sessions without a token.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type { Store } from "./SessionStore.js"

/**
 * The functions of a store that find sessions without a token, and change them.
 *
 * @since 0.6.0
 * @category models
 */
export type Directory = Pick<Store, "capabilities" | "list" | "find" | "scan" | "save" | "destroy">

/**
 * Lists, finds and changes sessions without a token. Stored engines provide it; cookie engines do not, so a program that needs it does
 * not compile with them.
 *
 * @since 0.1.0
 * @category tags
 */
export class SessionDirectory extends Context.Tag("effect-session/SessionDirectory")<
  SessionDirectory,
  Directory
>() {}
