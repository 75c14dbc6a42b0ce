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
const steps = SessionDraft.stepsFor<Data>(schema, initial, {}, "all")
const { assign, authenticate, clear, rotate } = steps
const login = (subject: string): SessionDraft.Login => ({
  subject,
  methods: [],
  level: 1,
  remember: undefined,
  context: undefined,
  exclusive: false
})

/** One step of a request. `step` makes it from the draft as it is when the handler makes the change. */
type Edit = { readonly key: Key | undefined; readonly step: (draft: Draft<Data>) => Step<Data> }

const run = (draft: Draft<Data>, edits: ReadonlyArray<Edit>) => {
  const steps: Array<Step<Data>> = []
  for (const take of edits) {
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

/** The stored data after a save. */
const saved = (raw: JsonRecord, draft: Draft<Data>): JsonRecord =>
  SessionDraft.patch(draft.cleared || draft.subjectChanged ? {} : raw, changesOf(draft))

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

const set = (read: fc.Arbitrary<boolean>): fc.Arbitrary<Edit> =>
  fc.tuple(field, read).map(([[key, value], read]) => ({
    key,
    step: () => assign(key, { present: true, value }, read)
  }))
const remove: fc.Arbitrary<Edit> = fc.constantFrom<Key>("user", "visits")
  .map((key) => ({ key, step: () => assign(key, { present: false }, false) }))
const update: fc.Arbitrary<Edit> = fc.constantFrom<Edit>(
  {
    key: "count",
    step: () => steps.update("count", ({ value }) => ({ present: true, value: (value.count * 2 + 1) | 0 }))
  },
  { key: "user", step: () => steps.update("user", ({ value }) => ({ present: true, value: `${value.user ?? ""}!` })) },
  { key: "tags", step: () => steps.update("tags", ({ value }) => ({ present: true, value: [...value.tags, "x"] })) },
  {
    key: "visits",
    step: () => steps.update("visits", ({ value }) => ({ present: true, value: ((value.visits ?? 0) + 1) | 0 }))
  }
)
const modify: fc.Arbitrary<Edit> = fc.constant({
  key: "count",
  step: (draft) => {
    const f = ({ value }: Draft<Data>) => [value.count, { present: true, value: (value.count + 1) | 0 }] as const
    return steps.modify<number>("count", f, Equal.equals, f(draft))
  }
})
const whole: fc.Arbitrary<Edit> = fc.oneof(
  fc.constantFrom<Edit>({ key: undefined, step: () => clear([]) }, { key: undefined, step: () => rotate }),
  fc.constantFrom("ann", "bob").map((subject) => ({ key: undefined, step: () => authenticate(login(subject)) }))
)
const edit = fc.oneof(set(fc.boolean()), remove, update, modify)
const edits = fc.array(fc.oneof({ weight: 4, arbitrary: edit }, { weight: 1, arbitrary: whole }), { maxLength: 10 })

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
  it("L7: the next request decodes the stored data to the value that the handler saw", () =>
    fc.assert(fc.property(raws, subjects, edits, (raw, subject, edits) => {
      const { draft } = run(begin(raw, subject), edits)
      assert.deepStrictEqual(decode(saved(raw, draft)), draft.value)
    })))

  it("L7: unknown fields survive unless the session was cleared or restarted", () =>
    fc.assert(fc.property(raws, subjects, edits, (raw, subject, edits) => {
      const { draft } = run(begin(raw, subject), edits)
      const after = saved(raw, draft)
      const kept = draft.cleared || draft.subjectChanged ? {} : raw
      for (const name of ["later", "visits"]) assert.deepStrictEqual(after[name], kept[name])
    })))

  it("only changed fields are written, under their encoded names", () =>
    fc.assert(fc.property(raws, fc.array(edit), (raw, edits) => {
      const names = edits.flatMap(({ key }) => key === undefined ? [] : [key === "visits" ? "v" : key])
      assert.includeMembers([...names, ""], [...changesOf(run(begin(raw), edits).draft).keys()])
    })))

  it("L3: setting every field to an equal value is no difference", () =>
    fc.assert(fc.property(raws, (raw) => {
      const draft = begin(raw)
      // Decoded again, so that no value is identical by reference.
      const edits = Object.entries(decode(raw)).map(([key, value]): Edit => ({
        key: key as Key,
        step: () => assign(key as Key, { present: true, value }, false)
      }))
      assert.strictEqual(changesOf(run(draft, edits).draft).size, 0)
    })))

  it("L3: changes that were reverted are no difference", () =>
    fc.assert(fc.property(raws, fc.array(edit), (raw, edits) => {
      const before = begin(raw)
      const back = schema.keys.map((key): Edit => ({
        key,
        step: () => assign(key, { present: Object.hasOwn(before.value, key), value: before.value[key] }, false)
      }))
      assert.strictEqual(changesOf(run(before, [...edits, ...back]).draft).size, 0)
    })))

  it("L7: defaults are not written, and a field set to its default is written only if it held another value", () => {
    const toDefault: Edit = { key: "count", step: () => assign("count", { present: true, value: 0 }, false) }
    assert.deepStrictEqual([...changesOf(run(begin({}), [toDefault]).draft)], [])
    assert.deepStrictEqual([...changesOf(run(begin({ count: 5 }), [toDefault]).draft)], [["count", 0]])
  })

  it("patch does not mutate its argument", () => {
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

  it("do not mutate their draft", () =>
    fc.assert(fc.property(raws, subjects, edits, edit, (raw, subject, edits, last) => {
      const { draft } = run(begin(raw, subject), edits)
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

  it("rotate sets only `rotates`, which is false at first", () =>
    fc.assert(fc.property(raws, subjects, (raw, subject) => {
      const fresh = begin(raw, subject)
      assert.deepInclude(fresh, {
        cleared: false,
        subjectChanged: false,
        authenticated: false,
        rotates: false,
        subject
      })
      const { draft } = run(fresh, [{ key: undefined, step: () => rotate }])
      assert.deepStrictEqual({ ...draft }, { ...fresh, rotates: true })
    })))

  it("clear resets the data to the initial value", () =>
    fc.assert(fc.property(raws, subjects, edits, (raw, subject, edits) => {
      const { draft } = run(begin(raw, subject), [...edits, { key: undefined, step: () => clear([]) }])
      assert.deepStrictEqual(draft.value, initial)
      assert.deepStrictEqual(saved(raw, draft), {})
    })))

  const loggingIn = (subject: string): Edit => ({ key: undefined, step: () => authenticate(login(subject)) })

  it("authenticating another subject discards the data of the previous one", () =>
    fc.assert(fc.property(raws, fc.array(edit), (raw, edits) => {
      const { draft } = run(begin(raw, "ann"), [...edits, loggingIn("bob")])
      assert.deepStrictEqual(draft.value, initial)
      assert.deepStrictEqual(saved(raw, draft), {})
      assert.deepInclude(draft, { subject: "bob", subjectChanged: true, authenticated: true, rotates: true })
    })))

  it("authenticating the same subject, or the first one, keeps the data and rotates", () =>
    fc.assert(fc.property(raws, fc.constantFrom(undefined, "ann"), fc.array(edit), (raw, subject, edits) => {
      const before = run(begin(raw, subject), edits).draft
      const { draft } = run(before, [loggingIn("ann")])
      assert.deepStrictEqual({ ...draft }, {
        ...before,
        subject: "ann",
        attributes: { methods: [], level: 1 },
        authenticated: true,
        raised: true,
        rotates: true
      })
    })))

  it.effect("an invalid value is rejected by the step that sets it", () =>
    Effect.gen(function*() {
      const issue = yield* Effect.flip(assign("count", { present: true, value: 1.5 }, false)(begin({}), undefined))
      assert.deepInclude(issue, { _tag: "ValidationIssue", field: "count" })
      const removed = yield* Effect.flip(assign("tags", { present: true, value: null }, true)(begin({}), undefined))
      assert.deepInclude(removed, { _tag: "ValidationIssue", field: "tags" })
    }))

  it("a class instance stays an instance, with its other fields", () => {
    class Profile extends Schema.Class<Profile>("Profile")({ name: Schema.String, age: Schema.optional(Schema.Int) }) {
      get greeting() {
        return `hello ${this.name}`
      }
    }
    const profile = new Profile({ name: "ann", age: 7 })
    const steps = SessionDraft.stepsFor<Profile>(Prepared.make(Profile, Context.empty()), profile, {}, "all")
    const start = SessionDraft.start(profile, undefined, undefined)
    const named = Effect.runSync(steps.assign("name", { present: true, value: "bob" }, false)(start, undefined))
    const aged = Effect.runSync(steps.assign("age", { present: false }, false)(named, undefined))
    assert.instanceOf(aged.value, Profile)
    assert.strictEqual(aged.value.greeting, "hello bob")
    assert.isTrue(Equal.equals(named.value, new Profile({ name: "bob", age: 7 })))
    assert.isFalse(Object.hasOwn(aged.value, "age"))
    assert.deepInclude(profile, { name: "ann", age: 7 })
  })

  it.effect("a filter across fields is enforced, or its schema is rejected", () =>
    Effect.gen(function*() {
      class Range extends Schema.Class<Range>("Range")(
        Schema.Struct({ low: Schema.Int, high: Schema.Int }).pipe(Schema.filter(({ high, low }) => low <= high))
      ) {}
      if (Prepared.validate(Range) !== undefined) return // rejected
      const range = Prepared.make<Range>(Range, Context.empty())
      const { assign } = SessionDraft.stepsFor<Range>(range, new Range({ low: 0, high: 1 }), {}, "all")
      const start = SessionDraft.start(yield* range.decode({ low: 0, high: 1 }), undefined, undefined)
      const outcome: Either.Either<unknown, ValidationIssue | Conflict> = yield* Effect.either(
        assign("low", { present: true, value: 9 }, false)(start, undefined)
      )
      assert.isTrue(Either.isLeft(outcome), "the draft could not be loaded again")
    }))
})

describe("replay", () => {
  it("on the unchanged record gives the same draft", () =>
    fc.assert(fc.property(raws, subjects, edits, (raw, subject, edits) => {
      const { draft, steps } = run(begin(raw, subject), edits)
      const again = Either.getOrThrow(replay(begin(raw, subject), steps, decode(raw)))
      assert.deepStrictEqual({ ...again }, { ...draft })
      assert.deepStrictEqual(changesOf(again), changesOf(draft))
    })))

  const blind = fc.oneof(set(fc.constant(false)), remove, update)

  it("L1: updates, and sets of unread fields, give the same result as if the other request had come first", () =>
    fc.assert(fc.property(raws, subjects, edits, fc.array(blind), (raw, subject, theirs, mine) => {
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

  it("L1: a set of fields that were read is a conflict exactly if one of them has changed", () =>
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
      } else assert.deepStrictEqual(outcome, Either.left({ _tag: "Conflict", what: changed }))
    })))
})
