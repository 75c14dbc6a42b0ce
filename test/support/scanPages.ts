/**
 * Pages of a scan.
 */
import type { Corrupt, Located } from "effect-session/SessionStore"

/** The records of a page. Throws if one is corrupt. */
export const recordsIn = (page: ReadonlyArray<Located | Corrupt>): ReadonlyArray<Located> =>
  page.map((one) => {
    if ("error" in one) throw one.error
    return one
  })
