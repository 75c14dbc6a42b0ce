import { assert, describe, it } from "@effect/vitest"
import { Data, Equal } from "effect"
import * as Merge from "effect-session/Merge"
import * as fc from "fast-check"

// Whole numbers, so that sums are exact: floating-point addition is not associative.
const whole = fc.integer({ min: -(2 ** 40), max: 2 ** 40 })
const set = fc.uniqueArray(fc.constantFrom("a", "b", "c", "d", "e", "f"))
const date = fc.date({ noInvalidDate: true })

describe("max", () => {
  it("does not depend on the order of the two requests", () => {
    fc.assert(
      fc.property(whole, whole, whole, (base, a, b) => assert.strictEqual(Merge.max(base, a, b), Merge.max(base, b, a)))
    )
    fc.assert(
      fc.property(
        date,
        date,
        date,
        (base, a, b) => assert.strictEqual(Merge.max(base, a, b).getTime(), Merge.max(base, b, a).getTime())
      )
    )
  })

  it("returns one of the two, not less than the other, for numbers, bigints, strings and dates", () => {
    const law = <A extends number | bigint | string | Date>(arbitrary: fc.Arbitrary<A>) =>
      fc.assert(fc.property(arbitrary, arbitrary, arbitrary, (base, a, b) => {
        const larger = Merge.max(base, a, b)
        assert.include<unknown>([a, b], larger)
        assert.isTrue(larger >= a && larger >= b)
      }))
    law<number>(whole)
    law<bigint>(fc.bigInt())
    law<string>(fc.string())
    law<Date>(date)
  })

  it("returns mine if theirs is the base and mine is larger", () =>
    fc.assert(
      fc.property(whole, fc.nat(), (base, more) => assert.strictEqual(Merge.max(base, base + more, base), base + more))
    ))

  it("returns the same for three requests in any order", () =>
    fc.assert(fc.property(whole, whole, whole, whole, (base, a, b, c) =>
      assert.strictEqual(
        Merge.max(base, c, Merge.max(base, b, a)),
        Merge.max(base, a, Merge.max(base, c, b))
      ))))
})

describe("sum", () => {
  it("does not depend on the order of the two requests", () =>
    fc.assert(
      fc.property(whole, whole, whole, (base, a, b) => assert.strictEqual(Merge.sum(base, a, b), Merge.sum(base, b, a)))
    ))

  it("returns the changed value if the other equals the base", () =>
    fc.assert(fc.property(whole, whole, (base, changed) => {
      assert.strictEqual(Merge.sum(base, changed, base), changed)
      assert.strictEqual(Merge.sum(base, base, changed), changed)
    })))

  it("L1: adds every difference, so n concurrent additions all count", () =>
    fc.assert(fc.property(whole, fc.array(fc.integer({ min: -1000, max: 1000 })), (base, added) =>
      assert.strictEqual(
        added.reduce((stored, more) => Merge.sum(base, base + more, stored), base),
        base + added.reduce((total, more) => total + more, 0)
      ))))
})

describe("union", () => {
  const sorted = (items: ReadonlyArray<string>) => [...items].sort()

  it("does not depend on the order of the two requests, up to the order of the items", () =>
    fc.assert(
      fc.property(set, set, set, (base, a, b) =>
        assert.deepStrictEqual(sorted(Merge.union(base, a, b)), sorted(Merge.union(base, b, a))))
    ))

  it("returns the changed value if the other equals the base", () =>
    fc.assert(fc.property(set, set, (base, changed) => {
      assert.deepStrictEqual(sorted(Merge.union(base, changed, base)), sorted(changed))
      assert.deepStrictEqual(Merge.union(base, base, changed), changed)
    })))

  it("returns a change that both made once", () =>
    fc.assert(
      fc.property(set, set, (base, changed) => assert.deepStrictEqual(Merge.union(base, changed, changed), changed))
    ))

  it("L1: contains each item that either added, and none that either removed, once", () =>
    fc.assert(fc.property(set, set, set, (base, mine, theirs) => {
      const merged = Merge.union(base, mine, theirs)
      const expected = new Set(
        [...mine, ...theirs].filter((item) => base.includes(item) ? mine.includes(item) && theirs.includes(item) : true)
      )
      assert.deepStrictEqual(sorted(merged), [...expected].sort())
    })))

  it("keeps the order of theirs, then of mine", () =>
    assert.deepStrictEqual(Merge.union(["a", "b"], ["b", "x", "y"], ["z", "b", "a"]), ["z", "b", "x", "y"]))

  it("compares items by Equal", () => {
    const item = (id: number) => Data.struct({ id })
    const merged = Merge.union([item(1), item(2)], [item(1), item(3)], [item(1), item(2), item(3), item(4)])
    assert.isTrue(Equal.equals(Data.array(merged), Data.array([item(1), item(3), item(4)])))
  })
})

describe("union of plain objects", () => {
  it("compares them by content", () => {
    const item = (sku: string) => ({ sku, options: ["a"] })
    const base = [item("tea"), item("cup")]
    const merged = Merge.union(base, base.slice(1), [item("tea"), item("cup"), item("pot")])
    assert.deepStrictEqual(merged, [item("cup"), item("pot")])
  })
})
