/**
 * The schemas that can describe a session.
 *
 * @since 0.1.0
 */
import type * as Schema from "effect/Schema"

/**
 * A schema that can describe a session: a Struct, or a Class of one. A union lives inside a field.
 *
 * @since 0.1.0
 * @category models
 */
export type Any =
  & StructOrClass<
    "A session's schema is a Struct or a Class of one: put a union, a filter or a transformation into one of its fields"
  >
  & Schema.Schema.All

/**
 * A schema with fields. The compiler prints the sentence if a schema has none.
 *
 * @since 0.6.0
 * @category models
 */
export interface StructOrClass<_Sentence extends string> {
  readonly fields: Schema.Struct.Fields
}

/**
 * A schema whose data visitors may read in their own cookie: see {@link readable}.
 *
 * @since 0.5.0
 * @category models
 */
export interface Readable {
  readonly "~effect-session/Readable": true
}

/**
 * Declares that visitors may read the data of this schema. Required by `CookieEngine.layerSigned`, whose cookies are signed and
 * not encrypted.
 *
 * @since 0.5.0
 * @category annotations
 */
export const readable = <S extends Any>(schema: S): S & Readable =>
  Object.assign(schema, { "~effect-session/Readable": true as const })
