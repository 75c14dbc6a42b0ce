import { it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Inspectable, type Layer, Option, Redacted } from "effect"
import * as Keyring from "effect-session/Keyring"
import { SessionConfigError } from "effect-session/SessionConfigError"
import { format, inspect } from "node:util"
import { assert, describe, expectTypeOf } from "vitest"
import { tokenOf } from "./support/referenceTokens.js"
import { assertNoSecret, base64url, bytesOf, hex, key, rejectionOf } from "./support/seededKeys.js"

const use = { purpose: "seal", suite: "e1", cookieName: "session", audience: "shop" } as const
const content = new TextEncoder().encode("hello")

describe("make", () => {
  it.effect("accepts one to five keys, in base64url or hex, and keeps their order", () =>
    Effect.gen(function*() {
      const keys = [
        key("a"),
        key("B2", hex("B2")),
        key("abcdefgh", base64url("c", 64)),
        key("0", hex("d", 33).toUpperCase()),
        key("e", `${base64url("e")}=`)
      ]
      assert.deepStrictEqual((yield* Keyring.make(keys)).ids, ["a", "B2", "abcdefgh", "0", "e"])
      assert.deepStrictEqual((yield* Keyring.make(keys.slice(1, 2))).ids, ["B2"])
    }))

  it.effect("the same bytes in base64url and in hex are the same key", () =>
    Effect.gen(function*() {
      const token = (yield* (yield* Keyring.make([key("k", hex("s"))])).derive(use)).seal(content)
      const found = (yield* (yield* Keyring.make([key("k", base64url("s"))])).derive(use)).open(token)
      assert.isTrue(Option.isSome(found))
    }))

  it.effect("rejects no key, and more than five", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* rejectionOf([]), "A keyring needs a key; `effect-session generate-key` makes one.")
      assert.strictEqual(
        yield* rejectionOf(["a", "b", "c", "d", "e", "f"].map((id) => key(id))),
        "A keyring has at most 5 keys; leave out the oldest, whose sessions have expired."
      )
    }))

  it.effect("rejects an id or a secret that occurs twice, also in different encodings", () =>
    Effect.gen(function*() {
      assert.strictEqual(
        yield* rejectionOf([key("a"), key("b"), key("a", base64url("c"))]),
        "Keys 1 and 3 have the same id."
      )
      assert.strictEqual(
        yield* rejectionOf([key("a"), key("b"), key("c", base64url("b"))]),
        "Keys 2 and 3 have the same secret."
      )
      assert.strictEqual(
        yield* rejectionOf([key("a", base64url("x")), key("b", hex("x"))]),
        "Keys 1 and 2 have the same secret."
      )
      assert.deepStrictEqual((yield* Keyring.make([key("a"), key("A")])).ids, ["a", "A"])
    }))

  it.effect("rejects an id that is not 1 to 8 letters and digits, with an error that does not contain it", () =>
    Effect.forEach(
      ["", "abcdefghi", "a.b", "a-b", "a b", "a\n", "\u00e9", base64url("pasted")],
      (id) =>
        Effect.gen(function*() {
          assert.strictEqual(yield* rejectionOf([key("a"), key(id)]), "Key 2 needs an id of 1 to 8 letters and digits.")
        })
    ))
})

describe("derive", () => {
  it.effect("returns seal and open, or sign and verify", () =>
    Effect.gen(function*() {
      const ring = yield* Keyring.make([key("new"), key("old")])
      const sealing = yield* ring.derive(use)
      const signing = yield* ring.derive({ ...use, purpose: "sign", suite: "h1" })
      expectTypeOf(sealing).toEqualTypeOf<Keyring.Sealing>()
      expectTypeOf(signing).toEqualTypeOf<Keyring.Signing>()
      assert.deepStrictEqual([Object.keys(sealing), Object.keys(signing)], [["seal", "open"], ["sign", "verify"]])
      const found = [
        sealing.open(sealing.seal(content)),
        signing.verify(signing.sign(content))
      ].flatMap(Option.toArray)
      assert.deepStrictEqual(
        found.map(({ content, outdated }) => [[...content], outdated]),
        Array.from(found, () => [[...content], false])
      )
      assert.strictEqual(found.length, 2)
      assert.isTrue(Option.isNone(sealing.open(signing.sign(content))))
      assert.isTrue(Option.isNone(signing.verify(sealing.seal(content))))
    }))

  it.effect("seal returns a different token each time", () =>
    Effect.gen(function*() {
      const ring = yield* Keyring.make([key("a")])
      for (const suite of ["e1", "f1"] as const) {
        const { seal } = yield* ring.derive({ ...use, suite })
        // `map` passes an index as second argument, which must be ignored.
        assert.strictEqual(new Set(Array.from({ length: 1000 }, () => content).map(seal)).size, 1000)
      }
    }))

  it.effect("tokens have the documented format", () =>
    Effect.gen(function*() {
      const ring = yield* Keyring.make([key("new"), key("old")])
      for (const suite of ["e1", "f1"] as const) {
        const token = (yield* ring.derive({ ...use, suite })).seal(content)
        const nonce = Buffer.from(token.split(".")[2] ?? "", "base64url").subarray(0, 24).toString("hex")
        const vector = { ...use, suite, keyId: "new", secret: hex("new"), nonce }
        assert.strictEqual(token, tokenOf(vector, Buffer.from(content)))
      }
      const vector = { ...use, suite: "h1", purpose: "sign", keyId: "new", secret: hex("new"), nonce: "" } as const
      assert.strictEqual((yield* ring.derive(vector)).sign(content), tokenOf(vector, Buffer.from(content)))
    }))

  it.effect("CVE-2025-47278: the first key makes tokens, every key reads them, and a token of another key is reported as outdated", () =>
    Effect.gen(function*() {
      const [before, both, after, later] = yield* Effect.forEach([
        [key("old")],
        [key("old"), key("new")],
        [key("new"), key("old")],
        [key("new")]
      ], (keys) => Effect.flatMap(Keyring.make(keys), ({ derive }) => derive(use)))
      if (before === undefined || both === undefined || after === undefined || later === undefined) {
        return assert.fail("a keyring is missing")
      }
      const [old, fresh] = [before.seal(content), after.seal(content)]
      const outdated = (ring: Keyring.Sealing, token: string) =>
        Option.getOrUndefined(Option.map(ring.open(token), ({ outdated }) => outdated))
      assert.match(both.seal(content), /^e1\.old\./)
      assert.match(fresh, /^e1\.new\./)
      assert.deepStrictEqual([before, both, after, later].map((ring) => outdated(ring, old)), [
        false,
        false,
        true,
        undefined
      ])
      assert.deepStrictEqual([before, both, after, later].map((ring) => outdated(ring, fresh)), [
        undefined,
        true,
        false,
        false
      ])
    }))

  it.effect("rejects a name that cannot be encoded", () =>
    Effect.gen(function*() {
      const { derive } = yield* Keyring.make([key("a")])
      for (const name of ["\ud800", "a".repeat(0x10000)]) {
        for (const invalid of [{ cookieName: name }, { audience: name }]) {
          const error = yield* Effect.flip(derive({ ...use, ...invalid }))
          assert.strictEqual(
            error.message,
            "Keyring: A cookie name or an audience is too long, or not well-formed Unicode. (help: keyring-invalid)"
          )
        }
      }
    }))

  it("the type of a suite determines whether it seals or signs", () => {
    expectTypeOf<Parameters<Keyring.Keys["derive"]>[0]["suite"]>().toEqualTypeOf<"h1">()
    expectTypeOf<Keyring.SealingUse["suite"]>().toEqualTypeOf<"e1" | "f1">()
    // @ts-expect-error a signing is no sealing
    const signing: Keyring.Sealing = { sign: () => "", verify: () => Option.none() }
    assert.isDefined(signing)
  })
})

