/**
 * The codec between encoded session data and the text that a store keeps.
 *
 * @since 0.2.0
 */
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import type { JsonRecord } from "./Json.js"

/**
 * A pair of pure functions. If `decode` throws, the tag's policy for invalid data applies, and the stored data is unchanged. `encode` returns
 * text; encode binary formats in base64url.
 *
 * @since 0.2.0
 * @category models
 */
export interface Codec {
  readonly encode: (data: JsonRecord) => string
  readonly decode: (text: string) => unknown
}

/**
 * The default codec: JSON.
 *
 * @since 0.2.0
 * @category codecs
 */
export const json: Codec = { encode: JSON.stringify, decode: JSON.parse }

/**
 * The service tag of the codec. Its default is {@link json}.
 *
 * @since 0.2.0
 * @category tags
 */
export class SessionCodec extends Context.Reference<SessionCodec>()("effect-session/SessionCodec", {
  defaultValue: () => json
}) {}

/**
 * Replaces the codec for the session layers that it is provided to.
 *
 * @example
 * ```ts
 * import { Layer, Schema } from "effect"
 * import { MemoryEngine, Session, SessionCodec } from "effect-session"
 * import { Packr } from "msgpackr"
 *
 * class AppSession extends Session.Tag<AppSession>()("app/Session", {
 *   schema: Schema.Struct({ user: Schema.optional(Schema.String) })
 * }) {}
 *
 * const packr = new Packr({ useRecords: false })
 * const MessagePack = SessionCodec.layer({
 *   encode: (data) => packr.pack(data).toString("base64url"),
 *   // Data from before the change is still JSON.
 *   decode: (text) => text.startsWith("{") ? JSON.parse(text) : packr.unpack(Buffer.from(text, "base64url"))
 * })
 *
 * export const layer = AppSession.layer.pipe(Layer.provide(MessagePack), Layer.provide(MemoryEngine.layer))
 * ```
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (codec: Codec): Layer.Layer<SessionCodec> => Layer.succeed(SessionCodec, codec)
