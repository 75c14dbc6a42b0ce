/**
 * Derivation of store keys from tokens.
 */
import * as Brand from "effect/Brand"
import type { SessionToken } from "../../SessionToken.js"
import type { StoreKey } from "../../StoreKey.js"
import { lengthPrefixed } from "../crypto/primitives.js"
import { hashAfter } from "../crypto/sessionToken.js"

/** Brands the base64url text of a SHA-256 hash as a key, without a check. */
export const ofHash = Brand.nominal<StoreKey>()

/**
 * Derives the store keys of one namespace: SHA-256 over purpose and namespace (length-prefixed) and the token's bytes.
 * The token has 256 bits of entropy, so a slow hash would only cost CPU time.
 */
export const storeKeys = (namespace: string): (token: SessionToken) => StoreKey => {
  const hash = hashAfter(lengthPrefixed("effect-session/r1", namespace))
  return (token) => ofHash(hash(token))
}
