/**
 * The store of `docs/stores.md`, proved as anybody proves theirs.
 */
import { it } from "@effect/vitest"
import { Effect } from "effect"
import { storeLaws } from "effect-session/testing"
import { layer } from "../examples/own-store.js"

for (const { law, name } of storeLaws) {
  it.live(name, () => Effect.provide(law, layer))
}
