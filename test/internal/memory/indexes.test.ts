import { it } from "@effect/vitest"
import { FastCheck } from "effect"
import { assert } from "vitest"
import { SortedList, SortedMap } from "../../../src/internal/memory/indexes.js"

interface At {
  readonly at: number
}

const at = FastCheck.integer({ min: 0, max: 50 })

it.prop(
  "SortedList contains each added value once and counts like a sorted array",
  [FastCheck.array(FastCheck.tuple(FastCheck.boolean(), at)), at],
  ([steps, from]) => {
    const list = new SortedList<At>((a, b) => a.at < b.at)
    const plain = new Set<number>()
    for (const [adds, at] of steps) {
      list[adds ? "add" : "delete"]({ at })
      plain[adds ? "add" : "delete"](at)
    }
    const expected = [...plain].sort((a, b) => a - b)
    assert.strictEqual(list.count(({ at }) => at <= from), expected.filter((at) => at <= from).length)
    assert.strictEqual(list.count(() => true), expected.length)
    assert.strictEqual(list.first?.at, expected[0])
  }
)

/** Enough keys for several pieces, and few enough that steps set and delete the same key again. */
const key = FastCheck.integer({ min: 0, max: 2000 }).map(String)

const steps = FastCheck.array(FastCheck.tuple(FastCheck.integer({ min: 0, max: 3 }), key), {
  maxLength: 4000,
  size: "max"
})

it.prop(
  "SortedMap behaves like a Map, and `after` returns the values after any key in the order of their keys",
  [steps, key],
  ([steps, from]) => {
    const map = new SortedMap<string, string>()
    const plain = new Map<string, string>()
    for (const [i, [step, key]] of steps.entries()) {
      if (step === 0) {
        map.delete(key)
        plain.delete(key)
      } else {
        map.set(key, `${key} ${i}`)
        plain.set(key, `${key} ${i}`)
      }
      assert.strictEqual(map.size, plain.size)
    }
    for (const [, key] of steps) assert.strictEqual(map.get(key), plain.get(key))
    const sorted = [...plain].sort(([a], [b]) => a < b ? -1 : 1)
    assert.deepStrictEqual([...map.after(undefined)], sorted.map(([, value]) => value))
    assert.deepStrictEqual([...map.after(from)], sorted.filter(([key]) => key > from).map(([, value]) => value))
  },
  { fastCheck: { numRuns: 30 } }
)

const orders = {
  rising: (i: number) => i,
  falling: (i: number) => 9999 - i,
  scattered: (i: number) => (i * 7919) % 10_000
}

for (const [order, value] of Object.entries(orders)) {
  it(`SortedList stays sorted while many pieces are filled and emptied (values ${order})`, () => {
    const list = new SortedList<At>((a, b) => a.at < b.at)
    for (let i = 0; i < 10_000; i++) list.add({ at: value(i) })
    for (let i = 0; i < 10_000; i++) if (i % 2 === 0) list.delete({ at: value(i) })
    const left = Array.from({ length: 10_000 }, (_, i) => value(i)).filter((_, i) => i % 2 === 1).sort((a, b) => a - b)
    assert.strictEqual(list.count(({ at }) => at < 5000), left.filter((at) => at < 5000).length)
    for (const at of left) {
      assert.strictEqual(list.first?.at, at)
      list.delete({ at })
    }
    assert.isUndefined(list.first)
    assert.strictEqual(list.count(() => true), 0)
  })
}
