/**
 * What it costs to open and to seal a session in its cookie, against the bare cipher with JSON.
 */
import { Effect, Option, Redacted } from "effect"
import { SessionEngine, SessionId, type SessionRecord } from "effect-session"
import * as CookieEngine from "effect-session/CookieEngine"
import * as Keyring from "effect-session/Keyring"
import { randomBytes } from "node:crypto"
import { xchacha20Poly1305 } from "../src/internal/crypto/cipher.js"
import { compare, print } from "./measure.js"

const cart = Array.from(
  { length: 8 },
  (_, i) => ({ sku: `sku-${i}`, name: `Article number ${i}`, quantity: i + 1, price: 1999 })
)
const value = { user: "u-1", locale: "en", count: 0, cart }
const json = JSON.stringify(value)
const now = Date.now()
const record: SessionRecord = {
  namespace: "bench",
  id: SessionId.fromBytes(randomBytes(16)),
  data: json,
  schemaVersion: 1,
  subject: "u-1",
  version: 1,
  writeId: "bench",
  createdAt: now,
  authenticatedAt: now,
  modifiedAt: now,
  lastSeenAt: now,
  expiry: { at: now + 3_600_000, deadline: now + 86_400_000, lifetime: undefined }
}

const engine = await Effect.runPromise(
  Effect.flatMap(SessionEngine, ({ bind }) => bind({ namespace: "bench", cookieName: "__Host-Http-session" })).pipe(
    Effect.provide(CookieEngine.layer()),
    Effect.provide(Keyring.layer([{ id: "k1", secret: Redacted.make(randomBytes(32).toString("base64url")) }]))
  )
)
const written = await Effect.runPromise(engine.write({ _tag: "Create", record }, now))
if (written._tag !== "Written") throw new Error("not written")

const aead = xchacha20Poly1305(randomBytes(32))
const aad = Buffer.from("__Host-Http-session")
const encode = new TextEncoder()
const decode = new TextDecoder()
const nonce = randomBytes(24)
const sealed = aead.seal(nonce, aad, encode.encode(json))
const text = Buffer.concat([nonce, sealed]).toString("base64url")

console.log(
  `a session of ${json.length} bytes of JSON, in a cookie of ${Redacted.value(written.value).length} characters`
)
print(
  "open",
  await compare({
    "bare: base64url, cipher, JSON.parse": async () => {
      const bytes = Buffer.from(text, "base64url")
      return JSON.parse(decode.decode(aead.open(bytes.subarray(0, 24), aad, bytes.subarray(24))))
    },
    "CookieEngine.open, JSON.parse": async () =>
      JSON.parse(Option.getOrThrow(Effect.runSync(engine.open(written.value, now))).record.data)
  }, { batch: 2000 })
)
print(
  "seal",
  await compare({
    "bare: JSON.stringify, nonce, cipher, base64url": async () => {
      const nonce = randomBytes(24)
      return Buffer.concat([nonce, aead.seal(nonce, aad, encode.encode(JSON.stringify(value)))]).toString("base64url")
    },
    "JSON.stringify, CookieEngine.write": async () =>
      Effect.runSync(engine.write({ _tag: "Create", record: { ...record, data: JSON.stringify(value) } }, now))
  }, { batch: 2000 })
)
