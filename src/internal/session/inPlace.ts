/**
 * Fields that may be changed in place: the handler gets its own copy, and a change of the copy counts as a `set`.
 */
import * as Effect from "effect/Effect"
import type { Json } from "../../Json.js"
import type { Draft, Field } from "../domain/draft.js"
import { equals } from "../json.js"
import { hasField, withField } from "../schema/lazy.js"
import type { SessionSchema, ValidationIssue } from "../schema/prepared.js"

/** The handler's copy of one field. */
interface HandlerCopy<A> {
  /** The value that the field was copied from. */
  readonly source: A
  /** The value that holds the handler's copy. */
  readonly value: A
  readonly encoded: Json | undefined
}

/** The copies that a handler was given, by field. */
export type Copies<A> = Map<keyof A & string, HandlerCopy<A>>

/**
 * Returns the handler's copy of a field, the same one until the field is replaced. A value that cannot be encoded is returned
 * without a copy.
 */
export const read = <A extends object, K extends keyof A & string>(
  schema: SessionSchema<A>,
  copies: Copies<A>,
  draft: Draft<A>,
  key: K
): Effect.Effect<A[K]> => {
  const source = draft.value
  if (source[key] === undefined) return Effect.succeed(source[key])
  return Effect.suspend(() => {
    const known = find(copies, key, source)
    return known !== undefined ? Effect.succeed(known[key]) : Effect.match(schema.copyField(key, source), {
      onFailure: () => source[key],
      onSuccess: ({ encoded, value }) => {
        // A concurrent branch of the handler may have made the copy first.
        const first = find(copies, key, source)
        if (first !== undefined) return first[key]
        copies.set(key, { source, value: withField(source, key, { present: true, value }), encoded })
        return value
      }
    })
  })
}

const find = <A>(copies: Copies<A>, key: keyof A & string, source: A): A | undefined => {
  const known = copies.get(key)
  return known !== undefined && known.source[key] === source[key] ? known.value : undefined
}

/** Returns the whole value with the handler's copies in it. An instance of a class is copied. */
export const readAll = <A extends object>(
  schema: SessionSchema<A>,
  copies: Copies<A>,
  draft: Draft<A>
): Effect.Effect<A> =>
  Effect.flatMap(
    schema.isClass ? Effect.orElseSucceed(schema.copy(draft.value), () => draft.value) : Effect.succeed(draft.value),
    (whole) =>
      Effect.map(
        Effect.forEach(
          schema.mutable,
          (key) => Effect.map(read(schema, copies, draft, key), (value) => [key, value] as const)
        ),
        (own) =>
          own.reduce(
            (whole, [key, value]) => hasField(whole, key) ? withField(whole, key, { present: true, value }) : whole,
            whole
          )
      )
  )

/** Returns the fields whose copies the handler has changed. */
export const changed = <A extends object>(
  schema: SessionSchema<A>,
  copies: Copies<A>,
  draft: Draft<A>
): Effect.Effect<ReadonlyArray<readonly [keyof A & string, Field]>, ValidationIssue> =>
  Effect.map(
    Effect.filter(
      [...copies].filter(([key]) => find(copies, key, draft.value) !== undefined),
      ([key, { encoded, value }]) =>
        Effect.flatMap(schema.encodeField(key, value), (now) =>
          equals(now, encoded) ? Effect.succeed(false) : isOther(schema, key, draft.value, now))
    ),
    (found) =>
      found.map(([key, { value }]) => [key, { present: true, value: value[key] }] as const)
  )

/**
 * Returns whether an encoding differs from that of a fresh copy: a schema may decode more forms than it encodes, or encode at
 * random.
 */
const isOther = <A extends object>(
  schema: SessionSchema<A>,
  key: keyof A & string,
  source: A,
  encoded: Json | undefined
): Effect.Effect<boolean, ValidationIssue> => {
  const again = Effect.flatMap(
    schema.copyField(key, source),
    ({ value }) => schema.encodeField(key, withField(source, key, { present: true, value }))
  )
  return Effect.zipWith(again, again, (first, second) => equals(first, second) && !equals(first, encoded))
}

/** Records that the draft holds the handler's copies of these fields. */
export const markSet = <A extends object>(
  copies: Copies<A>,
  draft: Draft<A>,
  keys: ReadonlyArray<keyof A & string>
): void => {
  for (const key of keys) {
    const known = copies.get(key)
    if (known !== undefined) copies.set(key, { ...known, source: draft.value, encoded: draft.touched.get(key) })
  }
}
