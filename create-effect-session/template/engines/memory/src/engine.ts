/**
 * Where sessions are kept: in the memory of this process. They end with it.
 */
import { Layer } from "effect"
import { MemoryEngine, SessionReaper } from "effect-session"

export const layer = SessionReaper.layer.pipe( // deletes expired sessions
  Layer.provideMerge(MemoryEngine.layer)
)
