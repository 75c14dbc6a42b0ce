/**
 * Values that are read once: the message after a redirect, the result of a form.
 *
 * @since 0.2.0
 */
import * as Schema from "effect/Schema"

/**
 * A wrapper whose content only `take` returns, and to at most one request. Declared in the schema by {@link field}, set with
 * {@link make}.
 *
 * @since 0.2.0
 * @category models
 */
export class ReadOnce<out A> {
  readonly #content: A
  constructor(content: A) {
    this.#content = content
  }
  /** @internal */
  static contentOf<A>(self: ReadOnce<A>): A {
    return self.#content
  }
  toJSON(): unknown {
    return { _tag: "ReadOnce" }
  }
}

/**
 * Wraps a value for `set`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = <A>(content: A): ReadOnce<A> => new ReadOnce(content)

/**
 * Makes a field of a session schema whose value is read once.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { ReadOnce, Session } from "effect-session"
 *
 * class AppSession extends Session.Tag<AppSession>()("app/Session", {
 *   schema: Schema.Struct({ notice: ReadOnce.field(Schema.String) })
 * }) {}
 *
 * export const save = AppSession.set("notice", ReadOnce.make("Saved."))
 * export const show = Effect.map(AppSession.take("notice"), (notice) => notice) // Option<string>
 * ```
 *
 * @since 0.2.0
 * @category schemas
 */
export const field = <A, I, R>(content: Schema.Schema<A, I, R>): Schema.optional<Schema.Schema<ReadOnce<A>, I, R>> =>
  Schema.optional(
    Schema.transform(
      content,
      Schema.declare((value): value is ReadOnce<A> => value instanceof ReadOnce, { identifier: "ReadOnce" }),
      { strict: true, decode: (value) => new ReadOnce(value), encode: (once) => ReadOnce.contentOf(once) }
    )
  )

/**
 * The keys of the fields that are read once.
 *
 * @since 0.2.0
 * @category models
 */
export type Key<A> = {
  [K in keyof A & string]-?: Exclude<A[K], undefined> extends ReadOnce<unknown> ? K : never
}[keyof A & string]

/**
 * The type of the content of a `ReadOnce` field.
 *
 * @since 0.2.0
 * @category models
 */
export type Content<A> = Exclude<A, undefined> extends ReadOnce<infer B> ? B : never

/**
 * Returns whether a value is one that is read once.
 *
 * @since 0.6.0
 * @category guards
 */
export const isReadOnce = (value: unknown): value is ReadOnce<unknown> => value instanceof ReadOnce
