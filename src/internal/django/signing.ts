/**
 * The signed text in which Django keeps a session: `payload:timestamp:signature`.
 *
 * Source: `django.core.signing` and `django.contrib.sessions.backends.base`, whose format is the same from Django 3.1 on.
 */
import * as Effect from "effect/Effect"
import { encodeHex } from "effect/Encoding"
import * as Redacted from "effect/Redacted"
import { decodeLenient, encodeBase64Url, equals, hmacSha256, sha256Bytes } from "../crypto/primitives.js"

/** The salt of a text, by the class that writes it. */
export const salts = {
  /** `SessionStore` of the engines `db`, `cached_db` and `file`: the qualified name of the class. */
  sessionStore: "django.contrib.sessions.SessionStore",
  signedCookies: "django.contrib.sessions.backends.signed_cookies"
} as const

/** The secrets of Django: `SECRET_KEY` signs; it and each of `SECRET_KEY_FALLBACKS` verify. */
export interface Secrets {
  readonly secretKey: Redacted.Redacted<string>
  readonly fallbacks: ReadonlyArray<Redacted.Redacted<string>>
}

/** The maximum length of the JSON of one session, in bytes: inflating stops there. */
export const maxJsonBytes = 1024 * 1024

/** A text whose signature is valid. */
export interface Verified {
  readonly _tag: "Verified"
  /** The JSON, one character for each byte. */
  readonly json: string
  /** When the text was signed, in seconds since the epoch. */
  readonly signedAt: number
  readonly signature: string
  /** The position of the secret that verified it: 0 for `SECRET_KEY`. */
  readonly secret: number
}

/** A text that Django would not accept either, or that is too large. The reason continues the sentence "Its text …". */
export interface Rejected {
  readonly _tag: "Rejected"
  readonly reason: string
  /** The signature is valid, but its payload is not. */
  readonly isSigned: boolean
}

/** Signs and verifies the texts of one salt. */
export interface Signer {
  /** Signs a JSON text, one character for each byte, which is compressed if that makes it shorter. `now` in milliseconds. */
  readonly sign: (json: string, now: number) => Effect.Effect<string>
  /** Verifies a text with each secret, and returns its JSON. */
  readonly verify: (text: string) => Effect.Effect<Verified | Rejected>
  /** Derives 32 secret bytes from a verified text, with the secret that verified it. */
  readonly secretOf: (text: string, verified: Verified) => Uint8Array
}

const utf8 = new TextEncoder()
const latin1 = new TextDecoder("latin1")

/** The MAC of `salted_hmac`: its key is the hash of a salt and the secret. */
const saltedHmac = (salt: string, secret: Redacted.Redacted<string>): (text: string) => Uint8Array => {
  const key = sha256Bytes(utf8.encode(salt + Redacted.value(secret)))
  return (text) => hmacSha256(key, utf8.encode(text))
}

export const make = ({ fallbacks, secretKey }: Secrets, salt: string): Signer => {
  const macOf = (secret: Redacted.Redacted<string>) => saltedHmac(`${salt}signer`, secret)
  const current = macOf(secretKey)
  const macs = [current, ...fallbacks.map(macOf)]
  const derived = [secretKey, ...fallbacks].map((secret) => saltedHmac(`effect-session/${salt}`, secret))
  return {
    secretOf: (text, { secret }) => derived[secret]?.(text) ?? new Uint8Array(),
    sign: (json, now) =>
      Effect.map(payloadOf(json), (payload) => {
        const value = `${payload}:${toBase62(Math.floor(now / 1000))}`
        return `${value}:${encodeBase64Url(current(value))}`
      }),
    verify: (text) => {
      const [value, signature] = splitLast(text)
      const [payload, timestamp] = splitLast(value)
      const presented = utf8.encode(signature)
      // Django compares the text of the signature: another encoding of the same bytes is not valid.
      const secret = macs.findIndex((mac) => equals(utf8.encode(encodeBase64Url(mac(value))), presented))
      const signedAt = fromBase62(timestamp)
      if (secret < 0) return Effect.succeed(rejected("has no signature of these secret keys and this salt", false))
      if (signedAt === undefined || !value.includes(":")) return Effect.succeed(rejected("is signed, but has no time"))
      return Effect.map(
        jsonOf(payload),
        (json) => typeof json === "string" ? { _tag: "Verified", json, signedAt, signature, secret } : json
      )
    }
  }
}

const rejected = (reason: string, isSigned = true): Rejected => ({ _tag: "Rejected", reason, isSigned })

