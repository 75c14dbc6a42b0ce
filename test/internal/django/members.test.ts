import { assert, describe, it } from "@effect/vitest"
import * as Members from "../../../src/internal/django/members.js"

const membersOf = (json: string): Members.Members => Members.split(json) ?? assert.fail("no JSON object")

describe("split", () => {
  it.each([
    "",
    "[]",
    "1",
    "null",
    "\"{}\"",
    "NaN",
    "{",
    "{}{}",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{a:1}",
    "{\"a\":nan}",
    "{\"a\":+Infinity}",
    "{\"a\":-NaN}",
    "{\"a\":1NaN}",
    "{\"a\":01}",
    "{\"a\":\"\n\"}",
    "{\"a\":\"\\",
    "{\"a",
    "\uFEFF{}"
  ])("rejects %j, which is no JSON object", (json) => assert.isUndefined(Members.split(json)))

  it("keeps names and sources, without the spaces around them", () => {
    const json = "{ \"a\\\"}\" : [ {\"b\":[\"],{\"]} , 1.0 ] ,\"\" : NaN,\"\\u0061\": \"\\u00e9\"}"
    assert.deepStrictEqual([...membersOf(json)], [
      ["a\"}", "[ {\"b\":[\"],{\"]} , 1.0 ]"],
      ["", "NaN"],
      ["a", "\"\\u00e9\""]
    ])
  })

  const mebibyte = 1024 * 1024
  const long: Readonly<Record<string, string>> = {
    "escapes": `{"a":"${"\\n".repeat(mebibyte)}","b":1}`,
    "escaped quotation marks": `{"a":"${"\\\"".repeat(mebibyte)}","b":1}`,
    "escaped backslashes": `{"a":"${"\\\\".repeat(mebibyte)}","b":1}`,
    "one string": `{"a":"${"x".repeat(8 * mebibyte)}","b":1}`,
    "strings": `{"a":[${"\"\",".repeat(mebibyte)}0],"b":1}`,
    "digits": `{"a":${"1".repeat(mebibyte)},"b":1}`,
    "numbers": `{"a":[${"1,".repeat(mebibyte)}0],"b":1}`,
    "names of numbers": `{"a":[${"NaN,".repeat(mebibyte)}0],"b":1}`,
    "levels": `{"a":${"[".repeat(100_000)}${"]".repeat(100_000)},"b":1}`,
    "levels of objects": `{"a":${"{\"a\":".repeat(100_000)}1${"}".repeat(100_000)},"b":1}`
  }
  for (const [title, json] of Object.entries(long)) {
    it(`keeps the members of a long text of ${title}`, () => {
      const members = membersOf(json)
      assert.strictEqual(members.get("b"), "1")
      assert.strictEqual(members.get("a"), json.slice("{\"a\":".length, -",\"b\":1}".length))
      assert.isTrue(
        Members.join(Members.withData(members, { ...Members.dataOf(members), b: 2 })) === json.replace(/1\}$/, "2}")
      )
    })
  }

  it("keeps 100,000 members", () => {
    const json = `{${Array.from({ length: 100_000 }, (_, i) => `"k${i}":${i}.0`).join(",")}}`
    const members = membersOf(json)
    assert.strictEqual(members.size, 100_000)
    assert.isTrue(Members.join(Members.withData(members, Members.dataOf(members))) === json)
  })

  // A regular expression for strings would look for the end of the string from each quotation mark: 10^12 steps.
  it.each([
    ["quotation marks that are escaped", "\\\""],
    ["quotation marks behind letters", "a\\\""],
    ["minus signs", "-"],
    ["letters of a name", "-Infinit"],
    ["brackets", "[{"]
  ])("rejects a long text of %s that has no end", (_, part) => {
    assert.isUndefined(Members.split(`{"a":"${part.repeat(mebibyte)}`))
    assert.isUndefined(Members.split(`\x80\x05\x95"${part.repeat(mebibyte)}\\`))
    assert.isUndefined(Members.split(`{"a":${part.repeat(mebibyte)}`))
  })
})

describe("decode", () => {
  it.each([
    "9007199254740992",
    "[-9007199254740993]",
    "NaN",
    "{\"a\":-Infinity}",
    "1e999",
    "[".repeat(100),
    "{\"__proto__\":1}"
  ])(
    "is undefined for %s, which JavaScript cannot hold",
    (source) => assert.isUndefined(Members.decode(source))
  )

  it.each(
    [
      ["9007199254740991", 9007199254740991],
      ["1e16", 1e16],
      ["12345678901234567890.0", 12345678901234567890],
      ["[\"9007199254740993\",\"NaN\"]", ["9007199254740993", "NaN"]],
      ["-0.0", -0]
    ] as const
  )("decodes %s", (source, value) => assert.deepStrictEqual(Members.decode(source), value))
})

describe("withData", () => {
  const members = membersOf("{\"_a\":1.0,\"b\":NaN,\"10\":1.0,\"__proto__\":{\"x\":1},\"c\":{\"d\":1e2,\"e\":2}}")

  it("keeps the sources of values that are equal, and of members that are no data", () => {
    const data = Members.dataOf(members)
    assert.deepStrictEqual(data, { "b": { "effect-session/unreadable": "NaN" }, "10": 1, "c": { d: 100, e: 2 } })
    assert.strictEqual(
      Members.join(Members.withData(members, { ...data, c: { e: 2, d: 100 }, n: "é" })),
      "{\"_a\":1.0,\"b\":NaN,\"10\":1.0,\"__proto__\":{\"x\":1},\"c\":{\"d\":1e2,\"e\":2},\"n\":\"\\u00e9\"}"
    )
  })

  it("removes the data that is absent, and no reserved member", () =>
    assert.strictEqual(
      Members.join(Members.withData(members, { c: { d: 101, e: 2 } })),
      "{\"_a\":1.0,\"__proto__\":{\"x\":1},\"c\":{\"d\":101,\"e\":2}}"
    ))
})
