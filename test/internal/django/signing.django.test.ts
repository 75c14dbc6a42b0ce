/** Signed texts that a real Django and this library read, and reject, alike. */
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Redacted, Schema } from "effect"
import * as fc from "fast-check"
import * as Members from "../../../src/internal/django/members.js"
import * as Reader from "../../../src/internal/django/reader.js"
import * as Signing from "../../../src/internal/django/signing.js"
import { anyText, jsonOf, pythonJson, salt, sharedWorker, signedText, signer } from "../../support/djangoTexts.js"
import { secretKey } from "../../support/servers/django.js"

const ask = sharedWorker()

const Verdicts = Schema.Array(Schema.NullOr(Schema.String))

/** Decodes texts by Django: the JSON of each value, or `null` if it rejects the text. */
const ofDjango = (texts: ReadonlyArray<string>, key = secretKey, ofSalt: string = salt) =>
  ask((django) => django.call("loads", Verdicts, texts, key, ofSalt))

/** Asserts that Django and this library give the same verdicts, and returns the number of texts that were accepted. */
const assertSameVerdicts = async (texts: ReadonlyArray<string>): Promise<number> => {
  const expected = await ofDjango(texts)
  const found = await Effect.runPromise(Effect.forEach(texts, (text) => jsonOf(text)))
  for (const [at, text] of texts.entries()) {
    const django = expected[at] ?? null
    // A value that is no object is no session.
    assert.strictEqual(found[at], django !== null && django.startsWith("{") ? django : null, text)
  }
  return found.filter((json) => json !== null).length
}

const signatureOf = (text: string) => text.slice(text.lastIndexOf(":") + 1)

describe("texts that are signed here", () => {
  it("Django reads the same value, and what it writes then is read here", () =>
    fc.assert(
      fc.asyncProperty(pythonJson, fc.nat({ max: 4_102_444_800_000 }), async (given, now) => {
        const bytes = Buffer.from(given).toString("latin1")
        const json = Members.join(Members.split(bytes) ?? assert.fail(given))
        const text = await Effect.runPromise(signer.sign(json, now))
        const [read] = await ofDjango([text])
        assert.isString(read)
        assert.isTrue(await ask((django) => django.call("same", Schema.Boolean, json, read)))
        const again = await ask((django) => django.encode(read ?? ""))
        assert.strictEqual(await Effect.runPromise(jsonOf(again)), read)
      }),
      { numRuns: 300 }
    ))

  it("short and long texts are compressed exactly where Django compresses them", () =>
    fc.assert(
      fc.asyncProperty(fc.constantFrom("a", "ab", "abc1", "😀"), fc.nat({ max: 200 }), async (part, times) => {
        const json = Members.join(new Map([["a", Members.encode(part.repeat(times))]]))
        const [ours, theirs] = await Promise.all([
          Effect.runPromise(signer.sign(json, 0)),
          ask((django) => django.encode(json))
        ])
        assert.strictEqual(ours.startsWith("."), theirs.startsWith("."))
        assert.deepStrictEqual(await ofDjango([ours]), [json])
      }),
      { numRuns: 200 }
    ))
})

