import { it } from "@effect/vitest"
import { Effect } from "effect"
import { MemoryStore } from "effect-session"
import type { Store } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import { assert, describe } from "vitest"
import { range } from "./support/concurrency.js"
import { engineOf, next, opened, record, written } from "./support/engines.js"

describe("a rotation over a store that declares colocated", () => {
  /** Rotates a session over a store with this capability and returns both keys. */
  const rotated = (colocated: Store["capabilities"]["colocated"]) =>
    Effect.gen(function*() {
      const { calls, store } = FaultyStore.recorded(MemoryStore.make())
      const engine = yield* engineOf({
        ...store,
        capabilities: { ...store.capabilities, ...(colocated === undefined ? {} : { colocated }) }
      })
      const first = yield* written(engine, { _tag: "Create", record: record() })
      const second = yield* written(engine, {
        _tag: "Rotate",
        value: first.value,
        record: next(first.record),
        expectedVersion: 1
      })
      assert.deepStrictEqual(yield* opened(engine, second.value), next(first.record))
      assert.isUndefined(yield* opened(engine, first.value))
      const [key = "", newKey = ""] = calls.find(({ operation }) => operation === "rotate")?.args.map(String) ?? []
      return { key, newKey }
    })

  it.effect("draws tokens until the new key is colocated with the old one", () =>
    Effect.forEach(range(20), () =>
      Effect.gen(function*() {
        const asked: Array<readonly [string, string]> = []
        const { key, newKey } = yield* rotated((key, newKey) => {
          asked.push([key, newKey])
          return key.charAt(0) === newKey.charAt(0)
        })
        assert.strictEqual(newKey.charAt(0), key.charAt(0))
        assert.notStrictEqual(newKey, key)
        assert.deepStrictEqual(asked.at(-1), [key, newKey])
        // Each draw is a new token.
        assert.strictEqual(new Set(asked.map(([, drawn]) => drawn)).size, asked.length)
      })))

  it.effect("uses a key that is not colocated after at most 1,000 draws", () =>
    Effect.gen(function*() {
      let asked = 0
      yield* rotated(() => {
        asked++
        return false
      })
      assert.isAtLeast(asked, 500)
      assert.isAtMost(asked, 1000)
    }))

  it.effect("uses the first key if every key is colocated", () =>
    Effect.gen(function*() {
      let asked = 0
      yield* rotated(() => {
        asked++
        return true
      })
      assert.strictEqual(asked, 1)
      yield* rotated(undefined)
    }))
})
