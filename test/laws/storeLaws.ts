/**
 * The contract of a session store, as laws that any store can be run against: each is an effect over an empty store
 * that succeeds when the store keeps it.
 *
 * ```ts
 * for (const { law, name } of storeLaws) {
 *   it.effect(name, () => Effect.provide(law, MyStore.layer))
 * }
 * ```
 */
import { createLaws } from "./createLaws.js"
import { dataLaws } from "./dataLaws.js"
import { directoryLaws } from "./directoryLaws.js"
import { endLaws } from "./endLaws.js"
import type { Law } from "./law.js"
import { revocationLaws } from "./revocationLaws.js"
import { rotateLaws } from "./rotateLaws.js"
import { saveLaws } from "./saveLaws.js"
import { touchLaws } from "./touchLaws.js"

export { type Law, LawBroken } from "./law.js"

export const storeLaws: ReadonlyArray<Law> = [
  ...createLaws,
  ...saveLaws,
  ...touchLaws,
  ...rotateLaws,
  ...endLaws,
  ...directoryLaws,
  ...revocationLaws,
  ...dataLaws
]
