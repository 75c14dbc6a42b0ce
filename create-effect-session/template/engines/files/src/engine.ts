/**
 * Where sessions are kept: in files, for one machine.
 */
import { NodeContext } from "@effect/platform-node"
import { Config, Layer } from "effect"
import { FileEngine, SessionReaper } from "effect-session"

export const layer = SessionReaper.layer.pipe( // deletes expired sessions
  Layer.provideMerge(FileEngine.layerConfig({ directory: Config.string("SESSION_DIRECTORY") })),
  Layer.provide(NodeContext.layer)
)
