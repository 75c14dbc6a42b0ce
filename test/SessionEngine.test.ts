import { it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { StoredEngine } from "effect-session"
import { engineLaws, storedEngineLaws } from "effect-session/testing"
import { combined, stores, variants } from "./support/stores.js"

for (const [store, layer] of [...stores, ...combined, ...variants]) {
  for (const { law, name } of [...engineLaws, ...storedEngineLaws]) {
    it.live(`${store}: ${name}`, () =>
      Effect.provide(law, Layer.provide(StoredEngine.layerWith({ timeout: "1 minute" }), layer())))
  }
}
