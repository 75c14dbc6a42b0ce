/**
 * The error of an invalid configuration.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { referring } from "./internal/help.js"

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
    problem: Schema.String,
    /**
     * The heading of `docs/troubleshooting.md` that explains the problem. The message ends with it. Absent in errors that an application
     * makes itself.
     *
     * @since 0.6.0
     */
    help: Schema.optionalWith(Schema.String, { exact: true })
  }
) {
  override get message(): string {
    const message = `${this.subject}: ${this.problem}`
    return this.help === undefined ? message : referring(message, this.help)
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
