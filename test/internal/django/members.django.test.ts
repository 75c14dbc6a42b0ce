/** The members of sessions that a real Django has written. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as fc from "fast-check"
import * as Members from "../../../src/internal/django/members.js"
import type { Json } from "../../../src/Json.js"
import { anyName, jsonOf, pythonJson, sharedWorker, signer } from "../../support/djangoTexts.js"

const ask = sharedWorker()

/** Encodes JSON by Django, and returns the JSON of the signed text. */
const written = (json: string) =>
  ask((django) =>
    Effect.gen(function*() {
      const text = yield* django.encode(json)
      const verified = yield* signer.verify(text)
      assert(verified._tag === "Verified", text)
      return { text, json: verified.json, ofDjango: yield* django.decode(text) }
    })
  )

const membersOf = (json: string): Members.Members => {
  const members = Members.split(json)
  assert.isDefined(members, json)
  return members ?? new Map()
}

/** JSON texts, and the results of Django's `json.dumps`. */
const examples: ReadonlyArray<readonly [title: string, given: string, dumped: string]> = [
  ["integers beyond 2^53", "{\"n\":12345678901234567890}", "{\"n\":12345678901234567890}"],
  [
    "floats",
    "{\"a\":1.0,\"b\":1e16,\"c\":1e-7,\"d\":-0.0,\"e\":-0}",
    "{\"a\":1.0,\"b\":1e+16,\"c\":1e-07,\"d\":-0.0,\"e\":0}"
  ],
  [
    "numbers that JSON does not have",
    "{\"a\":NaN,\"b\":[-Infinity,Infinity]}",
    "{\"a\":NaN,\"b\":[-Infinity,Infinity]}"
  ],
  ["their names in strings", "{\"NaN\":\"Infinity, NaN\"}", "{\"NaN\":\"Infinity, NaN\"}"],
  [
    "surrogates",
    "{\"a\":\"\\uD800\",\"😀\":\"\\uDE00\\uD83D\"}",
    "{\"a\":\"\\ud800\",\"\\ud83d\\ude00\":\"\\ude00\\ud83d\"}"
  ],
  ["control characters", "{\"a\":\"\u007F\\u0000\\b\\f\\/\"}", "{\"a\":\"\\u007f\\u0000\\b\\f/\"}"],
  [
    "names",
    "{\"\":1,\"b\\\"\\\\{:,\":2,\"__proto__\":3,\"1\":4,\"0\":5}",
    "{\"\":1,\"b\\\"\\\\{:,\":2,\"__proto__\":3,\"1\":4,\"0\":5}"
  ],
  ["duplicate names", "{\"a\":1,\"b\":2,\"a\":{\"c\":1,\"c\":2}}", "{\"a\":{\"c\":2},\"b\":2}"],
  ["spaces", " { \"a\" : [ 1 , 2 ] , \"b\" :\n{ } } ", "{\"a\":[1,2],\"b\":{}}"]
]

describe("split and join", () => {
  it.each(examples)("%s: the text of Django stays the same", async (_, given, dumped) => {
    const { json, ofDjango } = await written(given)
    assert.strictEqual(ofDjango, dumped)
    assert.strictEqual(json, dumped)
    assert.strictEqual(Members.join(membersOf(json)), dumped)
  })

  it("any JSON object that Django signs stays the same to the letter, also with the data written back", () =>
    fc.assert(
      fc.asyncProperty(pythonJson, async (given) => {
        const { json, ofDjango } = await written(given)
        assert.strictEqual(json, ofDjango)
        const members = membersOf(json)
        assert.strictEqual(Members.join(members), json)
        assert.strictEqual(Members.join(Members.withData(members, Members.dataOf(members))), json)
      }),
      { numRuns: 500 }
    ))

  it("reads members from any JSON as Python does, with spaces, escapes and duplicate names, of which the last value counts", () =>
    fc.assert(
      fc.asyncProperty(pythonJson, async (given) => {
        const joined = Members.join(membersOf(given))
        assert.isTrue(await ask((django) => django.call("same", Schema.Boolean, given, joined)))
      }),
      { numRuns: 300 }
    ))
})

describe("withData", () => {
  const json = fc.jsonValue() as fc.Arbitrary<Json>

  it("a changed, added or removed member leaves the sources and the order of all others", () =>
    fc.assert(
      fc.asyncProperty(pythonJson, anyName, fc.option(json, { nil: undefined }), async (given, name, value) => {
        fc.pre(!Members.isReserved(name) && !["__proto__", "constructor", "prototype"].includes(name))
        const members = membersOf((await written(given)).json)
        const { [name]: _, ...rest } = Members.dataOf(members)
        const next = Members.withData(members, value === undefined ? rest : { ...rest, [name]: value })
        const others = (members: Members.Members) => [...members].filter(([other]) => other !== name)
        assert.deepStrictEqual(others(next), others(members))
        assert.strictEqual(next.has(name), value !== undefined)
        if (members.has(name) && value !== undefined) {
          assert.deepStrictEqual([...next.keys()], [...members.keys()])
        }
      }),
      { numRuns: 300 }
    ))

  it("a changed member has a source that Django reads as the same value and would write itself", () =>
    fc.assert(
      fc.asyncProperty(anyName, json, async (name, value) => {
        const source = Members.join(new Map([[name, Members.encode(value)]]))
        const text = await Effect.runPromise(signer.sign(source, 0))
        const ofDjango = await ask((django) => django.decode(text))
        assert.deepStrictEqual(JSON.parse(ofDjango), JSON.parse(source))
        assert.strictEqual(await Effect.runPromise(jsonOf(await ask((django) => django.encode(ofDjango)))), ofDjango)
      }),
      { numRuns: 300 }
    ))
})
