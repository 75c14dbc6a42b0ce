/**
 * Schemas of properties that may be absent.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

/** A property that always exists, with `undefined` for an absent value. Its encoded form has no property for that. */
export const orAbsent = <A, I>(schema: Schema.Schema<A, I>) =>
  Schema.optionalToRequired(schema, Schema.UndefinedOr(Schema.typeSchema(schema)), {
    decode: Option.getOrUndefined,
    encode: Option.fromNullable
  })
