import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Either, Equal, Option, Schema } from "effect"
import * as fc from "fast-check"
import type { Conflict, Draft, Step } from "../../../src/internal/domain/draft.js"
import * as SessionDraft from "../../../src/internal/domain/draft.js"
import type { ValidationIssue } from "../../../src/internal/schema/prepared.js"
import * as Prepared from "../../../src/internal/schema/prepared.js"
import type { Json, JsonRecord } from "../../../src/Json.js"

const Data = Schema.Struct({
  count: Schema.optionalWith(Schema.Int, { default: () => 0 }),
  user: Schema.optional(Schema.String),
  since: Schema.optionalWith(Schema.Date, { as: "Option" }),
  tags: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] }),
  visits: Schema.optional(Schema.Int).pipe(Schema.fromKey("v"))
})
type Data = typeof Data.Type
type Key = keyof Data

const schema = Prepared.make<Data>(Data, Context.empty())
const decode = (raw: JsonRecord): Data => Effect.runSync(schema.decode(JSON.parse(JSON.stringify(raw)) as JsonRecord))
const initial = decode({})
const { alter, alterSeen, assign, authenticate, clear, rotate } = SessionDraft.stepsFor<Data>(schema, initial, {})

/** A request: each step is made for the draft as it is when the handler takes it. */
type Take = { readonly key: Key | undefined; readonly step: (draft: Draft<Data>) => Step<Data> }

const run = (draft: Draft<Data>, takes: ReadonlyArray<Take>) => {
  const steps: Array<Step<Data>> = []
  for (const take of takes) {
    const step = take.step(draft)
    draft = Effect.runSync(step(draft, undefined))
    steps.push(step)
  }
  return { draft, steps }
}

const begin = (raw: JsonRecord, subject?: string) => SessionDraft.start(decode(raw), subject, undefined)
const changesOf = (draft: Draft<Data>) => Effect.runSync(SessionDraft.diff(schema, draft))
const replay = (fresh: Draft<Data>, steps: ReadonlyArray<Step<Data>>, origin: Data) =>
  Effect.runSync(Effect.either(SessionDraft.replay(fresh, steps, origin)))

/** What a save leaves in the store. */
const saved = (raw: JsonRecord, draft: Draft<Data>): JsonRecord =>
  SessionDraft.patch(draft.cleared || draft.renewed ? {} : raw, changesOf(draft))

const date = fc.date({ noInvalidDate: true, min: new Date(0), max: new Date(4e12) })
const values = {
  count: fc.integer(),
  user: fc.string({ unit: "binary" }),
  since: fc.option(date, { nil: undefined }).map(Option.fromNullable),
  tags: fc.array(fc.string(), { maxLength: 3 }),
  visits: fc.integer()
}
const field = fc.oneof(
  ...(["count", "user", "since", "tags", "visits"] as const).map((key) =>
    fc.tuple(fc.constant<Key>(key), values[key] as fc.Arbitrary<unknown>)
  )
)

const set = (read: fc.Arbitrary<boolean>): fc.Arbitrary<Take> =>
  fc.tuple(field, read).map(([[key, value], read]) => ({
    key,
    step: () => assign(key, { present: true, value }, read)
  }))
const remove: fc.Arbitrary<Take> = fc.constantFrom<Key>("user", "visits")
  .map((key) => ({ key, step: () => assign(key, { present: false }, false) }))
