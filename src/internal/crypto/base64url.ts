/**
 * Base64url without padding, in its one spelling.
 */
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import { nativeBuffer } from "./native.js"

const native = nativeBuffer

/** The bytes as text. */
export const encode: (bytes: Uint8Array) => string = native === undefined
  ? Encoding.encodeBase64Url
  : (bytes) => native.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64url")

// Both take more than one spelling: padding, spare bits, the other alphabet, and the native one any character at all.
const lenient: (text: string) => Uint8Array | undefined = native === undefined
  ? (text) => Either.getOrUndefined(Encoding.decodeBase64Url(text))
  : (text) => native.from(text, "base64url")

/** The bytes of a text that is their spelling; `undefined` for any other text. */
export const decode = (text: string): Uint8Array | undefined => {
  const bytes = lenient(text)
  return bytes !== undefined && encode(bytes) === text ? bytes : undefined
}
