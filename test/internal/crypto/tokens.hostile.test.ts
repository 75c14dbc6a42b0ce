import { afterEach, assert, describe, it, vi } from "@effect/vitest"
import { Option } from "effect"
import * as fc from "fast-check"
import type { Use } from "../../../src/internal/crypto/tokens.js"
import * as wire from "../../../src/internal/crypto/tokens.js"
import { a, accepted, b, content, contentIn, flipped, hex, key, nonce, suites, use } from "../../support/tokens.js"

afterEach(() => {
  vi.restoreAllMocks()
})

describe.each(suites)("%s: ASVS 7.2.1, only the token itself is accepted", (suite) => {
  const tokens = wire.tokens([a], use(suite))
  const token = tokens.write(content, nonce)
  const prefix = `${suite}.a.`
  const body = token.slice(prefix.length)

  it("the token is accepted", () => assert.strictEqual(contentIn(tokens, token), hex(content)))

  it("a change of any bit of its text is rejected", () => {
    const others = flipped(Buffer.from(token, "latin1")).map((other) => Buffer.from(other).toString("latin1"))
    assert.strictEqual(others.length, token.length * 8)
    assert.deepStrictEqual(accepted(tokens, others), [])
  })

  it("a change of any bit of its bytes is rejected", () => {
    const others = body.split(".").flatMap((part, index, parts) =>
      flipped(Buffer.from(part, "base64url")).map((other) =>
        prefix + parts.map((part, i) => i === index ? Buffer.from(other).toString("base64url") : part).join(".")
      )
    )
    assert.isAbove(others.length, 8 * 50)
    assert.deepStrictEqual(accepted(tokens, others), [])
  })

  it("a token that is shortened, extended, or lacks or repeats a character is rejected", () => {
    const others = [...token].flatMap((letter, i) => [
      token.slice(0, i),
      token.slice(i + 1),
      token.slice(0, i) + token.slice(i + 1),
      token.slice(0, i) + letter + token.slice(i)
    ])
    const more = ["A", "AA", "AAA", "AAAA", ".", ".A", token, "\u0000"].map((more) => token + more)
    assert.deepStrictEqual(accepted(tokens, [...others, ...more].filter((other) => other !== token)), [])
  })

  it("a shorter tag is rejected", () => {
    const parts = body.split(".")
    const last = Buffer.from(parts.at(-1) ?? "", "base64url")
    const lengths = suite === "h1" ? [0, 4, 8, 12, 15, 16, 31] : [0, 4, 8, 12, 15].map((tag) => last.length - 16 + tag)
    const others = lengths.map((length) =>
      prefix + [...parts.slice(0, -1), last.subarray(0, length).toString("base64url")].join(".")
    )
    assert.deepStrictEqual(accepted(tokens, others), [])
  })

  it("a non-canonical encoding is rejected", () => {
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    // Contents of three lengths, so that the spare bits are none, two and four.
    for (const length of [1, 2, 3, 16, 32]) {
      const token = tokens.write(new Uint8Array(length).fill(0xFF), nonce)
      const ends = token.split("").flatMap((_, i) => token[i + 1] === "." || i === token.length - 1 ? [i] : [])
      const others = ends.flatMap((end) =>
        [...alphabet].map((letter) => token.slice(0, end) + letter + token.slice(end + 1))
      )
      assert.deepStrictEqual([...new Set(accepted(tokens, others))], [token])
      const standard = token.replaceAll("-", "+").replaceAll("_", "/")
      assert.notStrictEqual(standard, token)
      const written = [
        standard,
        `${token}=`,
        `${token}==`,
        token.replace(/\.([^.]*)$/, "=.$1"),
        `${token}\n`,
        `${token}\r\n`,
        `\n${token}`,
        ` ${token}`,
        `${token} `,
        `"${token}"`,
        token.replaceAll(".", "%2E"),
        token.replace("_", "%5F"),
        token.replace(/(?<=\..*\..*)./, (letter) => `%${letter.charCodeAt(0).toString(16)}`),
        token.replace(/(?<=\..*\..{9})/, "\n"),
        token.replace(/(?<=\..*\..{9})/, " "),
        token.toUpperCase(),
        token.toLowerCase(),
        `\uFEFF${token}`,
        [...token].map((letter) => String.fromCharCode(letter.charCodeAt(0) + 0x100)).join("")
      ]
      assert.deepStrictEqual(accepted(tokens, written.filter((other) => other !== token)), [])
    }
  })

  it("CVE-2021-41263, CVE-2023-47127, CVE-2023-48309: it is rejected by every other use of the same secret", () => {
    const uses: ReadonlyArray<Use> = [
      use(suite, { cookieName: "admin" }),
      use(suite, { cookieName: "Session" }),
      use(suite, { audience: "other" }),
      use(suite, { audience: "" }),
      use(suite, { purpose: "csrf" }),
      ...suites.filter((other) => other !== suite).map((other) => use(other))
    ]
    const again = uses.flatMap((other) => {
      const reader = wire.tokens([a], other)
      // With its own prefix, and with the one that the reader expects.
      return accepted(reader, [token, `${other.suite}.a.${body}`])
    })
    assert.deepStrictEqual(again, [])
  })

  it("another key id in its text is rejected", () => {
    const same = wire.tokens([a, { id: "c", secret: a.secret }, b], use(suite))
    assert.deepStrictEqual(accepted(same, [`${suite}.c.${body}`, `${suite}.b.${body}`]), [])
    assert.strictEqual(contentIn(same, token), hex(content))
  })
})

