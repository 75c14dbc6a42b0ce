/**
 * Encrypts session data with a key derived from the token, and binds it to the columns of its row that change only by a rotation.
 *
 * ```
 * t1. base64url of: layout u8 = 2 | nonce 24 | ciphertext | tag 16
 * ```
 *
 * A row can be decrypted with its own token only. The associated data is the layout, the version, the schema version, the attributes, and
 * {@link identityOf} the record. Rows of 0.5.0 have no layout byte, and bind the version alone.
 */
import * as Option from "effect/Option"
import type { SessionRecord } from "../../SessionRecord.js"
import type { SessionToken } from "../../SessionToken.js"
import { xchacha20Poly1305 } from "./cipher.js"
import { decodeBase64Url, encodeBase64Url, hkdfSha256, lengthPrefixed, randomBytes } from "./primitives.js"
import { unsafeBytes } from "./sessionToken.js"

const nonceBytes = 24
const tagBytes = 16
const prefix = "t1."
const layout = 2

const utf8 = new TextEncoder()
const fromUtf8 = new TextDecoder("utf-8", { ignoreBOM: true })
const nothing = new Uint8Array(0)

/** The columns that neither a save nor a touch changes, as one line. */
export const identityOf = (
  { authenticatedAt, createdAt, expiry: { deadline }, id, namespace, subject }: SessionRecord
): string => JSON.stringify([namespace, id, subject, createdAt, authenticatedAt, deadline])

/** The version, the schema version and the attributes as one line. Without attributes the line is the same as in earlier releases. */
export const versionsOf = (version: number, { attributes, schemaVersion }: SessionRecord): string =>
  `${version} ${schemaVersion}${attributes === undefined ? "" : ` ${JSON.stringify(attributes)}`}`

const boundTo = (version: number, record: SessionRecord): Uint8Array =>
  utf8.encode(`${prefix}${layout}\n${versionsOf(version, record)}\n${identityOf(record)}`)

/** Seals the data of the records of a namespace, each with a key derived from its token. */
export const make = (namespace: string) => {
  const info = lengthPrefixed("effect-session", "t1", "rest", namespace)
  const cipherOf = (token: SessionToken) => xchacha20Poly1305(hkdfSha256(unsafeBytes(token), nothing, info))
  const unsealed = (token: SessionToken, bound: Uint8Array, bytes: Uint8Array): Uint8Array | undefined =>
    bytes.length < nonceBytes + tagBytes
      ? undefined
      : cipherOf(token).open(bytes.subarray(0, nonceBytes), bound, bytes.subarray(nonceBytes))
  const bytesOf = ({ data }: SessionRecord): Uint8Array =>
    (data.startsWith(prefix) ? decodeBase64Url(data.slice(prefix.length)) : undefined) ?? nothing
  return {
    /** Returns the sealed data of a record for the row with this version. */
    seal: (token: SessionToken, version: number, record: SessionRecord): string => {
      const nonce = randomBytes(nonceBytes)
      const sealed = cipherOf(token).seal(nonce, boundTo(version, record), utf8.encode(record.data))
      const bytes = new Uint8Array(1 + nonceBytes + sealed.length)
      bytes[0] = layout
      bytes.set(nonce, 1)
      bytes.set(sealed, 1 + nonceBytes)
      return prefix + encodeBase64Url(bytes)
    },
    /** Returns the data of a row; `None` if the data or one of the bound columns was changed. */
    open: (token: SessionToken, row: SessionRecord): Option.Option<string> => {
      const bytes = bytesOf(row)
      return bytes[0] === layout
        ? Option.map(
          Option.fromNullable(unsealed(token, boundTo(row.version, row), bytes.subarray(1))),
          (plain) => fromUtf8.decode(plain)
        )
        : Option.none()
    },
    /** Whether the row was sealed by 0.5.0, which did not bind the identity of the record. */
    isUnbound: (token: SessionToken, row: SessionRecord): boolean =>
      unsealed(token, lengthPrefixed(prefix, String(row.version)), bytesOf(row)) !== undefined
  }
}

export type SealedText = ReturnType<typeof make>