const update: fc.Arbitrary<Take> = fc.constantFrom<Take>(
  { key: "count", step: () => alter("count", ({ value }) => ({ present: true, value: (value.count * 2 + 1) | 0 })) },
  { key: "user", step: () => alter("user", ({ value }) => ({ present: true, value: `${value.user ?? ""}!` })) },
  { key: "tags", step: () => alter("tags", ({ value }) => ({ present: true, value: [...value.tags, "x"] })) },
  {
    key: "visits",
    step: () => alter("visits", ({ value }) => ({ present: true, value: ((value.visits ?? 0) + 1) | 0 }))
  }
)
const modify: fc.Arbitrary<Take> = fc.constant({
  key: "count",
  step: (draft) => {
    const f = ({ value }: Draft<Data>) => [value.count, { present: true, value: (value.count + 1) | 0 }] as const
    return alterSeen<number>("count", f, Equal.equals, f(draft))
  }
})
const whole: fc.Arbitrary<Take> = fc.oneof(
  fc.constantFrom<Take>({ key: undefined, step: () => clear([]) }, { key: undefined, step: () => rotate }),
  fc.constantFrom("ann", "bob").map((subject) => ({ key: undefined, step: () => authenticate(subject) }))
)
const edit = fc.oneof(set(fc.boolean()), remove, update, modify)
const takes = fc.array(fc.oneof({ weight: 4, arbitrary: edit }, { weight: 1, arbitrary: whole }), { maxLength: 10 })

const raws: fc.Arbitrary<JsonRecord> = fc.record({
  count: values.count,
  user: values.user,
  since: date.map((date) => date.toISOString()),
  tags: values.tags,
  v: values.visits,
  later: fc.jsonValue() as fc.Arbitrary<Json>,
  visits: fc.constant("a field of another version")
}, { requiredKeys: [] })
const subjects = fc.constantFrom(undefined, "ann", "bob")

const known = ({ later: _, visits: __, ...raw }: JsonRecord): JsonRecord => raw

describe("diff and patch", () => {
  it("L7: what is written is decoded by the next request to what the handler saw, whatever it did", () =>
    fc.assert(fc.property(raws, subjects, takes, (raw, subject, takes) => {
      const { draft } = run(begin(raw, subject), takes)
      assert.deepStrictEqual(decode(saved(raw, draft)), draft.value)
    })))

  it("L7: fields that this version does not know survive, unless the data began anew", () =>
    fc.assert(fc.property(raws, subjects, takes, (raw, subject, takes) => {
      const { draft } = run(begin(raw, subject), takes)
      const after = saved(raw, draft)
      const kept = draft.cleared || draft.renewed ? {} : raw
      for (const name of ["later", "visits"]) assert.deepStrictEqual(after[name], kept[name])
    })))

  it("only fields that a step touched are written, under their encoded names", () =>
    fc.assert(fc.property(raws, fc.array(edit), (raw, takes) => {
      const names = takes.flatMap(({ key }) => key === undefined ? [] : [key === "visits" ? "v" : key])
      assert.includeMembers([...names, ""], [...changesOf(run(begin(raw), takes).draft).keys()])
    })))

  it("L3: setting every field to an equal value is no difference", () =>
    fc.assert(fc.property(raws, (raw) => {
      const draft = begin(raw)
      // Decoded again, so that nothing is the same by reference.
      const takes = Object.entries(decode(raw)).map(([key, value]): Take => ({
        key: key as Key,
        step: () => assign(key as Key, { present: true, value }, false)
      }))
      assert.strictEqual(changesOf(run(draft, takes).draft).size, 0)
    })))

  it("L3: whatever was done and then set back is no difference", () =>
    fc.assert(fc.property(raws, fc.array(edit), (raw, takes) => {
      const before = begin(raw)
      const back = schema.keys.map((key): Take => ({
        key,
        step: () => assign(key, { present: Object.hasOwn(before.value, key), value: before.value[key] }, false)
      }))
      assert.strictEqual(changesOf(run(before, [...takes, ...back]).draft).size, 0)
    })))

  it("L7: defaults alone cause no write, and a field set to its default is written only over something else", () => {
    const toDefault: Take = { key: "count", step: () => assign("count", { present: true, value: 0 }, false) }
    assert.deepStrictEqual([...changesOf(run(begin({}), [toDefault]).draft)], [])
    assert.deepStrictEqual([...changesOf(run(begin({ count: 5 }), [toDefault]).draft)], [["count", 0]])
  })

  it("patch leaves the record that it was given as it was", () => {
    const raw: JsonRecord = Object.freeze({ a: 1, b: 2 })
    assert.deepStrictEqual(SessionDraft.patch(raw, new Map<string, Json | undefined>([["a", undefined], ["c", 3]])), {
      b: 2,
      c: 3
    })
    assert.deepStrictEqual(raw, { a: 1, b: 2 })
  })
})

