/**
 * Layers whose options come from the configuration.
 */
import * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** Builds a layer from options that are read from the configuration when the layer is built. */
export const layerConfig = <Options, A, E, R>(
  options: Config.Config.Wrap<Options>,
  layer: (options: Options) => Layer.Layer<A, E, R>
): Layer.Layer<A, E | ConfigError, R> => Layer.unwrapEffect(Effect.map(Config.unwrap(options), layer))
