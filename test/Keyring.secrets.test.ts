/**
 * Secrets that a keyring rejects, with errors that do not contain them.
 */
import { it } from "@effect/vitest"
import { Cause, Effect, Exit } from "effect"
import * as Keyring from "effect-session/Keyring"
import { inspect } from "node:util"
import { assert, describe } from "vitest"
import { assertNoSecret, base64url, bytesOf, hex, key, rejectionOf } from "./support/seededKeys.js"

describe("a secret", () => {
  const repeated = (text: string, length: number) => text.repeat(length).slice(0, length)
  const run = (from: number, step: number, length = 32) =>
    Buffer.from(Array.from({ length }, (_, i) => (from + step * i) & 0xFF))
  const short = "has less than 32 bytes"
  const few = "has few different bytes"
  const pattern = "is a pattern"
  const sample = "is a sample, or contains a common word"
  const text = "is text, not random bytes"
  const unreadable = "is neither base64url nor hex"

  const weak: ReadonlyArray<readonly [title: string, secret: string, problem: string]> = [
    ["nothing", "", short],
    ["SECRET", "SECRET", unreadable],
    ["changeme", "changeme", short],
    ["31 bytes", base64url("short", 31), short],
    ["31 bytes in hex", hex("short", 31), short],
    ["hex that would be long enough as base64url", hex("short", 24), short],
    ["a UUID", "4f9c1f0e-6d0b-4a7e-9d35-2c1b7a8e5f60", short],
    ["32 bytes of zero, whose letters are also hex", Buffer.alloc(32).toString("base64url"), unreadable],
    ["32 bytes of zero in hex", "00".repeat(32), few],
    ["64 bytes of one value", Buffer.alloc(64, 0xA5).toString("base64url"), few],
    ["15 different bytes", Buffer.from(repeated("0123456789abcde", 64)).toString("base64url"), few],
    ["a short secret with zeros behind it", Buffer.concat([bytesOf("x", 14), Buffer.alloc(32)]).toString("hex"), few],
    ["bytes that count up", run(0, 1).toString("base64url"), pattern],
    ["bytes that count down, in hex", run(255, -1, 64).toString("hex"), pattern],
    ["bytes in steps of seven", run(3, 7).toString("base64url"), pattern],
    [
      "a run that most of the bytes are in",
      Buffer.concat([run(9, 1, 20), bytesOf("x", 12)]).toString("base64url"),
      pattern
    ],
    ["16 random bytes twice", Buffer.concat([bytesOf("x", 16), bytesOf("x", 16)]).toString("base64url"), pattern],
    [
      "17 random bytes, twice and a piece",
      Buffer.concat([bytesOf("x", 17), bytesOf("x", 17), bytesOf("x", 5)]).toString("hex"),
      pattern
    ],
    ["keyboard cat, padded", Buffer.from("keyboard cat Qz7!mW2#xL9$vB4%nR6^pT8&").toString("base64url"), sample],
    ["a text with secret in it", `my-Secret-Key-For-Visitors-0-${base64url("x").slice(0, 19)}`, sample],
    ["change-me with random bytes behind it", `Change-Me-01${base64url("x", 33)}`, sample],
    ["an example of our documentation", `example-${base64url("x", 33)}`, sample],
    ["another example of our documentation", `EXAMPLE-do-not-use-0${base64url("x", 33)}`, sample],
    ["words in base64", Buffer.from("It was a bright cold day in April, and the clocks").toString("base64url"), text],
    ["words in hex", Buffer.from("It was a bright cold day in April, and the clocks").toString("hex"), text],
    ["words with dashes", "correct-horse-battery-staple-bright-cold-day-84-", text],
    ["shouted words", "CORRECT_HORSE_BATTERY_STAPLE_BRIGHT_COLD_DAY_84_", text],
    ["base64", bytesOf("12").toString("base64").replace(/^./, "+"), unreadable],
    ["a sentence", "It was a bright cold day in April, and the clocks were striking", unreadable],
    ["spare bits", `${base64url("x").slice(0, -1)}${"B"}`, unreadable],
    ["three signs of padding", `${base64url("x")}===`, unreadable],
    ["half a byte in hex", `${hex("x")}0`, unreadable],
    ["a line break", `${base64url("x")}\n`, unreadable],
    ["a space", ` ${base64url("x")}`, unreadable]
  ]
  for (const [title, secret, problem] of weak) {
    it.effect(`5.3: rejects ${title}, with an error that does not contain it`, () =>
      Effect.gen(function*() {
        const sentence = yield* rejectionOf([key("a"), key("b", secret)])
        assert.strictEqual(sentence, `The secret of key 2 ${problem}; \`effect-session generate-key\` makes one.`)
        const failed = yield* Effect.exit(Keyring.make([key("b", secret)]))
        assertNoSecret(
          inspect(failed, { depth: Infinity }) + JSON.stringify(failed) +
            (Exit.isFailure(failed) ? Cause.pretty(failed.cause) : ""),
          secret
        )
      }))
  }

  it.effect("accepts 20,000 secrets that look random", () =>
    Effect.forEach(
      Array.from({ length: 20_000 }, (_, i) => i),
      (i) => Keyring.make([key("k", i % 2 === 0 ? base64url(`${i}`, 32 + i % 33) : hex(`${i}`, 32 + i % 33))]),
      { discard: true }
    ))
})