describe("steps", () => {
  const snapshot = (draft: Draft<Data>) => structuredClone({ ...draft, touched: [...draft.touched] })

  it("leave the draft that they were given as it was", () =>
    fc.assert(fc.property(raws, subjects, takes, edit, (raw, subject, takes, last) => {
      const { draft } = run(begin(raw, subject), takes)
      const before = snapshot(draft)
      run(draft, [last])
      assert.deepStrictEqual(snapshot(draft), before)
    })))

  it("on different fields commute", () =>
    fc.assert(fc.property(raws, edit, edit, (raw, a, b) => {
      fc.pre(a.key !== b.key)
      const ab = run(begin(raw), [a, b]).draft
      const ba = run(begin(raw), [b, a]).draft
      assert.deepStrictEqual(ab.value, ba.value)
      assert.deepStrictEqual(changesOf(ab), changesOf(ba))
    })))

  it("rotate asks for a new token, which a fresh draft does not, and for nothing else", () =>
    fc.assert(fc.property(raws, subjects, (raw, subject) => {
      const fresh = begin(raw, subject)
      assert.deepInclude(fresh, { cleared: false, renewed: false, authenticated: false, rotates: false, subject })
      const { draft } = run(fresh, [{ key: undefined, step: () => rotate }])
      assert.deepStrictEqual({ ...draft }, { ...fresh, rotates: true })
    })))

  it("clear goes back to the initial value", () =>
    fc.assert(fc.property(raws, subjects, takes, (raw, subject, takes) => {
      const { draft } = run(begin(raw, subject), [...takes, { key: undefined, step: () => clear([]) }])
      assert.deepStrictEqual(draft.value, initial)
      assert.deepStrictEqual(saved(raw, draft), {})
    })))

  const loggingIn = (subject: string): Take => ({ key: undefined, step: () => authenticate(subject) })

  it("authenticating another subject shows and keeps nothing of the one before", () =>
    fc.assert(fc.property(raws, fc.array(edit), (raw, takes) => {
      const { draft } = run(begin(raw, "ann"), [...takes, loggingIn("bob")])
      assert.deepStrictEqual(draft.value, initial)
      assert.deepStrictEqual(saved(raw, draft), {})
      assert.deepInclude(draft, { subject: "bob", renewed: true, authenticated: true, rotates: true })
    })))

  it("authenticating the same subject, or the first one, carries the data over and rotates", () =>
    fc.assert(fc.property(raws, fc.constantFrom(undefined, "ann"), fc.array(edit), (raw, subject, takes) => {
      const before = run(begin(raw, subject), takes).draft
      const { draft } = run(before, [loggingIn("ann")])
      assert.deepStrictEqual({ ...draft }, { ...before, subject: "ann", authenticated: true, rotates: true })
    })))

  it.effect("a value that does not fit is refused by the step that sets it", () =>
    Effect.gen(function*() {
      const misfit = yield* Effect.flip(assign("count", { present: true, value: 1.5 }, false)(begin({}), undefined))
      assert.deepInclude(misfit, { _tag: "Misfit", field: "count" })
      const removed = yield* Effect.flip(assign("tags", { present: true, value: null }, true)(begin({}), undefined))
      assert.deepInclude(removed, { _tag: "Misfit", field: "tags" })
    }))

  it("an instance of a class stays one, and its own fields stay", () => {
    class Profile extends Schema.Class<Profile>("Profile")({ name: Schema.String, age: Schema.optional(Schema.Int) }) {
      get greeting() {
        return `hello ${this.name}`
      }
    }
    const profile = new Profile({ name: "ann", age: 7 })
    const steps = SessionDraft.stepsFor<Profile>(Prepared.make(Profile, Context.empty()), profile, {})
    const start = SessionDraft.start(profile, undefined, undefined)
    const named = Effect.runSync(steps.assign("name", { present: true, value: "bob" }, false)(start, undefined))
    const aged = Effect.runSync(steps.assign("age", { present: false }, false)(named, undefined))
    assert.instanceOf(aged.value, Profile)
    assert.strictEqual(aged.value.greeting, "hello bob")
    assert.isTrue(Equal.equals(named.value, new Profile({ name: "bob", age: 7 })))
    assert.isFalse(Object.hasOwn(aged.value, "age"))
    assert.deepInclude(profile, { name: "ann", age: 7 })
  })

  it.effect("a rule between fields is kept, or a schema that has one is refused", () =>
    Effect.gen(function*() {
      class Range extends Schema.Class<Range>("Range")(
        Schema.Struct({ low: Schema.Int, high: Schema.Int }).pipe(Schema.filter(({ high, low }) => low <= high))
      ) {}
      if (Prepared.validate(Range) !== undefined) return
      const range = Prepared.make<Range>(Range, Context.empty())
      const { assign } = SessionDraft.stepsFor<Range>(range, new Range({ low: 0, high: 1 }), {})
      const start = SessionDraft.start(yield* range.decode({ low: 0, high: 1 }), undefined, undefined)
      const outcome: Either.Either<unknown, ValidationIssue | Conflict> = yield* Effect.either(
        assign("low", { present: true, value: 9 }, false)(start, undefined)
      )
      assert.isTrue(Either.isLeft(outcome), "a record that no request could load")
    }))
})

