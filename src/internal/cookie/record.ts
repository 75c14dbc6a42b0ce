/**
 * Encodes a session record as the content of a token, and decodes it.
 *
 * ```
 * layout u8 = 1 | createdAt u48 | authenticatedAt u48 | deadline u48 | end u48 | id 16 | version u32 | schemaVersion u16
 * | UTF-8 of: metadata, a line break, the data
 * ```
 *
 * Numbers are big-endian, times milliseconds since the Unix epoch. All ones is an absent time, because zero is a valid time.
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

/** The result of decoding a token. `Unreadable`: its seal is valid, but a newer version of this library made it, or it holds no record. */
export type Decoded =
  | { readonly _tag: "Opened"; readonly record: SessionRecord; readonly needsReseal: boolean }
  | { readonly _tag: "Invalid" }
  | { readonly _tag: "Unreadable" }

/** Encodes and decodes the records of one namespace. */
export interface CookieRecords {
  /** Fails with a sentence that does not contain data of the record. */
  readonly encode: (record: SessionRecord) => Either.Either<string, string>
  /** Checks no times. The `writeId`, which is not part of a token, is empty. */
  readonly decode: (token: string) => Decoded
}

/** The maximum length of a cookie: a longer value is no token. */
const maxLength = 4096

const invalid: Decoded = { _tag: "Invalid" }
const unreadable: Decoded = { _tag: "Unreadable" }

/** Makes the codec of a namespace. A token does not contain the namespace, so its keys must be derived for that namespace alone. */
export const make = (tokens: Tokens, namespace: string): CookieRecords => ({
  encode: (record) => {
    const problem = validate(record, namespace)
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

/** Describes why a record cannot be encoded; `undefined` if it can. */
const validate = (record: SessionRecord, namespace: string): string | undefined =>
  record.namespace !== namespace
    ? "The record belongs to another namespace."
    : !/^[A-Za-z0-9_-]{21}[AQgw]$/.test(record.id)
    ? "The record's id is not 16 bytes in base64url."
    : !isUnsigned(record.version, 2 ** 32)
    ? "The record's version does not fit into 32 bits."
    : !isUnsigned(record.schemaVersion, 2 ** 16)
    ? "The version of the record's schema does not fit into 16 bits."
    : Object.values(record.expiry.lifetime ?? {}).some((part) => typeof part === "number" && !Number.isFinite(part))
    ? "The record's lifetime is not finite."
    : undefined

/** Clamps a time to 48 bits, rounded down, so that an expiry is never later. `NaN` becomes 0, which has expired. */
const clampTime = (time: number): number => Number.isNaN(time) ? 0 : Math.min(Math.max(Math.floor(time), 0), absent - 1)

const encode = (record: SessionRecord): Uint8Array => {
  const { attributes, expiry: { at, deadline, lifetime }, subject } = record
  const createdAt = clampTime(record.createdAt)
  const metadata: Array<unknown> = [
    subject ?? null,
    clampTime(record.modifiedAt) - createdAt,
    clampTime(record.lastSeenAt) - createdAt
  ]
  const isUtf8 = !/\p{Surrogate}/u.test(record.data)
  const optional = [lifetime, isUtf8 ? undefined : record.data, attributes]
  while (optional.length > 0 && optional.at(-1) === undefined) optional.pop()
  metadata.push(...optional.map((one) => one ?? null))
  const text = utf8.encode(`${JSON.stringify(metadata)}\n${isUtf8 ? record.data : ""}`)

  const bytes = new Uint8Array(headerBytes + text.length)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, layout)
  setTime(view, 1, createdAt)
  setTime(view, 7, record.authenticatedAt === undefined ? absent : clampTime(record.authenticatedAt))
  setTime(view, 13, deadline === undefined ? absent : clampTime(deadline))
  setTime(view, 19, clampTime(at))
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

/** Subject, modified, last seen, lifetime, data that UTF-8 cannot encode, attributes. */
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
