import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Option } from "effect"
import type { SessionId } from "effect-session/SessionId"
import * as SessionToken from "effect-session/SessionToken"
import * as StoreKey from "effect-session/StoreKey"
import * as fc from "fast-check"
import { createHash } from "node:crypto"

describe("parse", () => {
  it("accepts every SHA-256 hash in base64url and returns it unchanged", () =>
    fc.assert(fc.property(fc.uint8Array(), (bytes) => {
      const hash = createHash("sha256").update(bytes).digest("base64url")
      assert.strictEqual(Option.getOrThrow(StoreKey.parse(hash)), hash)
    })))

  it("keys that differ in case or in one character are different", () => {
    const key = "a".repeat(43)
    const others = [key.toUpperCase(), `${key.slice(1)}b`, `A${key.slice(1)}`]
    const read = [key, ...others].map((value) => Option.getOrThrow(StoreKey.parse(value)))
    assert.strictEqual(new Set<string>(read).size, 4)
  })

  it("rejects text that is not 43 characters of base64url", () => {
    const key = "a".repeat(43)
    const malformed = ["", key.slice(1), `${key}a`, `${key}\n`, `${key}=`, `${key.slice(1)}=`, `../${key.slice(3)}`]
    for (
      const value of [...malformed, `${key.slice(1)}/`, `${key.slice(1)}\u0000`, `${key.slice(1)}\u00E9`, ` ${key}`]
    ) {
      assert.isTrue(Option.isNone(StoreKey.parse(value)), JSON.stringify(value))
    }
  })

  it("a store key cannot be used as a token", () =>
    fc.assert(fc.property(fc.uint8Array(), (bytes) => {
      const hash = createHash("sha256").update(bytes).digest("base64url")
      const key = Option.getOrThrow(StoreKey.parse(hash))
      assert.isTrue(Option.isNone(SessionToken.parse(key)))
      expectTypeOf(key).not.toExtend<SessionToken.SessionToken>()
      expectTypeOf(key).not.toExtend<SessionId>()
    })))
})
