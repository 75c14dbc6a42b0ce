/**
 * Keys that look random and are the same in each run, and the errors of a keyring.
 */
import { Effect, Redacted } from "effect"
import * as Keyring from "effect-session/Keyring"
import { SessionConfigError } from "effect-session/SessionConfigError"
import { createHash } from "node:crypto"
import { assert } from "vitest"

/** Bytes derived from a seed, up to 96. */
export const bytesOf = (seed: string, length = 32) =>
  Buffer.concat([createHash("sha256").update(seed).digest(), createHash("sha512").update(seed).digest()]).subarray(
    0,
    length
  )

export const base64url = (seed: string, length?: number) => bytesOf(seed, length).toString("base64url")
export const hex = (seed: string, length?: number) => bytesOf(seed, length).toString("hex")

export const key = (id: string, secret = base64url(id)): Keyring.Key => ({ id, secret: Redacted.make(secret) })

/** The problem with which a keyring rejects keys. */
export const rejectionOf = (keys: ReadonlyArray<Keyring.Key>) =>
  Effect.map(Effect.flip(Keyring.make(keys)), (error) => {
    assert.instanceOf(error, SessionConfigError)
    assert.strictEqual(error.subject, "Keyring")
    assert.strictEqual(error.message, `Keyring: ${error.problem} (help: keyring-invalid)`)
    return error.problem
  })

/** Checks that the text contains no six characters of the secret in a row. */
export const assertNoSecret = (shown: string, secret: string) => {
  for (let i = 0; i + 6 <= secret.length; i++) assert.notInclude(shown, secret.slice(i, i + 6))
}
