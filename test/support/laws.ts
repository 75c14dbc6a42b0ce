/**
 * Runs the published laws on stores, by name. Each kind of store has its own test file, so that they run in parallel.
 */
import { it } from "@effect/vitest"
import { Effect } from "effect"
import { storeLaws } from "effect-session/testing"
import { assert } from "vitest"
import { leftOut } from "./parts.js"
import { combined, notWhileMoving, partitioned, stores } from "./stores.js"

export const onStores = (...names: ReadonlyArray<string>): void => {
  for (const name of names) {
    const layer = [...stores, ...combined, partitioned].find(([store]) => store === name)?.[1]
    if (layer === undefined) {
      // Excluded by --without, which the summary of the run lists, or a typing error in `name`.
      it(`${name} is excluded by --without`, () => assert.isNotEmpty(leftOut()))
      continue
    }
    for (const { law, name: title } of storeLaws) {
      if (name === "sqlite to redis" && notWhileMoving.test(title)) continue
      it.live(`${name}: ${title}`, () => Effect.provide(law, layer()))
    }
  }
}
