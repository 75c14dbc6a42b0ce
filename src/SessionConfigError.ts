/**
 * The error of an invalid configuration.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * The configuration of a session tag, a store or an engine is invalid. It fails the layer, so that the server does not start.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionConfigError extends Schema.TaggedError<SessionConfigError>("effect-session.SessionConfigError")(
  "SessionConfigError",
  {
    /** The session tag, store or engine. */
    subject: Schema.String,
    /** One sentence: the problem and its solution. */
    problem: Schema.String
  }
) {
  override get message(): string {
    return `${this.subject}: ${this.problem}`
  }
}

/**
 * A sentence that the compiler prints for an invalid program. No value has this type.
 *
 * @since 0.6.0
 * @category models
 */
export interface CompileError<Sentence extends string> {
  readonly "~effect-session/CompileError": Sentence
}
