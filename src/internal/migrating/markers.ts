/**
 * Migration markers: the states of a record that is being moved from one store to another, stored in place of its data.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { SessionRecord } from "../../SessionRecord.js"
import * as StoreKey from "../../StoreKey.js"

/** The part of a record that a marker replaces. */
export interface Original {
  readonly version: number
  readonly writeId: string
  readonly data: string
}

/**
 * - `Plain`: a record without a marker.
 * - `Moving`: in the old store, frozen: only the migration changes it.
 * - `Arriving`: in the new store, under the key `copy` and not yet under the session's `key`: not yet valid.
 * - `Moved`: in the old store: the copy under the key `copy` is now the valid one.
 */
type Marker =
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

const Encoded = Schema.parseJson(Schema.Union(
  Schema.TaggedStruct("Moving", { original: Original }),
  Schema.TaggedStruct("Arriving", { copy: StoreKey.StoreKey, key: StoreKey.StoreKey, original: Original }),
  Schema.TaggedStruct("Moved", { copy: StoreKey.StoreKey })
))

/** The prefix of a marker. The data of no session begins with it. */
const prefix = "effect-session/move "

const plain = { _tag: "Plain" } as const

export const markerOf = ({ data }: SessionRecord): Marker =>
  data.startsWith(prefix)
    ? Option.getOrElse(Schema.decodeOption(Encoded)(data.slice(prefix.length)), () => plain)
    : plain

/** Whether the marker belongs to the store that its session is moved from. */
export const isSourceMarker = (record: SessionRecord): boolean => {
  const { _tag } = markerOf(record)
  return _tag === "Moving" || _tag === "Moved"
}

/** Whether the marker of a record names this copy as its replacement. */
export const isMovedTo = (record: SessionRecord, copy: StoreKey.StoreKey): boolean => {
  const marker = markerOf(record)
  return marker._tag === "Moved" && marker.copy === copy
}

/** The same record with a marker in place of its data. */
export const withMarker = (
  record: SessionRecord,
  marker: Exclude<Marker, { readonly _tag: "Plain" }>,
  writeId: string
): SessionRecord => ({ ...record, data: prefix + Schema.encodeSync(Encoded)(marker), writeId })

export const originalOf = ({ data, version, writeId }: SessionRecord): Original => ({ data, version, writeId })
