/**
 * A second implementation of the wire format, written from its description on node:crypto alone. Tests compare the tokens of the
 * library with it, and it generated `test/fixtures/vectors.json`.
 */
import type { SessionRecord } from "effect-session/SessionRecord"
import type { CipherChaCha20Poly1305, CipherGCM } from "node:crypto"
import { createCipheriv, createHmac, hkdfSync } from "node:crypto"
import { readFileSync } from "node:fs"

export interface Vector {
  readonly title: string
  readonly suite: "e1" | "f1" | "h1"
  readonly purpose: "seal" | "sign"
  readonly keyId: string
  /** All bytes are in hex. */
  readonly secret: string
  readonly cookieName: string
  readonly audience: string
  readonly nonce: string
  /** Absent fields are null. */
  readonly record: {
    readonly namespace: string
    readonly id: string
    readonly data: string
    readonly schemaVersion: number
    readonly subject: string | null
    readonly version: number
    readonly createdAt: number
    readonly authenticatedAt: number | null
    readonly modifiedAt: number
    readonly lastSeenAt: number
    readonly at: number
    readonly deadline: number | null
    readonly lifetime: NonNullable<SessionRecord["expiry"]["lifetime"]> | null
  }
  readonly content: string
  readonly token: string
}

/** The golden vectors. A lone surrogate is written with two backslashes there, because formatters reject it with one. */
export const vectors: ReadonlyArray<Vector> = JSON.parse(
  readFileSync("test/fixtures/vectors.json", "utf8").replaceAll(String.raw`\\ud800`, String.raw`\ud800`)
)

const time = (value: number | null): Buffer => {
  const bytes = Buffer.alloc(6, 0xFF)
  if (value !== null) bytes.writeUIntBE(value, 0, 6)
  return bytes
}

const unsigned = (value: number, bytes: number): Buffer => {
  const buffer = Buffer.alloc(bytes)
  buffer.writeUIntBE(value, 0, bytes)
  return buffer
}

/** The content of a record's token. */
export const contentOf = (record: Vector["record"]): Buffer => {
  const whole = Buffer.from(record.data).toString() === record.data
  const metadata = [record.subject, record.modifiedAt - record.createdAt, record.lastSeenAt - record.createdAt]
  const more = whole ? record.lifetime === null ? [] : [record.lifetime] : [record.lifetime, record.data]
  return Buffer.concat([
    Buffer.of(1),
    time(record.createdAt),
    time(record.authenticatedAt),
    time(record.deadline),
    time(record.at),
    Buffer.from(record.id, "base64url"),
    unsigned(record.version, 4),
    unsigned(record.schemaVersion, 2),
    Buffer.from(JSON.stringify([...metadata, ...more])),
    Buffer.from("\n"),
    Buffer.from(whole ? record.data : "")
  ])
}

const behindLength = (part: string | Buffer): Buffer => {
  const bytes = Buffer.from(part)
  return Buffer.concat([unsigned(bytes.length, 2), bytes])
}

const padded = (content: Buffer): Buffer => {
  const marked = Buffer.concat([content, Buffer.of(0x80)])
  return Buffer.concat([marked, Buffer.alloc((32 - marked.length % 32) % 32)])
}

/** The token of a content. */
export const tokenOf = (
  { audience, cookieName, keyId, nonce, purpose, secret, suite }: Omit<
    Vector,
    "record" | "token" | "title" | "content"
  >,
  content: Buffer
): string => {
  const prefix = `${suite}.${keyId}.`
  const info = Buffer.concat(["effect-session", suite, purpose, keyId, cookieName, audience].map(behindLength))
  const aad = Buffer.concat([Buffer.from(prefix), behindLength(cookieName), behindLength(audience)])
  const salt = Buffer.from(nonce, "hex")
  const key = (salt: Uint8Array) => Buffer.from(hkdfSync("sha256", Buffer.from(secret, "hex"), salt, info, 32))
  const sealed = (cipher: CipherChaCha20Poly1305 | CipherGCM) => {
    const text = padded(content)
    cipher.setAAD(aad, { plaintextLength: text.length })
    const body = Buffer.concat([cipher.update(text), cipher.final()])
    return prefix + Buffer.concat([salt, body, cipher.getAuthTag()]).toString("base64url")
  }
  switch (suite) {
    case "e1": {
      const subkey = hchacha20(key(Buffer.alloc(0)), salt.subarray(0, 16))
      const rest = Buffer.concat([Buffer.alloc(4), salt.subarray(16)])
      return sealed(createCipheriv("chacha20-poly1305", subkey, rest, { authTagLength: 16 }))
    }
    case "f1":
      return sealed(createCipheriv("aes-256-gcm", key(salt), Buffer.alloc(12)))
    case "h1": {
      const text = content.toString("base64url")
      const mac = createHmac("sha256", key(Buffer.alloc(0))).update(behindLength(aad)).update(text)
      return `${prefix}${text}.${mac.digest("base64url")}`
    }
  }
}

/** Section 2.2 of draft-irtf-cfrg-xchacha-03, word by word. */
export const hchacha20 = (key: Uint8Array, nonce: Uint8Array): Buffer => {
  const input = Buffer.concat([Buffer.from("expand 32-byte k"), key, nonce])
  const state = Array.from({ length: 16 }, (_, i) => input.readUInt32LE(4 * i))
  const at = (i: number) => state[i] ?? 0
  const mix = (a: number, b: number, c: number, bits: number) => {
    state[a] = (at(a) + at(b)) >>> 0
    const word = at(c) ^ at(a)
    state[c] = (word << bits | word >>> (32 - bits)) >>> 0
  }
  const quarterRound = (a: number, b: number, c: number, d: number) => {
    mix(a, b, d, 16)
    mix(c, d, b, 12)
    mix(a, b, d, 8)
    mix(c, d, b, 7)
  }
  for (let round = 0; round < 10; round++) {
    for (const i of [0, 1, 2, 3]) quarterRound(i, i + 4, i + 8, i + 12)
    for (const i of [0, 1, 2, 3]) quarterRound(i, (i + 1) % 4 + 4, (i + 2) % 4 + 8, (i + 3) % 4 + 12)
  }
  const output = Buffer.alloc(32)
  for (const i of [0, 1, 2, 3]) {
    output.writeUInt32LE(at(i), 4 * i)
    output.writeUInt32LE(at(i + 12), 16 + 4 * i)
  }
  return output
}
