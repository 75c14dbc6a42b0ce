import { afterEach, assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as fc from "fast-check"
import { deflateSync } from "node:zlib"
import * as Signing from "../../../src/internal/django/signing.js"
import { pythonJson, signedText, signer } from "../../support/djangoTexts.js"

const verify = (text: string, by = signer) => Effect.runPromise(by.verify(text))

const verified = async (text: string, by = signer) => {
  const result = await verify(text, by)
  return result._tag === "Verified" ? result : assert.fail(result.reason)
}

const reasonOf = async (text: string) => {
  const result = await verify(text)
  return result._tag === "Rejected" ? result.reason : assert.fail("it was accepted")
}

/** Signed data whose payload is compressed. */
const compressed = (bytes: Uint8Array) => signedText(`.${Buffer.from(bytes).toString("base64url")}:1`)

const signed = (payload: string | Uint8Array) => signedText(`${Buffer.from(payload).toString("base64url")}:1`)

describe("the keys", () => {
  const secrets = ["first", "second", "ключ 🔑 é", "fourth"] as const
  const of = (...[secretKey = "", ...fallbacks]: ReadonlyArray<string>) =>
    Signing.make(
      { secretKey: Redacted.make(secretKey), fallbacks: fallbacks.map((secret) => Redacted.make(secret)) },
      "a salt"
    )

  it("the first one signs, each verifies, and its position is reported", () =>
    fc.assert(fc.asyncProperty(fc.shuffledSubarray([...secrets], { minLength: 1 }), pythonJson, async (some, json) => {
      const text = await Effect.runPromise(of(...some).sign(Buffer.from(json).toString("latin1"), 1_767_225_600_999))
      for (const secret of secrets) {
        const result = await verify(text, of(secret))
        assert.strictEqual(result._tag, secret === some[0] ? "Verified" : "Rejected")
      }
      for (const [position, secret] of some.entries()) {
        const result = await verified(await Effect.runPromise(of(secret).sign("{}", 0)), of(...some))
        assert.deepInclude(result, { secret: position, json: "{}", signedAt: 0 })
      }
      assert.strictEqual((await verified(text, of(...some))).signedAt, 1_767_225_600)
    })))

  it("a text of another salt is rejected", async () => {
    const text = await Effect.runPromise(
      Signing.make({ secretKey: Redacted.make("first"), fallbacks: [] }, "b").sign("{}", 0)
    )
    assert.strictEqual((await verify(text, of("first")))._tag, "Rejected")
  })
})

describe("inflating", () => {
  afterEach(() => {
    globalThis.DecompressionStream = Native
  })
  const Native = globalThis.DecompressionStream

  /** Counts the bytes that leave the decompression streams from here on. */
  const countInflated = (): () => number => {
    let count = 0
    globalThis.DecompressionStream = new Proxy(Native, {
      construct: (Stream, [format]: [CompressionFormat]) => {
        const { readable, writable } = new Stream(format)
        const counting = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
          transform: (chunk, controller) => {
            count += chunk.length
            controller.enqueue(chunk)
          }
        })
        return { readable: readable.pipeThrough(counting), writable }
      }
    })
    return () => count
  }

  const most = Signing.maxJsonBytes

  it("1 MiB is accepted, and one byte more is rejected", async () => {
    const inflated = countInflated()
    const { json } = await verified(compressed(deflateSync(Buffer.alloc(most, "a"))))
    assert.isTrue(json === "a".repeat(most))
    assert.strictEqual(inflated(), most)
    assert.strictEqual(
      await reasonOf(compressed(deflateSync(Buffer.alloc(most + 1, "a")))),
      "inflates to more than 1048576 bytes"
    )
  })

  it("stops soon after the limit for a payload that inflates to 100 MiB", async () => {
    const inflated = countInflated()
    assert.strictEqual(
      await reasonOf(compressed(deflateSync(Buffer.alloc(100 * most)))),
      "inflates to more than 1048576 bytes"
    )
    assert.isAbove(inflated(), most)
    assert.isBelow(inflated(), 2 * most)
  })

  const whole = deflateSync(Buffer.from("{\"a\":\"b\"}".repeat(20)))
  const changed = Buffer.from(whole)
  changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1
  it.each(
    [
      ["nothing", Buffer.alloc(0)],
      ["no zlib data", Buffer.from("no zlib data")],
      ["a part of the data", whole.subarray(0, -9)],
      ["a wrong checksum", changed],
      ["a preset dictionary", deflateSync(Buffer.from("hello"), { dictionary: Buffer.from("hello") })],
      ["raw deflate data", whole.subarray(2)]
    ] as const
  )("%s is rejected, and leaves no unhandled rejection", async (_, bytes) => {
    const unhandled: Array<unknown> = []
    const note = (error: unknown) => unhandled.push(error)
    process.on("unhandledRejection", note)
    try {
      assert.strictEqual(await reasonOf(compressed(bytes)), "is signed, but cannot be inflated")
      // Node reports a rejection before it runs the next macrotask.
      await new Promise(setImmediate)
      assert.deepStrictEqual(unhandled, [])
    } finally {
      process.off("unhandledRejection", note)
    }
  })
})

describe("the payload", () => {
  it("has one character for each byte", async () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte)
    const { json } = await verified(signed(bytes))
    assert.deepStrictEqual(Array.from(json, (character) => character.charCodeAt(0)), [...bytes])
  })

  it("keeps any bytes through signing and verifying", () =>
    fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 600 }), fc.nat({ max: 3 }), async (bytes, times) => {
      const json = Buffer.from(bytes).toString("latin1").repeat(times)
      assert.strictEqual((await verified(await Effect.runPromise(signer.sign(json, 0)))).json, json)
    })))

  it("is compressed if that makes it shorter by at least two bytes", () =>
    fc.assert(fc.asyncProperty(fc.nat({ max: 40 }), async (length) => {
      const json = `{"a":"${"a".repeat(length)}"}`
      const text = await Effect.runPromise(signer.sign(json, 0))
      assert.strictEqual(text.startsWith(".eJ"), deflateSync(Buffer.from(json)).length < json.length - 1)
    })))
})

describe("base 62", () => {
  it.each([[0, "0"], [9, "9"], [35, "Z"], [61, "z"], [62, "10"], [1_767_225_600, "1vb66i"], [-1, "-1"]] as const)(
    "encodes %d as %s, and decodes it",
    (number, text) => {
      assert.strictEqual(Signing.toBase62(number), text)
      assert.strictEqual(Signing.fromBase62(text), number)
    }
  )

  it.each(["", "+1", "1.0", " 1", "1_", "--1", "1-", "é", "zzzzzzzzzzz"])(
    "rejects %j, which is no safe integer",
    (text) => assert.isUndefined(Signing.fromBase62(text))
  )
})
