/**
 * Converts the outcome of a store's write to that of an engine's.
 */
import type { CookieValue, Written } from "../../SessionEngine.js"
import type { SessionRecord } from "../../SessionRecord.js"
import type { CreateOutcome, RotateOutcome } from "../../SessionStore.js"

/** The outcome of a write that has succeeded. */
export type Succeeded = Extract<Written, { readonly _tag: "Written" }>

/** The outcome of an engine: if the store has written, with the value and the record that are now current. */
export const writtenIf = (
  outcome: Exclude<CreateOutcome, "exists"> | RotateOutcome,
  value: CookieValue,
  record: SessionRecord
): Written => {
  if (typeof outcome === "object") return { _tag: "Written", value, record, evicted: outcome.ids }
  switch (outcome) {
    case "created":
    case "saved":
      return { _tag: "Written", value, record }
    case "conflict":
      return { _tag: "Conflict" }
    case "gone":
      return { _tag: "Gone" }
    case "full":
      return { _tag: "Full" }
  }
}
