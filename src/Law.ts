/**
 * Laws: the properties of a contract as programs. See `effect-session/testing`.
 *
 * @since 0.6.0
 */
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { SessionStore } from "./SessionStore.js"

/**
 * One property of a contract. It must be run on an empty store or engine.
 *
 * @since 0.4.0
 * @category models
 */
export interface Law<R = SessionStore> {
  /** The property in a sentence, for the title of a test. */
  readonly name: string
  /** Succeeds if the property holds, and fails with `LawBroken` if not. */
  readonly law: Effect.Effect<void, unknown, R>
}

/**
 * A store or an engine has broken a law.
 *
 * @since 0.4.0
 * @category errors
 */
export class LawBroken extends Schema.TaggedError<LawBroken>("effect-session.LawBroken")(
  "LawBroken",
  {
    /** The call, the expected result and the actual one. */
    message: Schema.String,
    /** The failure of the program that the law runs. */
    cause: Schema.optional(Schema.Defect)
  }
) {}
