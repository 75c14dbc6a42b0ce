import { afterEach, assert, beforeAll, describe, it, vi } from "@effect/vitest"
import { Option } from "effect"
import * as fc from "fast-check"
import type { Suite } from "../../../src/internal/crypto/tokens.js"
import * as wire from "../../../src/internal/crypto/tokens.js"
import { tokenOf, vectors } from "../../support/referenceTokens.js"
import { a, accepted, b, content, contentIn, hex, key, nonce, suites, use } from "../../support/tokens.js"
import { withoutBuiltins } from "../../support/withoutBuiltins.js"

const bytes = (hex: string) => new Uint8Array(Buffer.from(hex, "hex"))

let portable: typeof wire

beforeAll(async () => {
  portable = await withoutBuiltins(() => import("../../../src/internal/crypto/tokens.js"))
})

afterEach(() => {
  vi.restoreAllMocks()
})

const grammar: Readonly<Record<Suite, RegExp>> = {
  e1: /^e1\.[A-Za-z0-9]{1,8}\.[A-Za-z0-9_-]+$/,
  f1: /^f1\.[A-Za-z0-9]{1,8}\.[A-Za-z0-9_-]+$/,
  h1: /^h1\.[A-Za-z0-9]{1,8}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/
}

describe.each([["native", () => wire], ["portable", () => portable]] as const)(
  "%s: the golden vectors",
  (_, module) => {
    for (const vector of vectors) {
      it(`${vector.suite}: ${vector.title}`, () => {
        const tokens = module().tokens([{ id: vector.keyId, secret: bytes(vector.secret) }], vector)
        assert.strictEqual(tokens.write(bytes(vector.content), bytes(vector.nonce)), vector.token)
        assert.strictEqual(contentIn(tokens, vector.token), vector.content)
      })
    }
  }
)

describe("the format", () => {
  it("the golden vectors equal the tokens of the second implementation, which uses node:crypto alone", () => {
    assert.strictEqual(vectors.length, 12)
    for (const vector of vectors) assert.strictEqual(tokenOf(vector, Buffer.from(vector.content, "hex")), vector.token)
  })

  const name = fc.string({ unit: "grapheme", maxLength: 12 })

  it.each(suites)(
    "%s: native, portable and the second implementation agree on any keys, names and bytes",
    (suite) =>
      fc.assert(
        fc.property(
          fc.uint8Array({ minLength: 32, maxLength: 64 }),
          fc.stringMatching(/^[A-Za-z0-9]{1,8}$/),
          fc.uint8Array({ minLength: 24, maxLength: 24 }),
          fc.uint8Array({ maxLength: 200 }),
          fc.constantFrom("seal", "sign"),
          name,
          name,
          (secret, id, nonce, content, purpose, cookieName, audience) => {
            const use = { suite, purpose, cookieName, audience } as const
            const token = wire.tokens([{ id, secret }], use).write(content, nonce)
            assert.match(token, grammar[suite])
            assert.strictEqual(
              token,
              tokenOf({ ...use, keyId: id, secret: hex(secret), nonce: hex(nonce) }, Buffer.from(content))
            )
            const tokens = portable.tokens([{ id, secret }], use)
            assert.strictEqual(tokens.write(content, nonce), token)
            assert.strictEqual(contentIn(tokens, token), hex(content))
          }
        ),
        { numRuns: 300 }
      )
  )

  it.each(suites)("%s: any bytes are read back, including bytes that end like padding", (suite) => {
    const tokens = wire.tokens([a], use(suite))
    const tail = fc.array(fc.constantFrom(0, 0x80, 0xFF), { maxLength: 70 }).map((tail) => Uint8Array.from(tail))
    fc.assert(fc.property(fc.oneof(tail, fc.uint8Array({ maxLength: 500 })), (content) => {
      assert.deepStrictEqual(
        Option.toArray(tokens.read(tokens.write(content))).map(({ content, outdated }) => [hex(content), outdated]),
        [[hex(content), false]]
      )
    }))
  })

  it.each(["e1", "f1"] as const)(
    "%s: content is padded to a multiple of 32 bytes, at least 32",
    (suite) => {
      const tokens = wire.tokens([a], use(suite))
      for (let length = 0; length <= 100; length++) {
        const body = tokens.write(new Uint8Array(length)).slice("e1.a.".length)
        assert.strictEqual(Buffer.from(body, "base64url").length, 24 + 32 * (Math.floor(length / 32) + 1) + 16)
      }
    }
  )

  it("two sealed tokens of the same content differ; signed tokens are equal", () => {
    const distinct = suites.map((suite) => {
      const tokens = wire.tokens([a], use(suite))
      return new Set(Array.from({ length: 1000 }, () => tokens.write(content))).size
    })
    assert.deepStrictEqual(distinct, [1000, 1000, 1])
  })
})

