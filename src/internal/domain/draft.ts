/**
 * What a request makes of its session: a value, and the steps that led to it as functions that can be replayed.
 *
 * A step is applied when the handler takes it, and applied again to the fresh record if another request won the race to
 * the store. That is how no update is lost without a lock.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Json, JsonRecord } from "../../Json.js"
import type { Lifetime } from "../../Lifetime.js"
import type { Merge } from "../../Merge.js"
import type { SessionRecord } from "../../SessionRecord.js"
import * as Done from "../done.js"
import { equals } from "../json.js"
import { hasField, withField } from "../schema/lazy.js"
import type { SessionSchema, ValidationIssue } from "../schema/prepared.js"
import { placeOf } from "../schema/prepared.js"

/**
 * A session in the making. Immutable: each step makes the next draft.
 */
export interface Draft<A> {
  /** The value as it was loaded, or the initial one. */
  readonly loaded: A
  /** What the diff is taken against: `loaded`, or the initial value once the data began anew. */
  readonly base: A
  /** What the handler sees. */
  readonly value: A
  /** The fields that steps touched since `base`, with their encodings. */
  readonly touched: ReadonlyMap<string, Json | undefined>
  readonly subject: string | undefined
  readonly lifetime: Lifetime | undefined
  /** `clear` was called: nothing of the old data stays, not even fields that this version does not know. */
  readonly cleared: boolean
  /** Another subject took over: the record starts again from the initial value, under a new id. */
  readonly subjectChanged: boolean
  /** The subject has authenticated. */
  readonly authenticated: boolean
  /** A new token is due. */
  readonly rotates: boolean
  /** The session is wanted even if nothing is in it. */
  readonly forceCreate: boolean
  /** A session that exists is written even if nothing in it differs. */
  readonly forceSave: boolean
  /** The other sessions of the subject end with the commit. */
  readonly revokeOthers: boolean
}

/**
 * A step could not be replayed: what it relied on was changed by another request.
 */
export interface Conflict {
  readonly _tag: "Conflict"
  /** The field in words of the schema, or what happened: never what a visitor chose. */
  readonly what: string
}

const conflict = (what: string): Effect.Effect<never, Conflict> => Exit.fail({ _tag: "Conflict", what })

/**
 * One step. `origin` is the value that the handler had loaded, given when the step is replayed on another.
 */
export type Step<A> = (draft: Draft<A>, origin: A | undefined) => Effect.Effect<Draft<A>, ValidationIssue | Conflict>

/**
 * Where every session begins.
 */
export const start = <A>(
  loaded: A,
  subject: string | undefined,
  lifetime: Lifetime | undefined
): Draft<A> => ({
  loaded,
  base: loaded,
  value: loaded,
  touched: none,
  subject,
  lifetime,
  cleared: false,
  subjectChanged: false,
  authenticated: false,
  rotates: false,
  forceCreate: false,
  forceSave: false,
  revokeOthers: false
})

/**
 * Where a request begins: at a record, or at the initial value.
 */
export const startFrom = <A>(
  initial: A,
  loaded: { readonly decoded: A; readonly record: Pick<SessionRecord, "expiry" | "subject"> } | undefined
): Draft<A> =>
  loaded === undefined
    ? start(initial, undefined, undefined)
    : start(loaded.decoded, loaded.record.subject, loaded.record.expiry.lifetime)

const none: Draft<never>["touched"] = new Map()

/**
 * The step that always clashes: what it would replace was changed before it was taken.
 */
export const conflictOn = (what: string): () => Effect.Effect<never, Conflict> => () => conflict(what)

/**
 * Applies steps in order to a draft of a fresh record.
 */
export const replay = <A>(
  fresh: Draft<A>,
  steps: ReadonlyArray<Step<A>>,
  origin: A
): Effect.Effect<Draft<A>, Conflict> =>
  Effect.suspend(() => Done.reduce(steps, fresh, (draft, step) => step(draft, origin))).pipe(
    Effect.catchAll((error) => error._tag === "Conflict" ? Exit.fail(error) : conflict(placeOf(error))),
    // A function of the handler's may throw on a value that it had not seen before.
    Effect.catchAllDefect(() => conflict("an update that threw when it was replayed"))
  )

/**
 * The steps that a session offers, for one schema.
 */
