/**
 * The contract of a session store, as laws that any store can be run against: each is an effect over an empty store
 * that succeeds when the store keeps it.
 */
import type { Law } from "../../Law.js"
import { cleanUpLaws } from "./cleanUpLaws.js"
import { clockLaws } from "./clockLaws.js"
import { createLaws } from "./createLaws.js"
import { dataLaws } from "./dataLaws.js"
import { directoryLaws } from "./directoryLaws.js"
import { endLaws } from "./endLaws.js"
import { modelLaws } from "./model.js"
import { raceLaws } from "./raceLaws.js"
import { revocationLaws } from "./revocationLaws.js"
import { rotateLaws } from "./rotateLaws.js"
import { saveLaws } from "./saveLaws.js"
import { secrecyLaws } from "./secrecyLaws.js"
import { serviceLaws } from "./serviceLaws.js"
import { touchLaws } from "./touchLaws.js"

export const storeLaws: ReadonlyArray<Law> = [
  ...createLaws,
  ...saveLaws,
  ...touchLaws,
  ...rotateLaws,
  ...endLaws,
  ...directoryLaws,
  ...revocationLaws,
  ...cleanUpLaws,
  ...clockLaws,
  ...dataLaws,
  ...modelLaws,
  ...raceLaws,
  ...serviceLaws,
  ...secrecyLaws
]
