/**
 * Where sessions are kept: in sealed cookies. Files keep one small record for each, so that they can be listed and ended.
 */
import { NodeContext } from "@effect/platform-node"
import { Config, Layer } from "effect"
import { CookieEngine, FileStore, Keyring } from "effect-session"

const ledger = FileStore.layerConfig({ directory: Config.string("SESSION_DIRECTORY") })

export const layer = CookieEngine.layerLedger.pipe(
  Layer.provide(ledger),
  Layer.provide(NodeContext.layer),
  Layer.provide(Keyring.layerConfig())
)
