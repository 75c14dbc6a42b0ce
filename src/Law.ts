/**
 * One promise of a contract, as a program: see `effect-session/testing`.
 *
 * @since 0.6.0
 */
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { SessionStore } from "./SessionStore.js"

/**
 * One promise of a contract. It must be run on a store, or an engine, that is empty.
 *
 * @since 0.4.0
 * @category models
 */
export interface Law<R = SessionStore> {
  /** What is promised, in a sentence: the name of the test. */
  readonly name: string
  /** Succeeds if the promise is kept. */
  readonly law: Effect.Effect<void, unknown, R>
}

/**
 * A store, or an engine, did not do what the contract says.
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
