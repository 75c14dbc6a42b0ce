import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Cause, Data, Effect, Encoding, Equal, Inspectable, Logger, Option, Redacted } from "effect"
import type { SessionId } from "effect-session/SessionId"
import * as SessionToken from "effect-session/SessionToken"
import type { StoreKey } from "effect-session/StoreKey"
import * as fc from "fast-check"
import { format, inspect } from "node:util"
import * as Tokens from "../src/internal/crypto/sessionToken.js"

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
const bytes = fc.uint8Array({ minLength: 32, maxLength: 32 })
const wire = bytes.map((bytes) => `r1.${Buffer.from(bytes).toString("base64url")}`)

describe("fromBytes", () => {
  it("encodes 32 bytes as r1. and 43 characters of base64url", () =>
    fc.assert(fc.property(bytes, (bytes) =>
      assert.strictEqual(
        Redacted.value(Tokens.fromBytes(bytes)),
        `r1.${Buffer.from(bytes).toString("base64url")}`
      ))))

  it("rejects any other number of bytes, without printing them", () => {
    for (const length of [0, 1, 16, 31, 33, 64]) {
      assert.throws(() => Tokens.fromBytes(new Uint8Array(length).fill(0x41)), RangeError, /^(?!.*(41|65)).*32/)
    }
  })
})

describe("parse", () => {
  it("accepts the result of fromBytes, and unsafeBytes returns the bytes", () =>
    fc.assert(fc.property(bytes, (bytes) => {
      const parsed = Option.getOrThrow(SessionToken.parse(Redacted.value(Tokens.fromBytes(bytes))))
      assert.deepStrictEqual([...Tokens.unsafeBytes(parsed)], [...bytes])
      assert.isTrue(Equal.equals(parsed, Tokens.fromBytes(bytes)))
    })))

  it("accepts only the canonical encoding: one of the four last characters that decode to the same bytes", () =>
    fc.assert(fc.property(wire, (wire) => {
      const decoded = Buffer.from(wire.slice(3), "base64url")
      const encodings = [...alphabet].map((last) => wire.slice(0, -1) + last)
        .filter((other) => Buffer.from(other.slice(3), "base64url").equals(decoded))
      assert.strictEqual(encodings.length, 4)
      assert.deepStrictEqual(encodings.filter((other) => Option.isSome(SessionToken.parse(other))), [wire])
    })))

  it("accepts 16 of the 64 characters in the last place", () =>
    assert.strictEqual(
      [...alphabet].filter((last) => Option.isSome(SessionToken.parse(`r1.${"A".repeat(42)}${last}`))).length,
      16
    ))

  it("accepts exactly the canonical encodings", () =>
    fc.assert(fc.property(fc.stringMatching(/^r1\.[A-Za-z0-9_-]{43}$/), (value) => {
      const canonical = `r1.${Buffer.from(value.slice(3), "base64url").toString("base64url")}`
      assert.strictEqual(Option.isSome(SessionToken.parse(value)), canonical === value)
    })))

  const token = `r1.${"A".repeat(43)}`
  const malformed: Readonly<Record<string, string>> = {
    "an empty text": "",
    "a token without its prefix": token.slice(3),
    "the prefix alone": "r1.",
    "another suite": `e1.${token.slice(3)}`,
    "the prefix in capitals": `R1.${token.slice(3)}`,
    "a character too few": token.slice(0, -1),
    "a character too many": `${token}A`,
    "padding": `${token}=`,
    "standard base64": `r1.${"A".repeat(41)}+/`,
    "a line break at the end": `${token}\n`,
    "a line break in place of a character": `${token.slice(0, -1)}\n`,
    "a space before": ` ${token}`,
    "quotes": `"${token}"`,
    "F1: percent-encoding": `r1%2E${"A".repeat(43)}`,
    "F2: NUL": `r1.${"A".repeat(42)}\u0000`,
    "F7: a path": `r1.../${"A".repeat(40)}`,
    "two tokens": token + token,
    "a letter that looks like A": `r1.${"\u0410".repeat(43)}`
  }
  for (const [title, value] of Object.entries(malformed)) {
    it(`rejects ${title}`, () => assert.isTrue(Option.isNone(SessionToken.parse(value))))
  }

  it("rejects anything else", () =>
    fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 60 }), (value) => {
      fc.pre(!/^r1\.[A-Za-z0-9_-]{43}$/.test(value))
      assert.isTrue(Option.isNone(SessionToken.parse(value)))
    })))
})

describe("unsafeBytes", () => {
  it("rejects a token that did not come from parse, without printing it", () => {
    const forged = Redacted.make("r1.not base64url") as SessionToken.SessionToken
    assert.throws(() => Tokens.unsafeBytes(forged), TypeError, /^(?!.*base64)/)
  })
})

describe("L6: a token is not printed", () => {
  const wire = `r1.${Encoding.encodeBase64Url(Uint8Array.from({ length: 32 }, (_, i) => 7 * i))}`
  const token = Option.getOrThrow(SessionToken.parse(wire))
  class Failed extends Data.TaggedError("Failed")<{ readonly token: SessionToken.SessionToken }> {}
  const failed = new Failed({ token })

  const ways: Readonly<Record<string, () => string>> = {
    "String": () => String(token),
    "a template": () => `${token}`,
    "JSON.stringify": () => JSON.stringify({ token, list: [token] }),
    "util.inspect": () => inspect({ token, list: [token] }, { depth: Infinity, showHidden: true }),
    "util.format": () => format("%s %o %O %j", token, token, token, token),
    "Inspectable.format": () => Inspectable.format({ token }),
    "Inspectable.toStringUnknown": () => Inspectable.toStringUnknown({ token }),
    "its own properties": () => inspect(Object.getOwnPropertyDescriptors(token), { depth: Infinity }),
    "an Option": () => String(Option.some(token)) + JSON.stringify(Option.some(token)),
    "an error": () => failed.stack + failed.message + String(failed) + JSON.stringify(failed) + inspect(failed),
    "a Cause": () => Cause.pretty(Cause.fail(failed)) + Cause.pretty(Cause.die(token)),
    "an Exit": () => String(Effect.runSyncExit(Effect.fail(token))),
    "a log": () => {
      const lines: Array<string> = []
      const collect = <A>(logger: Logger.Logger<unknown, A>) =>
        Logger.map(logger, (line) => void lines.push(typeof line === "string" ? line : JSON.stringify(line)))
      Effect.log("loading", token, { token }, Cause.fail(failed)).pipe(
        Effect.annotateLogs("token", token),
        Effect.provide(Logger.replace(
          Logger.defaultLogger,
          Logger.zip(
            Logger.zip(collect(Logger.stringLogger), collect(Logger.logfmtLogger)),
            Logger.zip(collect(Logger.jsonLogger), collect(Logger.structuredLogger))
          )
        )),
        Effect.runSync
      )
      assert.strictEqual(lines.length, 4)
      return lines.join("\n")
    }
  }
  for (const [title, show] of Object.entries(ways)) {
    it(`by ${title}`, () => {
      const shown = show()
      assert.isNotEmpty(shown)
      for (let i = 0; i + 6 <= wire.length; i++) assert.notInclude(shown, wire.slice(i, i + 6))
    })
  }

  it("its type is neither string, store key nor session id", () => {
    expectTypeOf(token).not.toExtend<string>()
    expectTypeOf(token).not.toExtend<StoreKey>()
    expectTypeOf(token).not.toExtend<SessionId>()
    assert.notStrictEqual(typeof token, "string")
  })
})
