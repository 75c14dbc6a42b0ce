/**
 * The choice of the engine from the environment. The settings of a session tag are read by its `layerConfig`.
 *
 * A variable that is absent or empty is not set.
 *
 * @since 0.2.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { choice } from "./internal/domain/variables.js"
import type { SessionEngine } from "./SessionEngine.js"

/**
 * Engines by their names.
 *
 * @since 0.2.0
 * @category models
 */
export type Engines = Readonly<Record<string, () => Layer.Layer<SessionEngine, unknown, unknown>>>

/**
 * What every one of the engines provides. A tag that one of them lacks is not provided, whichever is chosen.
 *
 * @since 0.2.0
 * @category models
 */
export type Provided<E extends Engines> = {
  readonly [K in keyof E]: (tags: Layer.Layer.Success<ReturnType<E[K]>>) => void
}[keyof E] extends (tags: infer Tags) => void ? Tags : never

/**
 * The engine that `SESSION_ENGINE` names, in upper or lower case; the first one if it is not set. The others are not
 * built, and so an engine that brings its own client connects only if it is chosen.
 *
 * @example
 * ```ts
 * import { SqliteClient } from "@effect/sql-sqlite-node"
 * import { Layer } from "effect"
 * import { MemoryEngine, SessionConfig } from "effect-session"
 * import * as SqlEngine from "effect-session/SqlEngine"
 *
 * export const engine = SessionConfig.engine({
 *   memory: () => MemoryEngine.layer,
 *   sql: () => Layer.provide(SqlEngine.layer, SqliteClient.layer({ filename: "sessions.db" }))
 * })
 * ```
 *
 * @since 0.2.0
 * @category layers
 */
export function engine<const E extends Engines>(
  engines: E
): Layer.Layer<
  Provided<E>,
  Layer.Layer.Error<ReturnType<E[keyof E]>> | ConfigError.ConfigError,
  Layer.Layer.Context<ReturnType<E[keyof E]>>
>
export function engine(engines: Engines): Layer.Layer<SessionEngine, unknown, unknown> {
  const chosen = choice("SESSION_ENGINE", "Where sessions are kept.", engines)
  const [first] = Object.values(engines)
  return Layer.unwrapEffect(
    Effect.map(first === undefined ? chosen : Config.withDefault(chosen, first), (make) => make())
  )
}
