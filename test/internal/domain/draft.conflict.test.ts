/**
 * What becomes of a step when another request has changed the record meanwhile: the table of the design, section 6.
 */
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
const plain = SessionDraft.stepsFor<Data>(schema, base, {})
const merging = SessionDraft.stepsFor<Data>(schema, base, {
  count: (base, mine, theirs) => Merge.sum(base as number, mine as number, theirs as number),
  best: (base, mine, theirs) => Merge.max(base as number, mine as number, theirs as number),
  tags: (base, mine, theirs) => Merge.union<unknown>(base as [], mine as [], theirs as []),
  user: (_, mine, theirs) => mine === theirs ? mine : undefined
})

const start = (value: Data, subject?: string) => SessionDraft.start(value, subject, undefined)

/** Takes the steps on the base, then replays them on what another request has left. */
const onto = (theirs: Partial<Data>, steps: ReadonlyArray<Step<Data>>) =>
  Effect.gen(function*() {
    yield* Effect.reduce(steps, start(base), (draft, step) => step(draft, undefined))
    return yield* Effect.either(SessionDraft.replay(start({ ...base, ...theirs }), steps, base))
  })

const clashes = (outcome: Either.Either<Draft<Data>, Conflict>, what: string) =>
  assert.deepStrictEqual(outcome, Either.left({ _tag: "Clash", what }))

const to = (value: unknown): Field => ({ present: true, value })
const increment = plain.alter("count", ({ value }) => to(value.count + 1))

describe("update", () => {
  it.effect("100 concurrent n => n + 1 give +100", () =>
    Effect.gen(function*() {
      let stored = base
      for (let i = 0; i < 100; i++) stored = Either.getOrThrow(yield* onto(stored, [increment])).value
      assert.strictEqual(stored.count, base.count + 100)
    }))

  it.effect("that throws on the fresh value clashes", () =>
    Effect.gen(function*() {
      const step = plain.alter("count", ({ value }) => {
        if (value.count > 5) throw new Error("too many")
        return to(value.count + 1)
      })
      assert.strictEqual(Either.getOrThrow(yield* onto({ count: 5 }, [step])).value.count, 6)
      assert.strictEqual(Either.flip(yield* onto({ count: 6 }, [step])).pipe(Either.getOrThrow)._tag, "Clash")
    }))

  it.effect("whose replayed value does not fit clashes, and names the field", () =>
    Effect.gen(function*() {
      const half = plain.alter("best", ({ value }) => to(value.best / 2))
      assert.strictEqual(Either.getOrThrow(yield* onto({ best: 8 }, [half])).value.best, 4)
      clashes(yield* onto({ best: 7 }, [half]), "best")
    }))
})

describe("modify", () => {
  const taking = (same?: (a: number, b: number) => boolean) => {
    const f = ({ value }: Draft<Data>) => [value.count % 10, to(value.count + 1)] as const
    return plain.alterSeen<number>("count", f, same ?? ((a, b) => a === b), f(start(base)))
  }

  it.effect("whose replayed result is what the handler saw is replayed", () =>
    Effect.gen(function*() {
      assert.strictEqual(Either.getOrThrow(yield* onto({ count: 21 }, [taking()])).value.count, 22)
    }))

  it.effect("whose replayed result is another clashes", () =>
    Effect.gen(function*() {
      clashes(yield* onto({ count: 2 }, [taking()]), "count")
    }))

  it.effect("takes a given equivalence for what is the same", () =>
    Effect.gen(function*() {
      const odd = (a: number, b: number) => a % 2 === b % 2
      assert.strictEqual(Either.getOrThrow(yield* onto({ count: 3 }, [taking(odd)])).value.count, 4)
      clashes(yield* onto({ count: 2 }, [taking(odd)]), "count")
    }))

  it.effect("runs its function once for the handler, and again only for a replay", () =>
    Effect.gen(function*() {
      let runs = 0
      const f = ({ value }: Draft<Data>) => {
        runs++
        return [undefined, to(value.count + 1)] as const
      }
      const step = plain.alterSeen("count", f, () => true, f(start(base)))
      assert.strictEqual((yield* step(start(base), undefined)).value.count, 2)
      assert.strictEqual(runs, 1)
      yield* SessionDraft.replay(start(base), [step], base)
      assert.strictEqual(runs, 2)
    }))
})

