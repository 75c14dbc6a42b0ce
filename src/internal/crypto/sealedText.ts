/**
 * Session data that only the holder of a token can read, bound to the columns of its row that stay until a rotation.
 *
 * ```
 * t1. base64url of: layout u8 = 2 | nonce 24 | ciphertext | tag 16
 * ```
 *
 * The key is derived from the token, so the row of another token never opens. The associated data is the layout, the
 * version, the schema version, the attributes, and {@link identityOf} the record. Rows of 0.5.0 have no layout byte, and bound the version
 * alone.
 */
import * as Option from "effect/Option"
import type { SessionRecord } from "../../SessionRecord.js"
import type { SessionToken } from "../../SessionToken.js"
import { xchacha20Poly1305 } from "./cipher.js"
import { decodeBase64Url, encodeBase64Url, hkdfSha256, lengthPrefixed, randomBytes } from "./primitives.js"
import { unsafeBytes } from "./sessionToken.js"

const nonceBytes = 24
const tagBytes = 16
const mark = "t1."
const layout = 2

const utf8 = new TextEncoder()
const fromUtf8 = new TextDecoder("utf-8", { ignoreBOM: true })
const nothing = new Uint8Array(0)

/** The columns that neither a save nor a touch changes, on one line. */
export const identityOf = (
  { authenticatedAt, createdAt, expiry: { deadline }, id, namespace, subject }: SessionRecord
): string => JSON.stringify([namespace, id, subject, createdAt, authenticatedAt, deadline])

/** The version, the schema version and the attributes on one line. Without attributes the line is that of earlier versions. */
export const versionsOf = (version: number, { attributes, schemaVersion }: SessionRecord): string =>
  `${version} ${schemaVersion}${attributes === undefined ? "" : ` ${JSON.stringify(attributes)}`}`

const boundTo = (version: number, record: SessionRecord): Uint8Array =>
  utf8.encode(`${mark}${layout}\n${versionsOf(version, record)}\n${identityOf(record)}`)

/** Seals the data of the records of a namespace, each under a key that is derived from its token. */
export const make = (namespace: string) => {
  const info = lengthPrefixed("effect-session", "t1", "rest", namespace)
  const cipherOf = (token: SessionToken) => xchacha20Poly1305(hkdfSha256(unsafeBytes(token), nothing, info))
  const unsealed = (token: SessionToken, bound: Uint8Array, bytes: Uint8Array): Uint8Array | undefined =>
    bytes.length < nonceBytes + tagBytes
      ? undefined
      : cipherOf(token).open(bytes.subarray(0, nonceBytes), bound, bytes.subarray(nonceBytes))
  const bytesOf = ({ data }: SessionRecord): Uint8Array =>
    (data.startsWith(mark) ? decodeBase64Url(data.slice(mark.length)) : undefined) ?? nothing
  return {
    /** The data of a record as the row of this version keeps it. */
    seal: (token: SessionToken, version: number, record: SessionRecord): string => {
      const nonce = randomBytes(nonceBytes)
      const sealed = cipherOf(token).seal(nonce, boundTo(version, record), utf8.encode(record.data))
      const bytes = new Uint8Array(1 + nonceBytes + sealed.length)
      bytes[0] = layout
      bytes.set(nonce, 1)
      bytes.set(sealed, 1 + nonceBytes)
      return mark + encodeBase64Url(bytes)
    },
    /** The data of a row. Nothing if it, or one of the columns that it is bound to, is not what was sealed. */
    open: (token: SessionToken, row: SessionRecord): Option.Option<string> => {
      const bytes = bytesOf(row)
      return bytes[0] === layout
        ? Option.map(
          Option.fromNullable(unsealed(token, boundTo(row.version, row), bytes.subarray(1))),
          (plain) => fromUtf8.decode(plain)
        )
        : Option.none()
    },
    /** Whether 0.5.0 sealed the row, so that whose it is was never bound. */
    isUnbound: (token: SessionToken, row: SessionRecord): boolean =>
      unsealed(token, lengthPrefixed(mark, String(row.version)), bytesOf(row)) !== undefined
  }
}

export type SealedText = ReturnType<typeof make>