describe("junk", () => {
  const letters = fc.constantFrom(..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
  const ring = [key("k1", 1), key("k2", 2), key("k3", 3), key("k4", 4), key("k5", 5)] as const

  it.each(suites)(
    "%s: 50,000 unknown key ids cost no decryption and no MAC; a known one costs one",
    (suite) => {
      const tokens = wire.tokens(ring, use(suite))
      const crypto = process.getBuiltinModule("node:crypto")
      const spies = [vi.spyOn(crypto, "createDecipheriv"), vi.spyOn(crypto, "createHmac")] as const
      const calls = () => spies.map((spy) => spy.mock.calls.length)
      const body = tokens.write(content).slice(`${suite}.k1.`.length)
      spies.forEach((spy) => spy.mockClear())
      const ids = fc.sample(fc.stringMatching(/^[A-Za-z0-9]{1,8}$/).filter((id) => !/^k[1-5]$/.test(id)), 50_000)
      for (const id of ids) assert.isTrue(Option.isNone(tokens.read(`${suite}.${id}.${body}`)))
      assert.deepStrictEqual(calls(), [0, 0])
      for (const { id } of ring.slice(1)) assert.isTrue(Option.isNone(tokens.read(`${suite}.${id}.${body}`)))
      const once = ring.length - 1
      assert.deepStrictEqual(calls(), { e1: [once, 0], f1: [once, 2 * once], h1: [0, once] }[suite])
    }
  )

  it.each(suites)(
    "%s: CVE-2026-39324: no invented text is read or throws, also no plain or foreign format",
    (suite) => {
      const tokens = wire.tokens(ring, use(suite))
      const body = fc.array(letters, { maxLength: 200 }).map((letters) => letters.join(""))
      const invented = fc.oneof(
        fc.string({ unit: "binary", maxLength: 100 }),
        fc.tuple(
          fc.constantFrom(...suites, "r1", "e2", "E1", ""),
          fc.constantFrom("k1", "k5", "k6", "", "K1", "k1k1k1k1k"),
          body
        )
          .map((parts) => parts.join(".")),
        fc.tuple(body, body).map((parts) => `${suite}.k1.${parts.join(".")}`),
        fc.constantFrom(
          "",
          ".",
          "..",
          "...",
          suite,
          `${suite}.`,
          `${suite}.k1`,
          `${suite}.k1.`,
          `${suite}.k1..`,
          `${suite}..k1.`,
          `{"user":1}`,
          Buffer.from(`{"user":1}`).toString("base64url"),
          `${suite}.k1.${Buffer.from(`{"user":1}`).toString("base64url")}`,
          `${suite}.k1.${"A".repeat(100_000)}`
        )
      )
      fc.assert(fc.property(invented, (token) => assert.isTrue(Option.isNone(tokens.read(token)))), { numRuns: 5000 })
    }
  )

  it("h1: a non-canonical encoding of empty content is rejected", () => {
    const tokens = wire.tokens([a], use("h1"))
    const token = tokens.write(new Uint8Array(0))
    assert.strictEqual(contentIn(tokens, token), "")
    assert.deepStrictEqual(accepted(tokens, [token.replace("..", "."), token.replace("..", "...")]), [])
  })
})

describe.each(["e1", "f1"] as const)(
  "%s: ASVS 11.3.4, a source of random bytes that returns the same nonce twice",
  (suite) => {
    it.each([0, 7])("of %i", (value) => {
      const tokens = wire.tokens([a], use(suite))
      vi.spyOn(globalThis.crypto, "getRandomValues").mockImplementation((array) => {
        if (array instanceof Uint8Array) array.fill(value)
        return array
      })
      const made: Array<string> = []
      assert.throws(() => {
        for (let i = 0; i < 2; i++) made.push(tokens.write(content))
      }, /same nonce twice/)
      assert.strictEqual(made.length, value === 0 ? 0 : 1)
    })

    it("a source that fails makes `write` fail", () => {
      vi.spyOn(globalThis.crypto, "getRandomValues").mockImplementation(() => {
        throw new Error("no entropy")
      })
      assert.throws(() => wire.tokens([a], use(suite)).write(content), "no entropy")
    })
  }
)