describe("set", () => {
  it.effect("blind: the later commit wins", () =>
    Effect.gen(function*() {
      const { value } = Either.getOrThrow(yield* onto({ count: 7 }, [plain.assign("count", to(5), false)]))
      assert.strictEqual(value.count, 5)
    }))

  it.effect("of a field that was read and changed meanwhile clashes, also if it was added, removed or set to mine", () =>
    Effect.gen(function*() {
      clashes(yield* onto({ count: 7 }, [plain.assign("count", to(5), true)]), "count")
      clashes(yield* onto({ count: 5 }, [plain.assign("count", to(5), true)]), "count")
      clashes(yield* onto({ note: "x" }, [plain.assign("note", to("y"), true)]), "note")
      clashes(yield* onto({ note: "x" }, [plain.assign("note", { present: false }, true)]), "note")
    }))

  it.effect("of a field that was read and is only another copy does not clash", () =>
    Effect.gen(function*() {
      const outcome = yield* onto({ tags: [...base.tags], count: 9 }, [plain.assign("tags", to(["c"]), true)])
      assert.deepInclude(Either.getOrThrow(outcome).value, { tags: ["c"], count: 9 })
    }))

  it.effect("one clash undoes the whole request", () =>
    Effect.gen(function*() {
      clashes(yield* onto({ best: 11 }, [increment, plain.assign("best", to(12), true), increment]), "best")
    }))

  it.effect("after authenticating another subject concerns the new data, and does not clash", () =>
    Effect.gen(function*() {
      const steps = [plain.authenticate("bob"), plain.assign("count", to(5), true)]
      const fresh = start({ ...base, count: 7 }, "ann")
      const draft = yield* SessionDraft.replay(fresh, steps, base)
      assert.deepInclude(draft, { renewed: true, subject: "bob", value: { ...base, count: 5 } })
    }))
})

describe("merge", () => {
  it.effect("settles a set of a field that was read, from base, mine and theirs", () =>
    Effect.gen(function*() {
      const steps = [
        merging.assign("count", to(4), true),
        merging.assign("best", to(30), true),
        merging.assign("tags", to(["b", "c"]), true)
      ]
      const { value } = Either.getOrThrow(yield* onto({ count: 101, best: 20, tags: ["a", "b", "z"] }, steps))
      assert.deepStrictEqual(value, { ...base, count: 104, best: 30, tags: ["b", "z", "c"] })
    }))

  it.effect("does not touch a field that did not change, nor a blind set", () =>
    Effect.gen(function*() {
      const read = yield* onto({ count: 50 }, [merging.assign("best", to(3), true)])
      assert.strictEqual(Either.getOrThrow(read).value.best, 3)
      const blind = yield* onto({ best: 50 }, [merging.assign("best", to(3), false)])
      assert.strictEqual(Either.getOrThrow(blind).value.best, 3)
    }))

  it.effect("counts each of a request's sets once", () =>
    Effect.gen(function*() {
      const steps = [merging.assign("count", to(5), true), merging.assign("count", to(8), true)]
      assert.strictEqual(Either.getOrThrow(yield* onto({ count: 101 }, steps)).value.count, 108)
    }))

  it.effect("that gives undefined removes the field", () =>
    Effect.gen(function*() {
      const { value } = Either.getOrThrow(yield* onto({ user: "eve" }, [merging.assign("user", to("bob"), true)]))
      assert.isFalse(Object.hasOwn(value, "user"))
    }))

  it.effect("is not asked where the step must not be merged", () =>
    Effect.gen(function*() {
      clashes(yield* onto({ user: "eve" }, [merging.assign("user", { present: false }, true, false)]), "user")
    }))

  it("L1: does not depend on which of two requests came first", () =>
    fc.assert(fc.property(fc.integer({ min: -1e6, max: 1e6 }), fc.integer({ min: -1e6, max: 1e6 }), (a, b) => {
      const after = (first: number, second: number) =>
        Either.getOrThrow(Effect.runSync(onto(
          { count: first, best: first },
          [merging.assign("count", to(second), true), merging.assign("best", to(second), true)]
        ))).value
      fc.pre(a !== base.count && b !== base.count && a !== base.best && b !== base.best)
      assert.deepStrictEqual(after(a, b), after(b, a))
    })))
})

describe("clear", () => {
  it.effect("takes what others did with it, if the handler had read nothing of it", () =>
    Effect.gen(function*() {
      const { cleared, value } = Either.getOrThrow(yield* onto({ count: 7, note: "x" }, [plain.clear(["best"])]))
      assert.isTrue(cleared)
      assert.deepStrictEqual(value, base)
    }))

  it.effect("clashes if a field that the handler had read has changed", () =>
    Effect.gen(function*() {
      clashes(yield* onto({ count: 7 }, [plain.clear(["best", "count"])]), "count")
    }))

  it.effect("does not clash once another subject has authenticated", () =>
    Effect.gen(function*() {
      const steps = [plain.authenticate("bob"), plain.clear(["count"])]
      const draft = yield* SessionDraft.replay(start({ ...base, count: 7 }, "ann"), steps, base)
      assert.deepInclude(draft, { subject: "bob", cleared: true, renewed: true })
    }))
})

describe("authenticate", () => {
  it.effect("replayed on a session that another subject has taken starts anew, and keeps nothing of it", () =>
    Effect.gen(function*() {
      const steps = [increment, plain.authenticate("bob"), plain.assign("user", to("bob"), false)]
      const draft = yield* SessionDraft.replay(start({ ...base, note: "private" }, "ann"), steps, base)
      assert.deepInclude(draft, { subject: "bob", renewed: true, authenticated: true })
      assert.deepStrictEqual(draft.value, { ...base, user: "bob" })
    }))
})

describe("clashing", () => {
  it.effect("clashes when it is taken and when it is replayed", () =>
    Effect.gen(function*() {
      const step = SessionDraft.clashing("count")
      assert.deepStrictEqual(yield* Effect.flip(step()), { _tag: "Clash", what: "count" })
      clashes(yield* Effect.either(SessionDraft.replay(start(base), [step], base)), "count")
    }))
})