export const stepsFor = <A extends object>(
  schema: SessionSchema<A>,
  initial: A,
  merges: Readonly<Record<string, Merge<unknown> | undefined>>
) => {
  type Key = keyof A & string

  /** What may be changed in place is kept as a copy, so that it stays what it was when it was checked and encoded. */
  const put = (draft: Draft<A>, value: A, key: Key): Effect.Effect<Draft<A>, ValidationIssue> => {
    if (schema.mutable.has(key)) {
      return Done.map(schema.copyField(key, value), (copy) => ({
        ...draft,
        value: withField(value, key, { present: hasField(value, key), value: copy.value }),
        touched: new Map(draft.touched).set(key, copy.encoded)
      }))
    }
    const encoded = schema.encodeField(key, value)
    const next = (encoded: Json | undefined): Draft<A> => ({
      ...draft,
      value,
      touched: new Map(draft.touched).set(key, encoded)
    })
    return Done.isDone(encoded) && Exit.isSuccess(encoded)
      ? Exit.succeed(next(encoded.value))
      : Effect.map(encoded, next)
  }

  /** A draft whose field is nobody else's, for a function of the handler's, which may change it in place. */
  const withOwnCopy = (draft: Draft<A>, key: Key): Effect.Effect<Draft<A>> =>
    Done.map(ownField(schema, key, draft.value), (value) => ({ ...draft, value }))

  /** What is to be set, as it is now: the handler may change it in place before a replay sets it again. */
  const snapshot = (key: Key, field: Field): Effect.Effect<Field, ValidationIssue> =>
    Done.map(
      schema.copyField(key, withField(initial, key, field)),
      ({ value }) => ({ present: field.present, value })
    )

  const sameField = (key: Key, a: A, b: A): Effect.Effect<boolean, ValidationIssue> =>
    a[key] === b[key]
      ? Exit.succeed(true)
      : Done.flatMap(
        schema.encodeField(key, a),
        (encoded) => Done.map(schema.encodeField(key, b), (other) => equals(encoded, other))
      )

  /** Those of the fields that two values do not share. */
  const differing = (keys: ReadonlyArray<Key>, a: A, b: A): Effect.Effect<ReadonlyArray<Key>> =>
    Effect.filter(
      keys,
      (key) => Effect.match(sameField(key, a, b), { onFailure: () => true, onSuccess: (same) => !same })
    )

  /**
   * Sets a field, or removes it. `read`: the handler had read it, so a change by another request matters. `merging`: the
   * field's merge may settle it.
   */
  const assign = (key: Key, next: Field, read: boolean, merging = true): Step<A> => (draft, origin) => {
    const mine = withField(draft.value, key, next)
    if (origin === undefined || !read || draft.subjectChanged) return put(draft, mine, key)
    return Done.flatMap(
      sameField(key, origin, draft.loaded),
      (same): Effect.Effect<Draft<A>, ValidationIssue | Conflict> => {
        if (same) return put(draft, mine, key)
        const merge = merging ? merges[key] : undefined
        if (merge === undefined) return conflict(key)
        return Effect.flatMap(
          Effect.forEach([origin, mine, draft.loaded], (value) => ownField(schema, key, value)),
          (values) => {
            const [base, mine, theirs] = values.map((value) => value[key])
            const merged = merge(base, mine, theirs)
            return put(draft, withField(draft.value, key, { present: merged !== undefined, value: merged }), key)
          }
        )
      }
    )
  }

  /** Changes a field by a function, which sees the fresh value when it is replayed. */
  const update = (key: Key, f: (draft: Draft<A>) => Field): Step<A> => (draft) =>
    schema.mutable.has(key)
      ? Done.flatMap(withOwnCopy(draft, key), (own) => put(draft, withField(draft.value, key, f(own)), key))
      : put(draft, withField(draft.value, key, f(draft)), key)

  /** As `update`, with a result that the handler saw: a replay that gives another one is a clash. */
  const modify = <B>(
    key: Key,
    f: (draft: Draft<A>) => readonly [result: B, next: Field],
    same: (a: B, b: B) => boolean,
    [seen, next]: readonly [result: B, next: Field]
  ): Step<A> =>
  (draft, origin) => {
    if (origin === undefined) return put(draft, withField(draft.value, key, next), key)
    return Done.flatMap(withOwnCopy(draft, key), (own): Effect.Effect<Draft<A>, ValidationIssue | Conflict> => {
      const [result, again] = f(own)
      return same(seen, result) ? put(draft, withField(draft.value, key, again), key) : conflict(key)
    })
  }

  /** Back to the initial value and the policy's lifetime. `reads` are the fields that the handler had read. */
  const clear = (reads: ReadonlyArray<Key>): Step<A> => (draft, origin) =>
    Effect.as(
      origin === undefined || draft.subjectChanged
        ? Exit.void
        : Effect.forEach(
          reads,
          (key) =>
            Effect.flatMap(
              sameField(key, origin, draft.loaded),
              (same) => same ? Effect.void : conflict(key)
            ),
          { discard: true }
        ),
      { ...draft, base: initial, value: initial, touched: new Map(), lifetime: undefined, cleared: true }
    )

  /** Sets whose session it is. Another subject's data is never carried over. */
  const authenticate = (subject: string): Step<A> => (draft) =>
    Exit.succeed({
      ...(draft.subject === undefined || draft.subject === subject
        ? draft
        : { ...start(initial, subject, undefined), loaded: draft.loaded, subjectChanged: true }),
      subject,
      authenticated: true,
      rotates: true
    })

  /** As `authenticate`, and the other sessions of the subject end with the commit. */
  const authenticateExclusively = (subject: string): Step<A> => (draft, origin) =>
    Done.map(authenticate(subject)(draft, origin), (draft) => ({ ...draft, revokeOthers: true }))

  const rotate: Step<A> = (draft) => Exit.succeed({ ...draft, rotates: true })

  const keep: Step<A> = (draft) => Exit.succeed({ ...draft, kept: true })

  const touch: Step<A> = (draft) => Exit.succeed({ ...draft, forceSave: true })

  const setLifetime = (lifetime: Lifetime | undefined): Step<A> => (draft) => Exit.succeed({ ...draft, lifetime })

  const nothing: Step<A> = Exit.succeed

  return {
    assign,
    update,
    modify,
    clear,
    authenticate,
    authenticateExclusively,
    rotate,
    keep,
    touch,
    nothing,
    setLifetime,
    sameField,
    differing,
    withOwnCopy,
    snapshot
  }
}

