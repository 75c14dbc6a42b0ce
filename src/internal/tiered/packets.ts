/**
 * Notices as texts of the length that a channel takes.
 */
import * as Encoding from "effect/Encoding"
import type { Option } from "effect/Option"
import * as Schema from "effect/Schema"
import type { SessionId } from "../../SessionId.js"
import type { Notice } from "../../SessionInvalidation.js"
import type { StoreKey } from "../../StoreKey.js"
import { randomBytes } from "../crypto/primitives.js"

const id = Schema.declare((value): value is SessionId => typeof value === "string")
const key = Schema.declare((value): value is StoreKey => typeof value === "string")

const Packet = Schema.parseJson(Schema.Struct({
  from: Schema.String,
  notices: Schema.Array(Schema.Union(
    Schema.TaggedStruct("Key", { key }),
    Schema.TaggedStruct("Id", { namespace: Schema.String, id }),
    Schema.TaggedStruct("Subject", {
      namespace: Schema.String,
      subject: Schema.String,
      except: Schema.optional(id)
    }),
    Schema.TaggedStruct("Everyone", { namespace: Schema.String }),
    Schema.TaggedStruct("Gap", {})
  ))
}))

/** Postgres takes 7,999 bytes; a text of this length may be of three bytes each. */
const longest = 2600

/** A name that no other node has. */
export const freshNode = (): string => Encoding.encodeBase64Url(randomBytes(12))

/** All notices, in as many texts as it takes; at least one, which says that the node is there. */
export const packets = (from: string, notices: ReadonlyArray<Notice>): ReadonlyArray<string> => {
  const encode = (notices: ReadonlyArray<Notice>) => Schema.encodeSync(Packet)({ from, notices })
  const whole = encode(notices)
  if (whole.length <= longest) return [whole]
  // One that is too long by itself is told as a gap.
  if (notices.length === 1) return [encode([{ _tag: "Gap" }])]
  const half = Math.ceil(notices.length / 2)
  return [...packets(from, notices.slice(0, half)), ...packets(from, notices.slice(half))]
}

/** What another node has sent; nothing if it is none of ours. */
export const open: (text: string) => Option<typeof Packet.Type> = Schema.decodeOption(Packet)
