/**
 * The contract of a session store: each law is an effect over an empty store that succeeds if the store complies.
 */
import type { Law } from "../../Law.js"
import { cleanUpLaws } from "./cleanUpLaws.js"
import { clockLaws } from "./clockLaws.js"
import { createLaws } from "./createLaws.js"
import { dataLaws } from "./dataLaws.js"
import { directoryLaws } from "./directoryLaws.js"
import { modelLaws } from "./model.js"
import { personLaws } from "./personLaws.js"
import { raceLaws } from "./raceLaws.js"
import { removalLaws } from "./removalLaws.js"
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
  ...removalLaws,
  ...directoryLaws,
  ...revocationLaws,
  ...cleanUpLaws,
  ...clockLaws,
  ...dataLaws,
  ...modelLaws,
  ...raceLaws,
  ...serviceLaws,
  ...personLaws,
  ...secrecyLaws
]
