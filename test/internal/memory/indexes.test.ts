import { it } from "@effect/vitest"
import { FastCheck } from "effect"
import { assert } from "vitest"
import { SortedList } from "../../../src/internal/memory/indexes.js"

it.prop(
  "SortedList holds what was added and not deleted, once, in order, and finds and counts as a plain list does",
  [FastCheck.array(FastCheck.tuple(FastCheck.boolean(), FastCheck.string({ maxLength: 2 }))), FastCheck.string()],
  ([steps, from]) => {
    const list = new SortedList<string>((a, b) => a < b)
    const plain = new Set<string>()
    for (const [adds, value] of steps) {
      list[adds ? "add" : "delete"](value)
      plain[adds ? "add" : "delete"](value)
    }
    const expected = [...plain].sort((a, b) => a < b ? -1 : 1)
    assert.deepStrictEqual([...list.from(() => false)], expected)
    assert.deepStrictEqual([...list.from((value) => value <= from)], expected.filter((value) => value > from))
    assert.strictEqual(list.count((value) => value <= from), expected.filter((value) => value <= from).length)
    assert.strictEqual(list.first, expected[0])
  }
)

const orders = {
  rising: (i: number) => i,
  falling: (i: number) => 9999 - i,
  scattered: (i: number) => (i * 7919) % 10_000
}

for (const [order, value] of Object.entries(orders)) {
  it(`it stays in order over many pieces that are filled and emptied, ${order}`, () => {
    const list = new SortedList<{ readonly at: number }>((a, b) => a.at < b.at)
    for (let i = 0; i < 10_000; i++) list.add({ at: value(i) })
    for (let i = 0; i < 10_000; i++) if (i % 2 === 0) list.delete({ at: value(i) })
    const left = [...list.from(() => false)].map(({ at }) => at)
    assert.strictEqual(list.count(({ at }) => at < 5000), left.filter((at) => at < 5000).length)
    assert.deepStrictEqual([...list.from(({ at }) => at < 5000)].map(({ at }) => at), left.filter((at) => at >= 5000))
    assert.strictEqual(left.length, 5000)
    assert.isTrue(left.every((at, i) => i === 0 || at > (left[i - 1] ?? at)))
    for (const at of left) list.delete({ at })
    assert.isUndefined(list.first)
    assert.strictEqual(list.count(() => true), 0)
  })
}