describe("generate", () => {
  it.effect("makes a key that a keyring accepts, with a random or a given id", () =>
    Effect.gen(function*() {
      const drawn = Redacted.value(yield* Keyring.generate())
      assert.match(drawn, /^[a-z2-7]{4}:[A-Za-z0-9_-]{43}$/)
      const [id = "", secret = ""] = Redacted.value(yield* Keyring.generate({ id: "k1" })).split(":")
      assert.strictEqual(id, "k1")
      assert.strictEqual(Buffer.from(secret, "base64url").length, 32)
      assert.deepStrictEqual((yield* Keyring.make([key(id, secret)])).ids, ["k1"])
    }))

  it.effect("never makes the same secret twice", () =>
    Effect.gen(function*() {
      const keys = yield* Effect.all(Array.from({ length: 1000 }, () => Keyring.generate({ id: "k" })))
      assert.strictEqual(new Set(keys.map(Redacted.value)).size, 1000)
    }))

  it.effect("rejects an id that no keyring accepts", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Keyring.generate({ id: "not an id" }))
      assert.strictEqual(
        error.message,
        "Keyring: A key needs an id of 1 to 8 letters and digits. (help: keyring-invalid)"
      )
    }))
})

describe("L6: a keyring does not reveal its secrets", () => {
  const secrets = [base64url("one"), hex("two")]
  const [one = "", two = ""] = secrets

  it.effect("in any string output", () =>
    Effect.gen(function*() {
      const keys = [key("one", one), key("two", two)]
      const ring = yield* Keyring.make(keys)
      const sealing = yield* ring.derive(use)
      const context = Context.make(Keyring.Keyring, ring)
      const things = [ring, sealing, context, { keys, ring }]
      const shown = [
        ...things.flatMap((thing) => [
          String(thing),
          JSON.stringify(thing),
          inspect(thing, { depth: Infinity, showHidden: true }),
          format("%s %o %O %j", thing, thing, thing, thing),
          Inspectable.format(thing),
          Inspectable.toStringUnknown(thing),
          inspect(Object.getOwnPropertyDescriptors(thing), { depth: Infinity, showHidden: true })
        ]),
        Cause.pretty(Cause.die(ring)),
        String(Exit.fail(ring))
      ].join("\n").replaceAll(/\s+/g, " ")
      assert.include(shown, `"ids"`)
      for (const secret of ["one", "two"]) {
        for (
          const written of [
            base64url(secret),
            hex(secret),
            bytesOf(secret).toString("base64"),
            bytesOf(secret).join(", ")
          ]
        ) {
          assertNoSecret(shown, written)
        }
      }
      assert.strictEqual(JSON.stringify(ring), `{"_id":"effect-session/Keyring","ids":["one","two"]}`)
    }))

  it.effect("its layer fails with SessionConfigError if the keys are rejected", () =>
    Effect.gen(function*() {
      const ring = yield* Effect.provide(Keyring.Keyring, Keyring.layer([key("one", one)]))
      assert.deepStrictEqual(ring.ids, ["one"])
      const error = yield* Effect.flip(Effect.provide(Keyring.Keyring, Keyring.layer([key("one", "secret")])))
      assert.instanceOf(error, SessionConfigError)
      expectTypeOf(Keyring.layer).returns.toEqualTypeOf<Layer.Layer<Keyring.Keyring, SessionConfigError>>()
    }))
})
