/**
 * Runs the published laws on stores, by name: a file for each kind, so that several run at once.
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
      // Left out by choice, which the end of the run says; or a slip of the pen.
      it(`${name} is left out by choice`, () => assert.isNotEmpty(leftOut()))
      continue
    }
    for (const { law, name: title } of storeLaws) {
      if (name === "sqlite to redis" && notWhileMoving.test(title)) continue
      it.live(`${name}: ${title}`, () => Effect.provide(law, layer()))
    }
  }
}
