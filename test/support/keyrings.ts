/**
 * Keyrings for tests.
 */
import { Redacted } from "effect"
import * as Keyring from "effect-session/Keyring"

const secretOf = (seed: number) =>
  Redacted.make(
    Buffer.from(Array.from({ length: 32 }, (_, i) => (seed * 37 + i * 101 + i * i * 13) % 256)).toString("base64url")
  )

const key = (id: string, seed: number): Keyring.Key => ({ id, secret: secretOf(seed) })

export const keyringOf = (...keys: ReadonlyArray<Keyring.Key>) => Keyring.layer(keys)
export const firstKey = key("k1", 1)
export const secondKey = key("k2", 2)