/** A value whose field may be changed in place by whoever gets it. What was read and cannot be encoded has no copy. */
const ownField = <A extends object>(schema: SessionSchema<A>, key: keyof A & string, value: A): Effect.Effect<A> =>
  schema.mutable.has(key) && value[key] !== undefined
    ? Done.matchEffect(schema.copyField(key, value), {
      onFailure: () => Exit.succeed(value),
      onSuccess: (copy) => Exit.succeed(withField(value, key, { present: true, value: copy.value }))
    })
    : Exit.succeed(value)

/**
 * A field's content, or its absence.
 */
export interface Field {
  readonly present: boolean
  readonly value?: unknown
}

/**
 * The encoded fields that differ from the base: what a save has to write. Fields whose value is the same, or encodes to
 * the same, are no difference.
 */
export const diff = <A extends object>(
  schema: SessionSchema<A>,
  draft: Draft<A>
): Effect.Effect<ReadonlyMap<string, Json | undefined>, ValidationIssue> => {
  const changes = new Map<string, Json | undefined>()
  const { base, touched, value } = draft
  const compare = (from: number): Effect.Effect<ReadonlyMap<string, Json | undefined>, ValidationIssue> => {
    for (let i = from; i < schema.keys.length; i++) {
      const key = schema.keys[i] as keyof A & string
      if (!touched.has(key) || (value[key] === base[key] && hasField(value, key) === hasField(base, key))) continue
      const after = touched.get(key)
      const note = (before: Json | undefined): void => {
        if (!isSame(before, after)) changes.set(schema.encodedName(key), after)
      }
      const before = schema.encodeField(key, base)
      if (!Done.isDone(before) || Exit.isFailure(before)) {
        return Effect.flatMap(before, (before) => {
          note(before)
          return compare(i + 1)
        })
      }
      note(before.value)
    }
    return Exit.succeed(changes)
  }
  return compare(0)
}

const isSame = (a: Json | undefined, b: Json | undefined): boolean =>
  a === b || (typeof a === "object" && typeof b === "object" && equals(a, b))

/**
 * Writes a difference into an encoded record. Fields that it does not name stay, known to this version or not.
 */
export const patch = (raw: JsonRecord, changes: ReadonlyMap<string, Json | undefined>): JsonRecord => {
  const result: Record<string, Json> = { ...raw }
  for (const [name, value] of changes) {
    if (value === undefined) delete result[name]
    else result[name] = value
  }
  return result
}
