/**
 * The codec of the context of a session: by the schema that the tag declares.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Json } from "../../Json.js"
import { maxContextLength } from "../domain/attributes.js"
import { withHelp } from "../help.js"
import { problemOf } from "../json.js"

/** Encodes and decodes the context of a session tag. */
export interface ContextCodec<C> {
  /** Fails with a sentence that does not contain the value. */
  readonly encode: (context: C) => Effect.Effect<Json, string>
  /** Decodes an encoded context. `None`: there is none, or it does not fit the schema, which is logged as a warning. */
  readonly decode: (session: string, encoded: Json | undefined) => Effect.Effect<Option.Option<C>>
}

/** The codec of a tag that declares no context. */
export const none = <C>(): ContextCodec<C> => ({
  encode: () => Exit.fail("the session tag declares no context"),
  decode: () => Exit.succeed(Option.none())
})

export const make = <C, I>(schema: Schema.Schema<C, I>): ContextCodec<C> => {
  const encode = Schema.encode(schema)
  const decode = Schema.decodeUnknown(schema)
  return {
    encode: (context) =>
      Effect.flatMap(
        Effect.mapError(encode(context), () => "the context does not fit its schema"),
        (encoded: unknown) => {
          // Within the attributes, which are checked again when they are read, it is one level deeper.
          const problem = encoded === undefined ? { message: "the context is empty" } : problemOf(encoded, 1)
          return problem !== undefined
            ? Effect.fail(problem.message)
            : JSON.stringify(encoded).length > maxContextLength
            ? Effect.fail(`the encoded context is longer than ${maxContextLength} characters`)
            // `problemOf` has checked that it is JSON.
            : Effect.succeed(encoded as Json)
        }
      ),
    decode: (session, encoded) =>
      encoded === undefined ? Exit.succeed(Option.none()) : Effect.matchEffect(decode(encoded), {
        onFailure: () =>
          Effect.as(
            Effect.logWarning(
              withHelp(
                `The context of a session of "${session}" does not fit the schema of this version. It was left as it is.`,
                "data-does-not-fit-schema"
              )
            ),
            Option.none()
          ),
        onSuccess: Effect.succeedSome
      })
  }
}
