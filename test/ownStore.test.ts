/**
 * The example store of `docs/stores.md`, tested with the published laws.
 */
import { it } from "@effect/vitest"
import { Effect } from "effect"
import { storeLaws } from "effect-session/testing"
import { readFileSync } from "node:fs"
import { assert } from "vitest"
import { layer } from "../examples/own-store.js"

it("the example store has fewer than 75 lines of code", () => {
  const lines = readFileSync("examples/own-store.ts", "utf8").split("\n")
  assert.isBelow(lines.filter((line) => !/^\s*(?:\/\/|\/?\*|$)/.test(line)).length, 75)
})

for (const { law, name } of storeLaws) {
  it.live(name, () => Effect.provide(law, layer))
}
