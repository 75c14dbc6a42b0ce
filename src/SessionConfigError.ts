/**
 * Errors of configurations that cannot work.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * The configuration of a session tag or of an engine cannot work. Fails the layer, so that the server does not start.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionConfigError extends Schema.TaggedError<SessionConfigError>("effect-session/SessionConfigError")(
  "SessionConfigError",
  {
    /** The session tag or engine. */
    subject: Schema.String,
    /** One sentence: what is wrong and what to do. */
    problem: Schema.String
  }
) {
  override get message(): string {
    return `${this.subject}: ${this.problem}`
  }
}

/**
 * A sentence that the compiler prints as part of a type error. No value has this type.
 *
 * @since 0.6.0
 * @category models
 */
export interface CompileError<Sentence extends string> {
  readonly "~effect-session/CompileError": Sentence
}
