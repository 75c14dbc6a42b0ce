/** Replaying a step after another request has changed the record. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Either, Schema } from "effect"
import * as Merge from "effect-session/Merge"
import * as fc from "fast-check"
import type { Conflict, Draft, Field, Step } from "../../../src/internal/domain/draft.js"
import * as SessionDraft from "../../../src/internal/domain/draft.js"
import * as Prepared from "../../../src/internal/schema/prepared.js"

const Data = Schema.Struct({
  count: Schema.Int,
  best: Schema.Int,
  tags: Schema.Array(Schema.String),
  user: Schema.optional(Schema.String),
  note: Schema.optional(Schema.String)
})
type Data = typeof Data.Type

const base: Data = { count: 1, best: 10, tags: ["a", "b"], user: "ann" }
const schema = Prepared.make<Data>(Data, Context.empty())
const plain = SessionDraft.stepsFor<Data>(schema, base, {}, "all")
const merging = SessionDraft.stepsFor<Data>(schema, base, {
  count: (base, mine, theirs) => Merge.sum(base as number, mine as number, theirs as number),
  best: (base, mine, theirs) => Merge.max(base as number, mine as number, theirs as number),
  tags: (base, mine, theirs) => Merge.union<unknown>(base as [], mine as [], theirs as []),
  user: (_, mine, theirs) => mine === theirs ? mine : undefined
}, "all")

const bob: SessionDraft.Login = {
  subject: "bob",
  methods: [],
  level: 1,
  remember: undefined,
  context: undefined,
  exclusive: false
}

const start = (value: Data, subject?: string) => SessionDraft.start(value, subject, undefined)

/** Applies the steps to the base, then replays them on the record that another request has left. */
const replayOn = (theirs: Partial<Data>, steps: ReadonlyArray<Step<Data>>) =>
  Effect.gen(function*() {
    yield* Effect.reduce(steps, start(base), (draft, step) => step(draft, undefined))
    return yield* Effect.either(SessionDraft.replay(start({ ...base, ...theirs }), steps, base))
  })

const assertConflict = (outcome: Either.Either<Draft<Data>, Conflict>, what: string) =>
  assert.deepStrictEqual(outcome, Either.left({ _tag: "Conflict", what }))

const to = (value: unknown): Field => ({ present: true, value })
const increment = plain.update("count", ({ value }) => to(value.count + 1))

describe("update", () => {
  it.effect("100 concurrent n => n + 1 give +100", () =>
    Effect.gen(function*() {
      let stored = base
      for (let i = 0; i < 100; i++) stored = Either.getOrThrow(yield* replayOn(stored, [increment])).value
      assert.strictEqual(stored.count, base.count + 100)
    }))

  it.effect("is a conflict if it throws on the current value", () =>
    Effect.gen(function*() {
      const step = plain.update("count", ({ value }) => {
        if (value.count > 5) throw new Error("too many")
        return to(value.count + 1)
      })
      assert.strictEqual(Either.getOrThrow(yield* replayOn({ count: 5 }, [step])).value.count, 6)
      assert.strictEqual(Either.flip(yield* replayOn({ count: 6 }, [step])).pipe(Either.getOrThrow)._tag, "Conflict")
    }))

  it.effect("is a conflict that names the field if the replayed value is invalid", () =>
    Effect.gen(function*() {
      const half = plain.update("best", ({ value }) => to(value.best / 2))
      assert.strictEqual(Either.getOrThrow(yield* replayOn({ best: 8 }, [half])).value.best, 4)
      assertConflict(yield* replayOn({ best: 7 }, [half]), "best")
    }))
})

describe("modify", () => {
  const taking = (same?: (a: number, b: number) => boolean) => {
    const f = ({ value }: Draft<Data>) => [value.count % 10, to(value.count + 1)] as const
    return plain.modify<number>("count", f, same ?? ((a, b) => a === b), f(start(base)))
  }

  it.effect("is replayed if the result equals the one that the handler received", () =>
    Effect.gen(function*() {
      assert.strictEqual(Either.getOrThrow(yield* replayOn({ count: 21 }, [taking()])).value.count, 22)
    }))

  it.effect("is a conflict if the replayed result differs", () =>
    Effect.gen(function*() {
      assertConflict(yield* replayOn({ count: 2 }, [taking()]), "count")
    }))

  it.effect("compares results with a given equivalence", () =>
    Effect.gen(function*() {
      const odd = (a: number, b: number) => a % 2 === b % 2
      assert.strictEqual(Either.getOrThrow(yield* replayOn({ count: 3 }, [taking(odd)])).value.count, 4)
      assertConflict(yield* replayOn({ count: 2 }, [taking(odd)]), "count")
    }))

  it.effect("runs its function once for the handler, and again only on replay", () =>
    Effect.gen(function*() {
      let runs = 0
      const f = ({ value }: Draft<Data>) => {
        runs++
        return [undefined, to(value.count + 1)] as const
      }
      const step = plain.modify("count", f, () => true, f(start(base)))
      assert.strictEqual((yield* step(start(base), undefined)).value.count, 2)
      assert.strictEqual(runs, 1)
      yield* SessionDraft.replay(start(base), [step], base)
      assert.strictEqual(runs, 2)
    }))
})