describe("names", () => {
  it.each(suites)("%s: CVE-2019-10911: bytes cannot be moved from one name to the next", (suite) => {
    const pairs: ReadonlyArray<readonly [cookieName: string, audience: string]> = [
      ["ab", "c"],
      ["a", "bc"],
      ["abc", ""],
      ["", "abc"],
      ["a\u0000\u0001b", "c"],
      ["a", "\u0000\u0001bc"],
      ["a\u0000", "\u0003bc"]
    ]
    const made = pairs.map(([cookieName, audience]) => wire.tokens([a], use(suite, { cookieName, audience })))
    const token = made.map((tokens) => tokens.write(content, nonce))
    assert.strictEqual(new Set(token).size, pairs.length)
    made.forEach((tokens, i) => assert.deepStrictEqual(accepted(tokens, token), token.slice(i, i + 1)))
  })

  it.each(suites)("%s: the purpose and the suite are separated too", (suite) => {
    const [one, other] = [
      use(suite, { purpose: "sea", cookieName: "lx" }),
      use(suite, { purpose: "seal", cookieName: "x" })
    ]
    const token = wire.tokens([a], one).write(content)
    assert.deepStrictEqual(accepted(wire.tokens([a], other), [token]), [])
  })

  it.each(suites)("%s: a name that cannot be encoded is rejected", (suite) => {
    for (const name of ["\uD800", "a".repeat(0x10000)]) {
      assert.throws(() => wire.tokens([a], use(suite, { cookieName: name })), RangeError)
      assert.throws(() => wire.tokens([a], use(suite, { audience: name })), RangeError)
    }
  })
})

describe.each(suites)("%s: 5.5, key rotation", (suite) => {
  const of = (...keys: readonly [wire.RootKey, ...ReadonlyArray<wire.RootKey>]) => wire.tokens(keys, use(suite))
  const outdated = (tokens: wire.Tokens, token: string) =>
    Option.getOrUndefined(Option.map(tokens.read(token), ({ outdated }) => outdated))

  it("CVE-2025-47278: only the first key writes tokens", () => {
    for (const ring of [of(a, b), of(a, b, key("c", 3), key("d", 4), key("e", 5)), of(a)]) {
      assert.isTrue(ring.write(content).startsWith(`${suite}.a.`))
    }
    assert.isTrue(of(b, a).write(content).startsWith(`${suite}.b.`))
  })

  it("each key reads its own tokens, and reports whether they are outdated", () => {
    const ring = [a, b, key("c", 3), key("d", 4), key("e", 5)] as const
    const found = ring.map((key) => outdated(of(...ring), of(key).write(content)))
    assert.deepStrictEqual(found, [false, true, true, true, true])
  })

  it("a removed key reads nothing", () => {
    assert.isUndefined(outdated(of(b), of(a).write(content)))
  })

  it("another key with the same id reads nothing", () => {
    assert.isUndefined(outdated(of({ ...b, id: "a" }), of(a).write(content)))
  })

  it("an id that is a prefix of another is a different id", () => {
    const ring = of(key("ab", 3), a)
    assert.strictEqual(outdated(ring, ring.write(content)), false)
    assert.strictEqual(outdated(ring, of(a).write(content)), true)
    const long = of(key("abcdefg1", 4), key("abcdefg2", 5), key("abcdefg", 6))
    const made = [key("abcdefg1", 4), key("abcdefg2", 5), key("abcdefg", 6)].map((key) => of(key).write(content))
    assert.deepStrictEqual(
      made.map((token) => outdated(long, token)),
      [false, true, true]
    )
  })

  it("two servers with different key orders read each other's tokens, 1,000 times", () => {
    const [before, after] = [of(a, b), of(b, a)]
    let token = before.write(content)
    for (let i = 0; i < 1000; i++) {
      assert.strictEqual(contentIn(i % 2 === 0 ? after : before, token), hex(content))
      token = (i % 3 === 0 ? after : before).write(content)
    }
  })
})
