/**
 * Runs the published laws on stores, by name. Each kind of store has its own test file, so that they run in parallel.
 */
import { it } from "@effect/vitest"
import { Effect } from "effect"
import { endReasonLaws, storeLaws } from "effect-session/testing"
import { assert } from "vitest"
import { isFast } from "./fast.js"
import { knowsEndReasons, type Named, notWhileMoving } from "./localStores.js"
import { leftOut } from "./parts.js"

/** Runs the laws on the stores with these names. A name that `stores` does not have is one that the run leaves out. */
export const onStores = (stores: ReadonlyArray<Named>, ...names: ReadonlyArray<string>): void => {
  for (const name of names) {
    const layer = stores.find(([store]) => store === name)?.[1]
    if (layer === undefined) {
      // Fails if nothing is left out: then the name is wrong.
      it(`${name} is left out by choice`, () => assert.isTrue(isFast() || leftOut().length > 0))
      continue
    }
    for (const { law, name: title } of knowsEndReasons.has(name) ? [...storeLaws, ...endReasonLaws] : storeLaws) {
      if (name === "sqlite to redis" && notWhileMoving.test(title)) continue
      it.live(`${name}: ${title}`, () => Effect.provide(law, layer()))
    }
  }
}
