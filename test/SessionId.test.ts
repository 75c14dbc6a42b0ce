import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Option } from "effect"
import * as SessionId from "effect-session/SessionId"
import * as SessionToken from "effect-session/SessionToken"
import * as StoreKey from "effect-session/StoreKey"
import * as fc from "fast-check"
import * as Ids from "../src/internal/domain/id.js"

const bytes = fc.uint8Array({ minLength: 16, maxLength: 16 })

describe("fromBytes", () => {
  it("encodes 16 bytes as 22 characters of base64url", () =>
    fc.assert(
      fc.property(bytes, (bytes) => assert.strictEqual(Ids.fromBytes(bytes), Buffer.from(bytes).toString("base64url")))
    ))

  it("encodes different bytes to different ids", () =>
    fc.assert(fc.property(bytes, bytes, (a, b) =>
      assert.strictEqual(
        Ids.fromBytes(a) === Ids.fromBytes(b),
        Buffer.from(a).equals(Buffer.from(b))
      ))))

  it("rejects any other number of bytes", () => {
    for (const length of [0, 15, 17, 32]) assert.throws(() => Ids.fromBytes(new Uint8Array(length)), RangeError)
  })
})

describe("parse", () => {
  it("accepts the result of fromBytes", () =>
    fc.assert(fc.property(bytes, (bytes) => {
      const id = Ids.fromBytes(bytes)
      assert.strictEqual(Option.getOrUndefined(SessionId.parse(id)), id)
    })))

  it("rejects anything but 22 characters of base64url", () => {
    const id = "A".repeat(22)
    for (
      const value of ["", id.slice(1), `${id}A`, `${id}\n`, ` ${id}`, `${id.slice(1)}=`, `${id.slice(1)}+`, `${id}==`]
    ) {
      assert.isTrue(Option.isNone(SessionId.parse(value)), JSON.stringify(value))
    }
  })

  it("rejects tokens and store keys, and their parsers reject session ids", () => {
    const id = Ids.fromBytes(new Uint8Array(16))
    assert.isTrue(Option.isNone(SessionToken.parse(id)))
    assert.isTrue(Option.isNone(SessionToken.parse(`r1.${id}`)))
    assert.isTrue(Option.isNone(StoreKey.parse(id)))
    assert.isTrue(Option.isNone(SessionId.parse(`r1.${"A".repeat(43)}`)))
    assert.isTrue(Option.isNone(SessionId.parse("A".repeat(43))))
    expectTypeOf(id).not.toExtend<StoreKey.StoreKey>()
  })
})