describe("the keys", () => {
  const secret = fc.string({ unit: "grapheme", minLength: 1 })

  it("any secret and any salt sign as Django signs", () =>
    fc.assert(
      fc.asyncProperty(secret, secret, secret, async (key, other, ofSalt) => {
        fc.pre(key !== other)
        const make = (secretKey: string, ...fallbacks: ReadonlyArray<string>) =>
          Signing.make(
            { secretKey: Redacted.make(secretKey), fallbacks: fallbacks.map((key) => Redacted.make(key)) },
            ofSalt
          )
        const text = await ask((django) => django.call("dumps", Schema.String, "{\"a\":1.0}", key, ofSalt, true))
        const [first, fallback, unknown, salted] = await Promise.all([
          Effect.runPromise(make(key, other).verify(text)),
          Effect.runPromise(make(other, "x", key).verify(text)),
          Effect.runPromise(make(other).verify(text)),
          Effect.runPromise(Signing.make({ secretKey: Redacted.make(key), fallbacks: [] }, `${ofSalt}2`).verify(text))
        ])
        assert.deepInclude(first, { _tag: "Verified", secret: 0, json: "{\"a\":1.0}", signature: signatureOf(text) })
        assert.deepInclude(fallback, { _tag: "Verified", secret: key === "x" ? 1 : 2 })
        assert.deepStrictEqual([unknown._tag, salted._tag], ["Rejected", "Rejected"])
        const ours = await Effect.runPromise(make(key, other).sign("{\"a\":1.0}", 0))
        assert.deepStrictEqual(await ofDjango([ours], key, ofSalt), ["{\"a\":1.0}"])
        assert.deepStrictEqual(await ofDjango([ours], other, ofSalt), [null])
      }),
      { numRuns: 100 }
    ))

  it("the secret of another Django verifies nothing of this one", async () => {
    const text = await Effect.runPromise(signer.sign("{}", 0))
    assert.deepStrictEqual(await ofDjango([text]), ["{}"])
    assert.deepStrictEqual(await ofDjango([text], secretKey, Signing.salts.signedCookies), [null])
  })
})

describe("tampered texts", () => {
  const alphabet = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=.:, \n%é\u0000"]

  it.each([
    ["plain", "{\"a\":1}"],
    ["compressed", `{"a":"${"a".repeat(60)}"}`]
  ])("%s: every text with one character changed, added or removed is rejected, here and by Django", async (_, json) => {
    const text = await ask((django) => django.encode(json))
    const texts = Array.from({ length: text.length + 1 }, (_, at) => [
      ...alphabet.flatMap((character) => [
        text.slice(0, at) + character + text.slice(at),
        text.slice(0, at) + character + text.slice(at + 1)
      ]),
      text.slice(0, at) + text.slice(at + 1)
    ]).flat().filter((other) => other !== text)
    assert.isAbove(texts.length, 9000)
    assert.strictEqual(await assertSameVerdicts(texts), 0)
    assert.strictEqual(await assertSameVerdicts([text]), 1)
  })

  it("another encoding of the same signature is rejected, here and by Django", async () => {
    const text = await ask((django) => django.encode("{\"a\":1}"))
    const value = text.slice(0, text.lastIndexOf(":"))
    const signatures = Array.from(
      { length: 64 },
      (_, at) =>
        signatureOf(signedText(`${value.slice(0, value.lastIndexOf(":"))}:${Signing.toBase62(at + 1_767_225_600)}`))
    )
    const texts = signatures.flatMap((signature, at) => {
      const value = `${text.slice(0, text.indexOf(":"))}:${Signing.toBase62(at + 1_767_225_600)}`
      return [
        `${value}:${signature.replaceAll("-", "+").replaceAll("_", "/")}`,
        `${value}:${signature}=`,
        `${value}:${signature}==`,
        `${value}:${signature}\n`,
        `${value}: ${signature}`,
        `${value}:${Buffer.from(signature, "base64url").toString("hex")}`
      ].filter((text) => signatureOf(text) !== signature)
    })
    // 43 characters without "-" and "_" are rare.
    assert.isAbove(texts.length, 64 * 5)
    assert.strictEqual(await assertSameVerdicts(texts), 0)
    assert.strictEqual(
      await assertSameVerdicts(
        signatures.map((signature, at) =>
          `${text.slice(0, text.indexOf(":"))}:${Signing.toBase62(at + 1_767_225_600)}:${signature}`
        )
      ),
      64
    )
  })

  it.each(["", ":", "::", ":::", "e30", "e30:1", ":e30:1:", "\uD800:1:1"])("%j is rejected", async (text) => {
    assert.isNull(await Effect.runPromise(jsonOf(text)))
    assert.deepStrictEqual(await ofDjango([text]), [null])
  })
})

