/**
 * Random keys that no token hashes to.
 */
import * as Encoding from "effect/Encoding"
import * as Option from "effect/Option"
import type { Capabilities } from "../../SessionStore.js"
import * as StoreKey from "../../StoreKey.js"
import { randomBytes } from "../crypto/primitives.js"

const draw = (): StoreKey.StoreKey => Option.getOrThrow(StoreKey.parse(Encoding.encodeBase64Url(randomBytes(32))))

/** Generates a random key on the same shard as `key`, so that a record can be moved there in one atomic step. */
export const asideOf = (key: StoreKey.StoreKey, { colocated }: Capabilities): StoreKey.StoreKey => {
  let aside = draw()
  for (let draws = 1; draws < 1000 && colocated?.(key, aside) === false; draws++) aside = draw()
  return aside
}