/** The signature of a signed text. */
export const signatureOf = (text: string): string => splitLast(text)[1]

/** Splits a text at its last colon. */
const splitLast = (text: string): readonly [before: string, after: string] => {
  const at = text.lastIndexOf(":")
  return at < 0 ? ["", text] : [text.slice(0, at), text.slice(at + 1)]
}

// ---- the payload

const payloadOf = (json: string): Effect.Effect<string> => {
  const bytes = Uint8Array.from(json, (character) => character.charCodeAt(0))
  return Effect.map(
    Effect.promise(() => collect(bytes, new CompressionStream("deflate"), Infinity)),
    (compressed) =>
      compressed !== undefined && compressed.length < bytes.length - 1
        ? `.${encodeBase64Url(compressed)}`
        : encodeBase64Url(bytes)
  )
}

const jsonOf = (payload: string): Effect.Effect<string | Rejected> => {
  const isCompressed = payload.startsWith(".")
  const bytes = decodeLenient(isCompressed ? payload.slice(1) : payload, "base64url")
  if (bytes === undefined) return Effect.succeed(rejected("is signed, but is not base64url"))
  if (!isCompressed) return Effect.succeed(latin1Of(bytes))
  return Effect.match(Effect.tryPromise(() => collect(bytes, new DecompressionStream("deflate"), maxJsonBytes)), {
    onFailure: () => rejected("is signed, but cannot be inflated"),
    onSuccess: (inflated) =>
      inflated === undefined ? rejected(`inflates to more than ${maxJsonBytes} bytes`) : latin1Of(inflated)
  })
}

/** Passes bytes through a stream, and collects at most `most` bytes; `undefined` if there are more. */
const collect = async (
  bytes: Uint8Array,
  through: CompressionStream | DecompressionStream,
  most: number
): Promise<Uint8Array | undefined> => {
  const writer = through.writable.getWriter()
  // The reader reports what fails here.
  Promise.all([writer.write(new Uint8Array(bytes)), writer.close()]).catch(() => undefined)
  const reader: ReadableStreamDefaultReader<Uint8Array> = through.readable.getReader()
  const chunks: Array<Uint8Array> = []
  let length = 0
  while (true) {
    const { done, value } = await reader.read()
    if (done) break
    length += value.length
    if (length > most) {
      await reader.cancel()
      return undefined
    }
    chunks.push(value)
  }
  const all = new Uint8Array(length)
  let offset = 0
  for (const chunk of chunks) {
    all.set(chunk, offset)
    offset += chunk.length
  }
  return all
}

/** One character for each byte. A `TextDecoder` of "latin1" would decode 32 of them as Windows-1252. */
const latin1Of = (bytes: Uint8Array): string => {
  const text = latin1.decode(bytes)
  return /[^\x00-\x7F]/.test(text) ? Array.from(bytes, (byte) => String.fromCharCode(byte)).join("") : text
}

// ---- base 62

const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

/** Encodes an integer as Django does: digits, capital letters, small letters. */
export const toBase62 = (number: number): string => {
  if (number < 0) return `-${toBase62(-number)}`
  let text = ""
  for (let rest = number; rest > 0; rest = Math.floor(rest / 62)) text = digits.charAt(rest % 62) + text
  return text === "" ? "0" : text
}

/** Decodes an integer; `undefined` if the text is none, or too large. A sign without digits is 0, as for Django. */
export const fromBase62 = (text: string): number | undefined => {
  const isNegative = text.startsWith("-")
  let number = 0
  for (const character of isNegative ? text.slice(1) : text) {
    const digit = digits.indexOf(character)
    if (digit < 0) return undefined
    number = number * 62 + digit
  }
  return text !== "" && Number.isSafeInteger(number) ? isNegative ? 0 - number : number : undefined
}

// ---- the login

const authSalt = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"

/**
 * Makes the function that computes, from the `password` column of a user, the hash that Django keeps in the session of a login: one for
 * each secret, that of `SECRET_KEY` first. A login is valid as long as the session has one of them, so a new password ends it.
 */
export const authHashes = ({ fallbacks, secretKey }: Secrets): (password: string) => ReadonlyArray<string> => {
  const macs = [secretKey, ...fallbacks].map((secret) => saltedHmac(authSalt, secret))
  return (password) => macs.map((mac) => encodeHex(mac(password)))
}

/** Compares two texts in constant time. */
export const sameText = (a: string, b: string): boolean => equals(utf8.encode(a), utf8.encode(b))
