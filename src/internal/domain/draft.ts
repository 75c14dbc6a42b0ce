/**
 * The pending value of a request's session, and the steps that change it, as functions that can be replayed.
 *
 * A step is applied when the handler calls it, and replayed on the fresh record if another request has written the session first.
 * So no update is lost, without a lock.
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
import type { Attributes, Claims } from "./attributes.js"
import { none as noAttributes } from "./attributes.js"

/**
 * Pending state of a session. Immutable: each step returns the next draft.
 */
export interface Draft<A> {
  /** The value as it was loaded, or the initial one. */
  readonly loaded: A
  /** The base of the diff: `loaded`, or the initial value after `clear` or a change of subject. */
  readonly base: A
  /** The value as the handler reads it. */
  readonly value: A
  /** The fields that steps have set since `base`, with their encodings. */
  readonly touched: ReadonlyMap<string, Json | undefined>
  readonly subject: string | undefined
  readonly attributes: Attributes
  readonly lifetime: Lifetime | undefined
  /** `clear` was called, or the data of an anonymous visitor or of another subject was dropped: all old data is dropped, including fields that this schema version does not know. */
  readonly cleared: boolean
  /** Another subject has authenticated: the session starts from the initial value, under a new id. */
  readonly subjectChanged: boolean
  /** The subject has authenticated. */
  readonly authenticated: boolean
  /** The authority of the session grows: by a login, a step-up or an impersonation. A response with 401 or 403 undoes all changes. */
  readonly raised: boolean
  /** A new token is due. */
  readonly rotates: boolean
  /** A session is created even if it is empty. */
  readonly forceCreate: boolean
  /** An existing session is written even if nothing has changed. */
  readonly forceSave: boolean
  /** The other sessions of the subject end with the commit. */
  readonly revokeOthers: boolean
}

/**
 * A step cannot be replayed, because another request has changed a value that it depends on.
 */
export interface Conflict {
  readonly _tag: "Conflict"
  /** The field in names of the schema, or a description; never input of a visitor. */
  readonly what: string
}

const conflict = (what: string): Effect.Effect<never, Conflict> => Exit.fail({ _tag: "Conflict", what })

/**
 * One step. `origin`: the value that the handler loaded, if the step is replayed on another one.
 */
export type Step<A> = (draft: Draft<A>, origin: A | undefined) => Effect.Effect<Draft<A>, ValidationIssue | Conflict>

/**
 * A draft of a value, without changes.
 */
export const start = <A>(
  loaded: A,
  subject: string | undefined,
  lifetime: Lifetime | undefined,
  attributes: Attributes = noAttributes
): Draft<A> => ({
  loaded,
  base: loaded,
  value: loaded,
  touched: none,
  subject,
  attributes,
  lifetime,
  cleared: false,
  subjectChanged: false,
  authenticated: false,
  raised: false,
  rotates: false,
  forceCreate: false,
  forceSave: false,
  revokeOthers: false
})

/**
 * A draft of a record, or of the initial value if there is none.
 */
export const startFrom = <A>(
  initial: A,
  loaded:
    | {
      readonly decoded: A
      readonly attributes: Attributes
      readonly record: Pick<SessionRecord, "expiry" | "subject">
    }
    | undefined
): Draft<A> =>
  loaded === undefined
    ? start(initial, undefined, undefined)
    : start(loaded.decoded, loaded.record.subject, loaded.record.expiry.lifetime, loaded.attributes)

const none: Draft<never>["touched"] = new Map()

/**
 * The part of an anonymous visitor's data that a login keeps, apart from the fields that the request of the login has set itself: all of
 * it, some fields, or what a function makes of it and of the initial value.
 */
export type CarryOver<A> = "all" | ReadonlyArray<keyof A & string> | ((visitor: A, fresh: A) => A)

/** A login. */
export interface Login extends Claims {
  readonly subject: string
  readonly remember: boolean | undefined
  /** The encoded context; absent: the context of the same subject stays. */
  readonly context: Json | undefined
  /** The other sessions of the subject end with the commit. */
  readonly exclusive: boolean
}

/**
 * A step that always fails with a conflict: the field had changed before the step was applied.
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
    // A function of the handler may throw on a value that it was not written for.
    Effect.catchAllDefect(() => conflict("an update that threw when it was replayed"))
  )

/**
 * The steps of a session, for one schema.
 */
