/**
 * How a record that is on its way from one store to another is told from one that is not.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { SessionRecord } from "../../SessionRecord.js"
import * as StoreKey from "../../StoreKey.js"

/** What a mark has taken the place of. */
export interface Original {
  readonly version: number
  readonly writeId: string
  readonly data: string
}

/**
 * - `Plain`: it is what it looks like.
 * - `Moving`: in the old store, frozen: from here on only its move goes on.
 * - `Arriving`: in the new store, under the key `copy` and not yet under the session's `key`: it does not count yet.
 * - `Moved`: in the old store: the copy under this key counts now.
 */
type Mark =
  | { readonly _tag: "Plain" }
  | { readonly _tag: "Moving"; readonly original: Original }
  | {
    readonly _tag: "Arriving"
    readonly copy: StoreKey.StoreKey
    readonly key: StoreKey.StoreKey
    readonly original: Original
  }
  | { readonly _tag: "Moved"; readonly copy: StoreKey.StoreKey }

const Original = Schema.Struct({ version: Schema.Number, writeId: Schema.String, data: Schema.String })

const Kept = Schema.parseJson(Schema.Union(
  Schema.TaggedStruct("Moving", { original: Original }),
  Schema.TaggedStruct("Arriving", { copy: StoreKey.StoreKey, key: StoreKey.StoreKey, original: Original }),
  Schema.TaggedStruct("Moved", { copy: StoreKey.StoreKey })
))

/** Before a mark. No session is kept as a text that begins like this. */
const sign = "effect-session/move "

const plain = { _tag: "Plain" } as const

export const markOf = ({ data }: SessionRecord): Mark =>
  data.startsWith(sign)
    ? Option.getOrElse(Schema.decodeOption(Kept)(data.slice(sign.length)), () => plain)
    : plain

/** Whether it is in the store that its session is on the way from. */
export const isLeaving = (record: SessionRecord): boolean => {
  const { _tag } = markOf(record)
  return _tag === "Moving" || _tag === "Moved"
}

/** Whether the mark of a record names this copy as the one that replaces it. */
export const isMovedTo = (record: SessionRecord, copy: StoreKey.StoreKey): boolean => {
  const mark = markOf(record)
  return mark._tag === "Moved" && mark.copy === copy
}

/** The same record with a mark in place of its data, as its next version. */
export const marked = (
  record: SessionRecord,
  mark: Exclude<Mark, { readonly _tag: "Plain" }>,
  writeId: string
): SessionRecord => ({ ...record, data: sign + Schema.encodeSync(Kept)(mark), writeId })

export const originalOf = ({ data, version, writeId }: SessionRecord): Original => ({ data, version, writeId })
