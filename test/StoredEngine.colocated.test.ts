import { it } from "@effect/vitest"
import { Effect } from "effect"
import { MemoryStore } from "effect-session"
import type { Store } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import { range } from "../src/internal/testing/law.js"
import { engineOf, next, opened, record, written } from "./support/engines.js"
import { recorded } from "./support/recordedStore.js"

describe("a store whose keys live apart", () => {
  /** A rotation over a store of which this is said. */
  const rotated = (colocated: Store["capabilities"]["colocated"]) =>
    Effect.gen(function*() {
      const { calls, store } = recorded(MemoryStore.make())
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

  it.effect("a rotation stays where the session is: tokens are drawn until the keys are in one place", () =>
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
        // Each draw is another token.
        assert.strictEqual(new Set(asked.map(([, drawn]) => drawn)).size, asked.length)
      })))

  it.effect("where no key fits, one that does not is taken after a thousand draws", () =>
    Effect.gen(function*() {
      let asked = 0
      yield* rotated(() => {
        asked++
        return false
      })
      assert.isAtLeast(asked, 500)
      assert.isAtMost(asked, 1000)
    }))

  it.effect("where any key fits, the first one is taken", () =>
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