export const stepsFor = <A extends object>(
  schema: SessionSchema<A>,
  initial: A,
  merges: Readonly<Record<string, Merge<unknown> | undefined>>,
  carryOver: CarryOver<A>
) => {
  type Key = keyof A & string

  /**
   * Puts a field into a draft. A value that can be changed in place is copied, so that it stays as it was checked and encoded.
   */
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

  /** Copies a field for a function of the handler, which may change it in place. */
  const withOwnCopy = (draft: Draft<A>, key: Key): Effect.Effect<Draft<A>> =>
    Done.map(ownField(schema, key, draft.value), (value) => ({ ...draft, value }))

  /** Copies a value to set: the handler may change it in place before a replay sets it again. */
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

  /** Returns the fields in which two values differ. */
  const differing = (keys: ReadonlyArray<Key>, a: A, b: A): Effect.Effect<ReadonlyArray<Key>> =>
    Effect.filter(
      keys,
      (key) => Effect.match(sameField(key, a, b), { onFailure: () => true, onSuccess: (same) => !same })
    )

  /**
   * Sets or removes a field. `read`: the handler has read it, so a change by another request is a conflict. `merging`: the
   * field's merge may resolve that conflict.
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

  /** Changes a field by a function, which runs again on the fresh value in a replay. */
  const update = (key: Key, f: (draft: Draft<A>) => Field): Step<A> => (draft) =>
    schema.mutable.has(key)
      ? Done.flatMap(withOwnCopy(draft, key), (own) => put(draft, withField(draft.value, key, f(own)), key))
      : put(draft, withField(draft.value, key, f(draft)), key)

  /** As `update`, with a result that the handler has used: a replay with another result is a conflict. */
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

  /**
   * Resets to the initial value and the policy's lifetime. `reads`: the fields that the handler has read; a change of them is a
   * conflict.
   */
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

  /** Drops all data, including fields that this schema version does not know. */
  const emptied = (draft: Draft<A>): Draft<A> => ({
    ...draft,
    base: initial,
    value: initial,
    touched: none,
    cleared: true
  })

  /** Copies the fields of a value that a function of the application may change in place. */
  const ownValue = (value: A): Effect.Effect<A> =>
    Done.reduce([...schema.mutable], value, (own, key) => ownField(schema, key, own))

  /** The value that the declaration makes of the visitor's. All visitors share the initial value, so a function gets copies. */
  const carriedBy = (visitor: A): Effect.Effect<A> =>
    typeof carryOver === "function"
      ? Done.flatMap(ownValue(visitor), (own) => Done.map(ownValue(initial), (fresh) => carryOver(own, fresh)))
      : Exit.succeed(visitor)

  /** Keeps the declared part of an anonymous visitor's data, and the fields that this request has set. */
  const carriedOver = (draft: Draft<A>): Effect.Effect<Draft<A>, ValidationIssue> => {
    if (carryOver === "all") return Exit.succeed(draft)
    const keys = typeof carryOver === "function" ? schema.keys : carryOver
    return Done.flatMap(carriedBy(draft.value), (carried) =>
      Done.reduce(
        [...draft.touched.keys() as Iterable<Key>, ...keys.filter((key) => !draft.touched.has(key))],
        emptied(draft),
        (next, key) => {
          const from = draft.touched.has(key) ? draft.value : carried
          return put(next, withField(next.value, key, { present: hasField(from, key), value: from[key] }), key)
        }
      ))
  }

  /**
   * Sets the subject. The data of another subject is dropped, also that of one that was impersonated; that of an anonymous visitor is
   * carried over as declared.
   */
  const authenticate = ({ context, exclusive, level, methods, remember, subject }: Login): Step<A> => (draft) => {
    const isSame = draft.subject === subject && draft.attributes.impersonating === undefined
    const kept: Effect.Effect<Draft<A>, ValidationIssue> = draft.subject === undefined
      ? carriedOver(draft)
      : isSame
      ? Exit.succeed(draft)
      : draft.subject === subject
      ? Exit.succeed(emptied(draft))
      : Exit.succeed({ ...start(initial, subject, undefined), loaded: draft.loaded, subjectChanged: true })
    const own = context ?? (isSame ? draft.attributes.context : undefined)
    return Done.map(kept, (draft) => ({
      ...draft,
      subject,
      attributes: {
        methods,
        level,
        ...remember === undefined ? {} : { remembered: remember },
        ...own === undefined ? {} : { context: own }
      },
      authenticated: true,
      raised: true,
      rotates: true,
      revokeOthers: draft.revokeOthers || exclusive
    }))
  }

  /** Fails for an anonymous session, and changes the attributes. Every change of authority makes a new token due. */
  const withAuthority = (change: (draft: Draft<A>) => Effect.Effect<Draft<A>, ValidationIssue>): Step<A> => (draft) =>
    draft.subject === undefined
      ? Exit.fail(issueOf("no subject is logged in"))
      : Done.map(change(draft), (draft) => ({ ...draft, rotates: true }))

  /** Adds a step-up at `at`, in milliseconds since the epoch. */
  const elevate = (at: number, { level, methods }: Claims): Step<A> =>
    withAuthority((draft) =>
      Exit.succeed({ ...draft, raised: true, attributes: { ...draft.attributes, elevated: { at, methods, level } } })
    )

  const drop: Step<A> = withAuthority((draft) => {
    const { elevated: _, ...attributes } = draft.attributes
    return Exit.succeed({ ...draft, attributes })
  })

  /** Acts for another subject. The session stays that of its own subject, whose data is dropped. */
  const impersonate = (impersonating: string): Step<A> =>
    withAuthority((draft) => {
      const { elevated: _, ...attributes } = draft.attributes
      return attributes.impersonating !== undefined
        ? Exit.fail(issueOf("the session acts for another subject already: end that first"))
        : draft.subject === impersonating
        ? Exit.fail(issueOf("a subject cannot act for itself"))
        : Exit.succeed({ ...emptied(draft), raised: true, attributes: { ...attributes, impersonating } })
    })

  /** Ends an impersonation. The data of that time is dropped. */
  const endImpersonation: Step<A> = (draft) => {
    const { impersonating, ...attributes } = draft.attributes
    return Exit.succeed(impersonating === undefined ? draft : { ...emptied(draft), attributes, rotates: true })
  }

  const setContext = (context: Json): Step<A> => (draft) =>
    Exit.succeed({ ...draft, attributes: { ...draft.attributes, context } })

  /**
   * Ends the other sessions of the subject with the commit, and makes a new token due. Fails during an impersonation, where the handler
   * means the sessions of the other subject.
   */
  const revokeOthers: Step<A> = withAuthority((draft) =>
    draft.attributes.impersonating === undefined
      ? Exit.succeed({ ...draft, revokeOthers: true })
      : Exit.fail(issueOf("the session acts for another subject: use revokeSubject to end the sessions of that one"))
  )

  const rotate: Step<A> = (draft) => Exit.succeed({ ...draft, rotates: true })

  const keep: Step<A> = (draft) => Exit.succeed({ ...draft, forceCreate: true })

  const touch: Step<A> = (draft) => Exit.succeed({ ...draft, forceSave: true })

  const setLifetime = (lifetime: Lifetime | undefined): Step<A> => (draft) => Exit.succeed({ ...draft, lifetime })

  const nothing: Step<A> = Exit.succeed

  return {
    assign,
    update,
    modify,
    clear,
    authenticate,
    elevate,
    drop,
    impersonate,
    endImpersonation,
    setContext,
    revokeOthers,
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

const issueOf = (problem: string): ValidationIssue => ({ _tag: "ValidationIssue", field: "subject", problem })

/** Copies one field of a value, so that the caller may change it in place. A value that cannot be encoded is not copied. */
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
 * Returns the encoded fields that differ from the base, which a save has to write. Values with equal encodings do not differ.
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
 * Applies a diff to an encoded record. Other fields stay, including those that this schema version does not know.
 */
export const patch = (raw: JsonRecord, changes: ReadonlyMap<string, Json | undefined>): JsonRecord => {
  const result: Record<string, Json> = { ...raw }
  for (const [name, value] of changes) {
    if (value === undefined) delete result[name]
    else result[name] = value
  }
  return result
}
