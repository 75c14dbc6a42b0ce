import { it } from "@effect/vitest"
import { Effect } from "effect"
import { storeLaws } from "../src/internal/testing/storeLaws.js"
import { stores } from "./support/stores.js"

for (const [store, layer] of stores) {
  for (const { law, name } of storeLaws) {
    it.live(`${store}: ${name}`, () => Effect.provide(law, layer()))
  }
}
