/**
 * A session record as the content of a token, and back.
 *
 * ```
 * layout u8 = 1 | createdAt u48 | authenticatedAt u48 | deadline u48 | end u48 | id 16 | version u32 | schemaVersion u16
 * | UTF-8 of: metadata, a line break, the data
 * ```
 *
 * Numbers are big-endian, times milliseconds since the epoch. All ones is an absent time: zero is a moment like others.
 * The metadata is a JSON array without a line break: subject or null, `modifiedAt` and `lastSeenAt` as differences to
 * `createdAt`, the lifetime, the data if it has a lone surrogate, which UTF-8 cannot encode, and the attributes. The last
 * three are null if absent, and omitted at the end of the array. Other data follows the line break unchanged.
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Lifetime } from "../../Lifetime.js"
import type { SessionRecord } from "../../SessionRecord.js"
import { decodeBase64Url } from "../crypto/primitives.js"
import type { Tokens } from "../crypto/tokens.js"
import * as Ids from "../domain/id.js"

/** What a token turned out to be. `Unreadable` takes a key: a newer version of this library has made it, or it is no record. */
export type Decoded =
  | { readonly _tag: "Opened"; readonly record: SessionRecord; readonly needsReseal: boolean }
  | { readonly _tag: "Invalid" }
  | { readonly _tag: "Unreadable" }

/** Records as tokens of one namespace. */
export interface CookieRecords {
  /** An error is a sentence that does not tell what the record holds. */
  readonly encode: (record: SessionRecord) => Either.Either<string, string>
  /** No times are checked. The `writeId`, which no token carries, is empty. */
  readonly decode: (token: string) => Decoded
}

/** No cookie is longer, so no longer value was ever one of ours. */
const maxLength = 4096

const invalid: Decoded = { _tag: "Invalid" }
const unreadable: Decoded = { _tag: "Unreadable" }

/** Spells the records of a namespace. No token tells the namespace: the keys of the tokens must be of it alone. */
export const make = (tokens: Tokens, namespace: string): CookieRecords => ({
  encode: (record) => {
    const problem = problemOf(record, namespace)
    return problem === undefined ? Either.right(tokens.write(encode(record))) : Either.left(problem)
  },
  decode: (token) => {
    if (token.length > maxLength) return invalid
    const read = tokens.read(token)
    if (Option.isNone(read)) return invalid
    const { content, outdated: needsReseal } = read.value
    return Option.match(decode(content, namespace), {
      onNone: () => unreadable,
      onSome: (record) => ({ _tag: "Opened", record, needsReseal })
    })
  }
})

const layout = 1
const headerBytes = 47
const absent = 2 ** 48 - 1

const utf8 = new TextEncoder()
const fromUtf8 = new TextDecoder()

const isUnsigned = (value: number, limit: number): boolean => Number.isInteger(value) && value >= 0 && value < limit

const problemOf = (record: SessionRecord, namespace: string): string | undefined =>
  record.namespace !== namespace
    ? "The record belongs to another namespace."
    : !/^[A-Za-z0-9_-]{21}[AQgw]$/.test(record.id)
    ? "The record's id is not the spelling of 16 bytes."
    : !isUnsigned(record.version, 2 ** 32)
    ? "The record's version does not fit into 32 bits."
    : !isUnsigned(record.schemaVersion, 2 ** 16)
    ? "The version of the record's schema does not fit into 16 bits."
    : Object.values(record.expiry.lifetime ?? {}).some((part) => typeof part === "number" && !Number.isFinite(part))
    ? "The record's lifetime is not finite."
    : undefined

/** What 48 bits can hold, rounded down: an end may come a little early, never late. What is no number has long passed. */
const moment = (time: number): number => Number.isNaN(time) ? 0 : Math.min(Math.max(Math.floor(time), 0), absent - 1)

const encode = (record: SessionRecord): Uint8Array => {
  const { attributes, expiry: { at, deadline, lifetime }, subject } = record
  const createdAt = moment(record.createdAt)
  const metadata: Array<unknown> = [
    subject ?? null,
    moment(record.modifiedAt) - createdAt,
    moment(record.lastSeenAt) - createdAt
  ]
  const speakable = !/\p{Surrogate}/u.test(record.data)
  const optional = [lifetime, speakable ? undefined : record.data, attributes]
  while (optional.length > 0 && optional.at(-1) === undefined) optional.pop()
  metadata.push(...optional.map((one) => one ?? null))
  const text = utf8.encode(`${JSON.stringify(metadata)}\n${speakable ? record.data : ""}`)

  const bytes = new Uint8Array(headerBytes + text.length)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, layout)
  setTime(view, 1, createdAt)
  setTime(view, 7, record.authenticatedAt === undefined ? absent : moment(record.authenticatedAt))
  setTime(view, 13, deadline === undefined ? absent : moment(deadline))
  setTime(view, 19, moment(at))
  bytes.set(decodeBase64Url(record.id) ?? [], 25)
  view.setUint32(41, record.version)
  view.setUint16(45, record.schemaVersion)
  bytes.set(text, headerBytes)
  return bytes
}

const setTime = (view: DataView, offset: number, time: number): void => {
  view.setUint16(offset, Math.floor(time / 2 ** 32))
  view.setUint32(offset + 2, time % 2 ** 32)
}

const getTime = (view: DataView, offset: number): number =>
  view.getUint16(offset) * 2 ** 32 + view.getUint32(offset + 2)

const optionalTime = (view: DataView, offset: number): number | undefined => {
  const time = getTime(view, offset)
  return time === absent ? undefined : time
}

/** Subject, modified, last seen, lifetime, data that UTF-8 cannot hold, attributes. */
const isMetadata = Schema.is(Schema.Tuple(
  Schema.NullOr(Schema.String),
  Schema.Number,
  Schema.Number,
  Schema.optionalElement(Schema.NullOr(Lifetime)),
  Schema.optionalElement(Schema.NullOr(Schema.String)),
  Schema.optionalElement(Schema.NullOr(Schema.String))
))

const parseJson = Option.liftThrowable((text: string): unknown => JSON.parse(text))

const decode = (bytes: Uint8Array, namespace: string): Option.Option<SessionRecord> => {
  if (bytes.length < headerBytes || bytes[0] !== layout) return Option.none()
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const createdAt = getTime(view, 1)
  const text = fromUtf8.decode(bytes.subarray(headerBytes))
  const end = text.indexOf("\n")
  const metadata = Option.filter(parseJson(text.slice(0, Math.max(end, 0))), isMetadata)
  return Option.map(metadata, ([subject, modified, seen, lifetime, data, attributes]) => ({
    namespace,
    id: Ids.fromBytes(bytes.subarray(25, 41)),
    data: data ?? text.slice(end + 1),
    schemaVersion: view.getUint16(45),
    subject: subject ?? undefined,
    version: view.getUint32(41),
    writeId: "",
    createdAt,
    authenticatedAt: optionalTime(view, 7),
    modifiedAt: createdAt + modified,
    lastSeenAt: createdAt + seen,
    expiry: { at: getTime(view, 19), deadline: optionalTime(view, 13), lifetime: lifetime ?? undefined },
    attributes: attributes ?? undefined
  }))
}
