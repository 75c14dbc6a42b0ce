/**
 * Hashes of passwords, by scrypt.
 */
import { Effect, Redacted } from "effect"
import { randomBytes, scrypt, timingSafeEqual } from "node:crypto"

/** As OWASP recommends: 32 MiB and three passes, for each login. */
const cost = { N: 2 ** 15, r: 8, p: 3, maxmem: 64 * 1024 * 1024 }

const derive = (password: Redacted.Redacted<string>, salt: Buffer) =>
  Effect.async<Buffer>((resume) =>
    scrypt(
      Redacted.value(password).normalize("NFKC"),
      salt,
      32,
      cost,
      (error, key) => resume(error === null ? Effect.succeed(key) : Effect.die(error))
    )
  )

/** Returns the salt and the hash, as text for a database. */
export const hash = (password: Redacted.Redacted<string>): Effect.Effect<string> => {
  const salt = randomBytes(16)
  return Effect.map(derive(password, salt), (key) => `${salt.toString("base64url")}.${key.toString("base64url")}`)
}

/** Compares in constant time. */
export const verify = (password: Redacted.Redacted<string>, hashed: string): Effect.Effect<boolean> => {
  const [salt = "", expected = ""] = hashed.split(".")
  return Effect.map(
    derive(password, Buffer.from(salt, "base64url")),
    (key) => timingSafeEqual(key, Buffer.from(expected.padEnd(43, "A"), "base64url").subarray(0, 32))
  )
}
