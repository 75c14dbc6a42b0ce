/**
 * Keys that lead nobody to what is kept under them.
 */
import * as Encoding from "effect/Encoding"
import * as Option from "effect/Option"
import type { Capabilities } from "../../SessionStore.js"
import * as StoreKey from "../../StoreKey.js"
import { randomBytes } from "../crypto/primitives.js"

const draw = (): StoreKey.StoreKey => Option.getOrThrow(StoreKey.parse(Encoding.encodeBase64Url(randomBytes(32))))

/** Another key in the same place as this one, so that a record can go there in one step. */
export const asideOf = (key: StoreKey.StoreKey, { colocated }: Capabilities): StoreKey.StoreKey => {
  let aside = draw()
  for (let draws = 1; draws < 1000 && colocated?.(key, aside) === false; draws++) aside = draw()
  return aside
}
