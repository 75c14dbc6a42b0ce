/**
 * Makes the ids of sessions.
 */
import * as Encoding from "effect/Encoding"
import type { SessionId } from "../../SessionId.js"

/**
 * The number of random bytes in an id.
 */
export const byteLength = 16

/**
 * Makes an id of 16 random bytes.
 */
export const fromBytes = (bytes: Uint8Array): SessionId => {
  if (bytes.length !== byteLength) throw new RangeError(`a session id is made of ${byteLength} bytes`)
  return Encoding.encodeBase64Url(bytes) as SessionId
}