describe("replay", () => {
  it("on the record that the handler had loaded gives the draft that it saw", () =>
    fc.assert(fc.property(raws, subjects, takes, (raw, subject, takes) => {
      const { draft, steps } = run(begin(raw, subject), takes)
      const again = Either.getOrThrow(replay(begin(raw, subject), steps, decode(raw)))
      assert.deepStrictEqual({ ...again }, { ...draft })
      assert.deepStrictEqual(changesOf(again), changesOf(draft))
    })))

  const blind = fc.oneof(set(fc.constant(false)), remove, update)

  it("L1: updates and blind sets give what they would give had the other request come first", () =>
    fc.assert(fc.property(raws, subjects, takes, fc.array(blind), (raw, subject, theirs, mine) => {
      const { steps } = run(begin(raw, subject), mine)
      const stored = saved(raw, run(begin(raw, subject), theirs).draft)
      const replayed = Either.getOrThrow(replay(begin(stored), steps, decode(raw)))
      assert.deepStrictEqual(saved(stored, replayed), saved(stored, run(begin(stored), mine).draft))
    })))

  it("L1: changes of different fields both survive", () =>
    fc.assert(fc.property(raws, fc.array(edit), fc.array(edit), (raw, theirs, mine) => {
      const taken = new Set(theirs.map(({ key }) => key))
      const others = mine.filter(({ key }) => !taken.has(key))
      const stored = saved(raw, run(begin(raw), theirs).draft)
      const { draft, steps } = run(begin(raw), others)
      const replayed = Either.getOrThrow(replay(begin(stored), steps, decode(raw)))
      const expected = SessionDraft.patch(known(stored), changesOf(draft))
      assert.deepStrictEqual(decode(saved(stored, replayed)), decode(expected))
    })))

  it("L1: a set of fields that were read clashes exactly where one of them has changed", () =>
    fc.assert(fc.property(raws, fc.array(edit), fc.array(set(fc.constant(true))), (raw, theirs, mine) => {
      const { steps } = run(begin(raw), mine)
      const stored = saved(raw, run(begin(raw), theirs).draft)
      const encoded = (raw: JsonRecord) => Schema.encodeSync(Data)(decode(raw)) as unknown as JsonRecord
      const [before, after] = [encoded(raw), encoded(stored)]
      const changed = mine.map(({ key = "count" }) => key).find((key) => {
        const name = key === "visits" ? "v" : key
        return JSON.stringify(before[name]) !== JSON.stringify(after[name])
      })
      const outcome = replay(begin(stored), steps, decode(raw))
      if (changed === undefined) {
        assert.deepStrictEqual(Either.getOrThrow(outcome).value, run(begin(stored), mine).draft.value)
      } else assert.deepStrictEqual(outcome, Either.left({ _tag: "Clash", what: changed }))
    })))
})
