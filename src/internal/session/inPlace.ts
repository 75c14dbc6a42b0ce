/**
 * Fields that may be changed in place: the handler gets a copy of its own, and what it changes there counts as set.
 */
import * as Effect from "effect/Effect"
import type { Json } from "../../Json.js"
import type { Draft, Field } from "../domain/draft.js"
import { equals } from "../json.js"
import { hasField, withField } from "../schema/lazy.js"
import type { SessionSchema, ValidationIssue } from "../schema/prepared.js"

/** The copy of one field that a handler was given. */
interface HandlerCopy<A> {
  /** The value that held the field then. */
  readonly source: A
  /** The value that holds the handler's copy. */
  readonly value: A
  readonly encoded: Json | undefined
}

/** The fields that a handler was given. */
export type Copies<A> = Map<keyof A & string, HandlerCopy<A>>

/** One field, the same copy for as long as the field is not replaced. What cannot be encoded has no copy. */
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
        // Another branch of the handler may have been faster.
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

/** The whole value, with the handler's copies in it. An instance of a class is one of its own. */
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

/** The fields whose copies the handler has changed. */
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

/** Whether an encoding is not that of a fresh copy: a schema may decode more forms than it encodes, or encode at random. */
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

/** The handler's copies of these fields are what the draft holds now. */
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