describe("signed texts that Django has not written", () => {
  const values = [
    "",
    "e30",
    "e30:",
    "e30:1",
    "e30:-1",
    "e30:-",
    "e30:--1",
    "e30:+1",
    "e30:1.5",
    "e30: 1",
    "e30:zzzzzz",
    "e30:1:1",
    "x:e30:1",
    ":1",
    ".:1",
    ".e30:1",
    "..e30:1",
    "e30=:1",
    "e31:1",
    "e3:1",
    "W10:1",
    "bnVsbA:1",
    "TmFO:1",
    "eyJhIjoiPj4_Pz8-Pj4ifQ:1",
    "eyJhIjoiPj4/Pz8+Pj4ifQ:1",
    // UTF-8 where ASCII is expected, and a byte order mark.
    `${Buffer.from("{\"a\":\"é😀\"}").toString("base64url")}:1`,
    `${Buffer.from("\uFEFF{}").toString("base64url")}:1`
  ]

  it("are accepted and rejected as Django does", async () => {
    const texts = values.map((value) => signedText(value))
    for (const [at, value] of values.entries()) {
      assert.strictEqual(texts[at], await ask((django) => django.call("sign", Schema.String, value, secretKey, salt)))
    }
    const found = await Effect.runPromise(Effect.forEach(texts, (text) => jsonOf(text)))
    const django = await ofDjango(texts)
    for (const [at, value] of values.entries()) {
      const expected = django[at] ?? null
      const json = found[at] ?? null
      const same = expected !== null && expected.startsWith("{")
        ? json !== null && await ask((django) => django.call("same", Schema.Boolean, expected, json))
        : json === null
      assert.isTrue(same, `${value}: ${json} and ${expected}`)
    }
    assert.isAbove(found.filter((json) => json !== null).length, 8)
  })

  it("1 MiB of JSON is accepted, and one byte more is rejected, which Django accepts", async () => {
    const inflated = (size: number) => ask((django) => django.call("inflated", Schema.String, size))
    assert.strictEqual(
      (await Effect.runPromise(jsonOf(await inflated(Signing.maxJsonBytes))))?.length,
      Signing.maxJsonBytes
    )
    const more = await inflated(Signing.maxJsonBytes + 1)
    assert.isNull(await Effect.runPromise(jsonOf(more)))
    assert.strictEqual((await ofDjango([more]))[0]?.length, Signing.maxJsonBytes + 1)
  })
})

describe("pickles", () => {
  const dates = { zone: DateTime.zoneUnsafeMakeNamed("UTC"), isNaive: false, onlySeconds: false }

  it("are rejected with a sentence that names the serializer, compressed or not", async () => {
    for (const json of ["{}", "{\"a\":1}", `{"a":"${"a".repeat(300)}"}`, `{"a":"${"\\\"".repeat(100)}"}`]) {
      const text = await ask((django) => django.call("pickled", Schema.String, json))
      const read = await Effect.runPromise(Reader.decode(signer, text, dates))
      assert(Reader.isUnreadable(read))
      assert.match(
        read.reason,
        /^was written by Django's PickleSerializer\. A pickle can run any program, so it is never decoded/
      )
    }
  })
})

describe("base 62", () => {
  it("any safe integer is written and read as by Django", () =>
    fc.assert(
      fc.asyncProperty(fc.maxSafeInteger(), async (number) => {
        const text = await ask((django) => django.base62(BigInt(number)))
        assert.strictEqual(Signing.toBase62(number), text)
        assert.strictEqual(Signing.fromBase62(text), number === 0 ? 0 : number)
        assert.strictEqual(
          await ask((django) => django.call("base62Decode", Schema.Number, text)),
          number === 0 ? 0 : number
        )
      }),
      { examples: [[0], [1], [-1], [61], [62], [Number.MAX_SAFE_INTEGER], [Number.MIN_SAFE_INTEGER]] }
    ))
})

describe("the hash of a login", () => {
  it("is that of Django for any password column, by the first secret", () =>
    fc.assert(
      fc.asyncProperty(anyText.map((text) => Buffer.from(text).toString()), async (password) => {
        const hashes = Signing.authHashes({ secretKey: Redacted.make(secretKey), fallbacks: [Redacted.make("old")] })(
          password
        )
        assert.strictEqual(hashes[0], await ask((django) => django.authHash(password)))
        assert.match(hashes[1] ?? "", /^[0-9a-f]{64}$/)
      }),
      { examples: [["md5$salt$0123"], [""], ["pbkdf2_sha256$260000$é😀"]] }
    ))
})
