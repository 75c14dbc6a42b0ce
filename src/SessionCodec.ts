/**
 * How the encoded data of a session becomes the text that a store keeps.
 *
 * @since 0.2.0
 */
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import type { JsonRecord } from "./Json.js"

/**
 * A pair of pure functions. `decode` may throw: such data follows the tag's policy for data that does not fit, and is
 * left as it is. Whatever `encode` gives is kept as text; binary formats spell it in base64url.
 *
 * @since 0.2.0
 * @category models
 */
export interface Codec {
  readonly encode: (data: JsonRecord) => string
  readonly decode: (text: string) => unknown
}

/**
 * JSON, what is used unless another codec is provided.
 *
 * @since 0.2.0
 * @category codecs
 */
export const json: Codec = { encode: JSON.stringify, decode: JSON.parse }

/**
 * The codec in use. It has a default, so it is provided only to replace that.
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