describe("set", () => {
  it.effect("of a field that was not read: the later commit wins", () =>
    Effect.gen(function*() {
      const { value } = Either.getOrThrow(yield* replayOn({ count: 7 }, [plain.assign("count", to(5), false)]))
      assert.strictEqual(value.count, 5)
    }))

  it.effect("of a field that was read and changed, added or removed meanwhile is a conflict, also if both set the same value", () =>
    Effect.gen(function*() {
      assertConflict(yield* replayOn({ count: 7 }, [plain.assign("count", to(5), true)]), "count")
      assertConflict(yield* replayOn({ count: 5 }, [plain.assign("count", to(5), true)]), "count")
      assertConflict(yield* replayOn({ note: "x" }, [plain.assign("note", to("y"), true)]), "note")
      assertConflict(yield* replayOn({ note: "x" }, [plain.assign("note", { present: false }, true)]), "note")
    }))

  it.effect("of a field that was read and is equal but not identical is no conflict", () =>
    Effect.gen(function*() {
      const outcome = yield* replayOn({ tags: [...base.tags], count: 9 }, [plain.assign("tags", to(["c"]), true)])
      assert.deepInclude(Either.getOrThrow(outcome).value, { tags: ["c"], count: 9 })
    }))

  it.effect("one conflict rejects the whole request", () =>
    Effect.gen(function*() {
      assertConflict(yield* replayOn({ best: 11 }, [increment, plain.assign("best", to(12), true), increment]), "best")
    }))

  it.effect("after authenticating another subject applies to the new data, without a conflict", () =>
    Effect.gen(function*() {
      const steps = [plain.authenticate(bob), plain.assign("count", to(5), true)]
      const fresh = start({ ...base, count: 7 }, "ann")
      const draft = yield* SessionDraft.replay(fresh, steps, base)
      assert.deepInclude(draft, { subjectChanged: true, subject: "bob", value: { ...base, count: 5 } })
    }))
})

describe("merge", () => {
  it.effect("resolves a set of a field that was read, from base, mine and theirs", () =>
    Effect.gen(function*() {
      const steps = [
        merging.assign("count", to(4), true),
        merging.assign("best", to(30), true),
        merging.assign("tags", to(["b", "c"]), true)
      ]
      const { value } = Either.getOrThrow(yield* replayOn({ count: 101, best: 20, tags: ["a", "b", "z"] }, steps))
      assert.deepStrictEqual(value, { ...base, count: 104, best: 30, tags: ["b", "z", "c"] })
    }))

  it.effect("is not called for a field that did not change, nor for a set without a read", () =>
    Effect.gen(function*() {
      const read = yield* replayOn({ count: 50 }, [merging.assign("best", to(3), true)])
      assert.strictEqual(Either.getOrThrow(read).value.best, 3)
      const blind = yield* replayOn({ best: 50 }, [merging.assign("best", to(3), false)])
      assert.strictEqual(Either.getOrThrow(blind).value.best, 3)
    }))

  it.effect("counts each set of a request once", () =>
    Effect.gen(function*() {
      const steps = [merging.assign("count", to(5), true), merging.assign("count", to(8), true)]
      assert.strictEqual(Either.getOrThrow(yield* replayOn({ count: 101 }, steps)).value.count, 108)
    }))

  it.effect("removes the field if it returns undefined", () =>
    Effect.gen(function*() {
      const { value } = Either.getOrThrow(yield* replayOn({ user: "eve" }, [merging.assign("user", to("bob"), true)]))
      assert.isFalse(Object.hasOwn(value, "user"))
    }))

  it.effect("is not called for a step that forbids it", () =>
    Effect.gen(function*() {
      assertConflict(
        yield* replayOn({ user: "eve" }, [merging.assign("user", { present: false }, true, false)]),
        "user"
      )
    }))

  it("L1: gives the same result whichever request commits first", () =>
    fc.assert(fc.property(fc.integer({ min: -1e6, max: 1e6 }), fc.integer({ min: -1e6, max: 1e6 }), (a, b) => {
      const after = (first: number, second: number) =>
        Either.getOrThrow(Effect.runSync(replayOn(
          { count: first, best: first },
          [merging.assign("count", to(second), true), merging.assign("best", to(second), true)]
        ))).value
      fc.pre(a !== base.count && b !== base.count && a !== base.best && b !== base.best)
      assert.deepStrictEqual(after(a, b), after(b, a))
    })))
})

describe("clear", () => {
  it.effect("discards concurrent changes if the handler had read none of the changed fields", () =>
    Effect.gen(function*() {
      const { cleared, value } = Either.getOrThrow(yield* replayOn({ count: 7, note: "x" }, [plain.clear(["best"])]))
      assert.isTrue(cleared)
      assert.deepStrictEqual(value, base)
    }))

  it.effect("is a conflict if a field that the handler had read has changed", () =>
    Effect.gen(function*() {
      assertConflict(yield* replayOn({ count: 7 }, [plain.clear(["best", "count"])]), "count")
    }))

  it.effect("is no conflict once another subject has authenticated", () =>
    Effect.gen(function*() {
      const steps = [plain.authenticate(bob), plain.clear(["count"])]
      const draft = yield* SessionDraft.replay(start({ ...base, count: 7 }, "ann"), steps, base)
      assert.deepInclude(draft, { subject: "bob", cleared: true, subjectChanged: true })
    }))
})

describe("authenticate", () => {
  it.effect("replayed on a session that belongs to another subject by now starts with new data", () =>
    Effect.gen(function*() {
      const steps = [increment, plain.authenticate(bob), plain.assign("user", to("bob"), false)]
      const draft = yield* SessionDraft.replay(start({ ...base, note: "private" }, "ann"), steps, base)
      assert.deepInclude(draft, { subject: "bob", subjectChanged: true, authenticated: true })
      assert.deepStrictEqual(draft.value, { ...base, user: "bob" })
    }))
})

describe("clashing", () => {
  it.effect("fails when it is applied and when it is replayed", () =>
    Effect.gen(function*() {
      const step = SessionDraft.conflictOn("count")
      assert.deepStrictEqual(yield* Effect.flip(step()), { _tag: "Conflict", what: "count" })
      assertConflict(yield* Effect.either(SessionDraft.replay(start(base), [step], base)), "count")
    }))
})
