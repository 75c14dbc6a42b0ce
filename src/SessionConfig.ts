/**
 * Choice of the engine by an environment variable. The settings of a session tag are read by its `layerConfig`.
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
 * Constructors of engines, by name.
 *
 * @since 0.2.0
 * @category models
 */
export type Engines = Readonly<Record<string, () => Layer.Layer<SessionEngine, unknown, unknown>>>

/**
 * The services that all of the engines provide. A service that one of them lacks is not provided, whichever is chosen.
 *
 * @since 0.2.0
 * @category models
 */
export type Provided<E extends Engines> = {
  readonly [K in keyof E]: (tags: Layer.Layer.Success<ReturnType<E[K]>>) => void
}[keyof E] extends (tags: infer Tags) => void ? Tags : never

/**
 * Builds the engine that `SESSION_ENGINE` names, in upper or lower case; the first one if the variable is not set. Other engines
 * are not built, so their clients do not connect.
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
  const chosen = choice("SESSION_ENGINE", "The engine that stores the sessions.", engines)
  const [first] = Object.values(engines)
  return Layer.unwrapEffect(
    Effect.map(first === undefined ? chosen : Config.withDefault(chosen, first), (make) => make())
  )
}
