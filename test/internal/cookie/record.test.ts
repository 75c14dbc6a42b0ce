import { assert, describe, it } from "@effect/vitest"
import { Either, FastCheck as fc } from "effect"
import { anyRecord, anyText, aRecord, day, freshId, hour, idOf, start } from "effect-session/Fixtures"
import type { SessionRecord } from "effect-session/SessionRecord"
import * as CookieRecord from "../../../src/internal/cookie/record.js"
import * as wire from "../../../src/internal/crypto/tokens.js"
import { vectors } from "../../support/referenceTokens.js"
import { a, b, hex, key, suites, use } from "../../support/tokens.js"

const namespace = "laws"

const recordsOf = (suite: wire.Suite, ...keys: ReadonlyArray<wire.RootKey>) =>
  CookieRecord.make(wire.tokens([a, ...keys], use(suite)), namespace)

const records = recordsOf("e1")

/** The decoded record. A token does not contain the write id. */
const decodedOf = (record: SessionRecord): CookieRecord.Decoded => ({
  _tag: "Opened",
  record: { ...record, writeId: "" },
  needsReseal: false
})

const encoded = (record: SessionRecord, { encode } = records) =>
  Either.getOrThrowWith(encode(record), (problem) => Error(problem))

const roundTrip = (record: SessionRecord, cookies = records) => cookies.decode(encoded(record, cookies))

/** The largest time that fits: 48 one bits encode an absent time. */
const latest = 2 ** 48 - 2

describe("the golden vectors", () => {
  for (const vector of vectors) {
    it(`${vector.suite}: ${vector.title}`, () => {
      const { at, authenticatedAt, deadline, id, lifetime, subject, ...rest } = vector.record
      const record: SessionRecord = {
        ...rest,
        id: idOf(id),
        writeId: "",
        authenticatedAt: authenticatedAt ?? undefined,
        subject: subject ?? undefined,
        expiry: { at, deadline: deadline ?? undefined, lifetime: lifetime ?? undefined },
        attributes: undefined
      }
      const tokens = wire.tokens(
        [{ id: vector.keyId, secret: new Uint8Array(Buffer.from(vector.secret, "hex")) }],
        vector
      )
      const cookies = CookieRecord.make(
        { ...tokens, write: (content) => tokens.write(content, new Uint8Array(Buffer.from(vector.nonce, "hex"))) },
        record.namespace
      )
      assert.strictEqual(encoded(record, cookies), vector.token)
      assert.deepStrictEqual(cookies.decode(vector.token), decodedOf(record))
    })
  }
})

describe.each(suites)("%s: a decoded record equals the encoded one", (suite) => {
  const cookies = recordsOf(suite)
  const time = fc.oneof(fc.integer({ min: 0, max: latest }), fc.integer({ min: start - day, max: start + day }))
  const optional = <A>(arbitrary: fc.Arbitrary<A>) => fc.option(arbitrary, { nil: undefined })

  it("with any fields", () =>
    fc.assert(
      fc.property(
        anyRecord,
        fc.oneof(
          anyText,
          fc.jsonValue().map((value) => JSON.stringify(value)),
          fc.constantFrom("", "\n", "\uFEFF{}", "[1]\n2")
        ),
        optional(anyText),
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        fc.integer({ min: 0, max: 2 ** 16 - 1 }),
        fc.record({ createdAt: time, authenticatedAt: optional(time), modifiedAt: time, lastSeenAt: time }),
        fc.record({ at: time, deadline: optional(time) }),
        (any, data, subject, version, schemaVersion, times, ends) => {
          const expiry = { ...any.expiry, ...ends }
          const record = { ...any, ...times, namespace, data, subject, version, schemaVersion, expiry }
          assert.deepStrictEqual(roundTrip(record, cookies), decodedOf(record))
        }
      ),
      { numRuns: 1000 }
    ))

  it("an id of any 16 bytes", () => {
    for (let i = 0; i < 300; i++) {
      const record = aRecord({ id: freshId() })
      assert.deepStrictEqual(roundTrip(record, cookies), decodedOf(record))
    }
  })

  it("data of 20,000 characters, which is too long for a cookie, is rejected", () => {
    const token = encoded(aRecord({ data: "x".repeat(20_000) }), cookies)
    assert.deepStrictEqual(cookies.decode(token), { _tag: "Invalid" })
  })

  it("data that just fits into a cookie is accepted", () => {
    const record = aRecord({ data: "\u00e9".repeat(1_400) })
    const token = encoded(record, cookies)
    assert.isAbove(token.length, 3_800)
    assert.isAtMost(token.length, 4_096)
    assert.deepStrictEqual(cookies.decode(token), decodedOf(record))
  })

  it("an older key of the keyring is reported", () => {
    const token = encoded(aRecord(), CookieRecord.make(wire.tokens([b], use(suite)), namespace))
    assert.deepInclude(recordsOf(suite, b).decode(token), { _tag: "Opened", needsReseal: true })
  })
})

describe("times", () => {
  const ends = (at: number, deadline: number | undefined = undefined) => {
    const found = roundTrip(aRecord({ expiry: { at, deadline, lifetime: undefined } }))
    return found._tag === "Opened" ? found.record.expiry : undefined
  }

  it("zero is a valid time, and different from an absent time", () => {
    const record = aRecord({
      createdAt: 0,
      authenticatedAt: 0,
      modifiedAt: 0,
      lastSeenAt: 0,
      expiry: { at: 0, deadline: 0, lifetime: undefined }
    })
    assert.deepStrictEqual(roundTrip(record), decodedOf(record))
  })

  it("times are rounded down to milliseconds, so that no expiry is later", () => {
    assert.deepInclude(ends(start + 0.9, start + 1.5), { at: start, deadline: start + 1 })
  })

  it("an expiry after the year 10889 is clamped, and an expiry that is NaN has passed", () => {
    assert.strictEqual(new Date(latest).getUTCFullYear(), 10889)
    assert.deepInclude(ends(8.64e15, latest + 1), { at: latest, deadline: latest })
    assert.deepInclude(ends(Infinity, Infinity), { at: latest, deadline: latest })
    assert.deepInclude(ends(Number.NaN, -1), { at: 0, deadline: 0 })
    assert.deepInclude(ends(-Infinity, Number.NaN), { at: 0, deadline: 0 })
  })

  it("times that are NaN still make a readable token", () => {
    for (const time of [Number.NaN, Infinity, -Infinity, -1, 8.64e15]) {
      const times = { createdAt: time, authenticatedAt: time, modifiedAt: time, lastSeenAt: time }
      assert.strictEqual(roundTrip(aRecord(times))._tag, "Opened")
    }
  })

  it("no expiry is later than it was", () =>
    fc.assert(fc.property(fc.double({ noNaN: true, min: 0 }), (at) => {
      assert.isAtMost(ends(at)?.at ?? Infinity, at)
    })))
})

describe("a record that cannot be encoded is rejected with a sentence that does not repeat its data", () => {
  const lifetime = (lifetime: SessionRecord["expiry"]["lifetime"]) => ({
    expiry: { at: start + hour, deadline: undefined, lifetime }
  })
  const refused: Readonly<Record<string, Partial<SessionRecord>>> = {
    "another namespace": { namespace: "elsewhere" },
    "an id with spare bits": { id: idOf("AAAAAAAAAAAAAAAAAAAAAB") },
    "a version of 33 bits": { version: 2 ** 32 },
    "a negative version": { version: -1 },
    "half a version": { version: 0.5 },
    "a schema version of 17 bits": { schemaVersion: 2 ** 16 },
    "a schema version that is no number": { schemaVersion: Number.NaN },
    "a lifetime without an end": lifetime({ _tag: "Inactivity", millis: Infinity }),
    "a lifetime until never": lifetime({ _tag: "Until", at: Number.NaN })
  }
  for (const [title, fields] of Object.entries(refused)) {
    it(title, () => {
      const outcome = records.encode(aRecord({ data: "4242", subject: "ann@example.org", ...fields }))
      assert.isTrue(Either.isLeft(outcome))
      if (Either.isLeft(outcome)) {
        assert.match(outcome.left, /^The .*\.$/)
        assert.notMatch(outcome.left, /4242|ann|AAAA|elsewhere/)
      }
    })
  }
})

describe("tokens without a record", () => {
  const token = encoded(aRecord())

  it("11.2.4: every invalid value gets the same result", () => {
    const [prefix, body] = [token.slice(0, 5), token.slice(5)]
    const others = [
      "",
      "{}",
      token.slice(0, -1),
      `${token}A`,
      `${token}\n`,
      `${prefix}${body.slice(4)}`,
      `e1.zz.${body}`,
      `f1.a.${body}`,
      `h1.a.${body}`,
      `r1.${"A".repeat(43)}`,
      "x".repeat(5_000),
      encoded(aRecord(), recordsOf("f1")),
      encoded(aRecord(), recordsOf("h1")),
      encoded(aRecord(), CookieRecord.make(wire.tokens([key("a", 9)], use("e1")), namespace)),
      encoded(aRecord(), CookieRecord.make(wire.tokens([a], use("e1", { cookieName: "admin" })), namespace)),
      encoded(aRecord(), CookieRecord.make(wire.tokens([a], use("e1", { audience: "other" })), namespace))
    ]
    assert.deepStrictEqual(new Set(others.map(records.decode)), new Set([records.decode("")]))
    assert.deepStrictEqual(records.decode(""), { _tag: "Invalid" })
    assert.strictEqual(records.decode(token)._tag, "Opened")
  })

  it("a sealed token that cannot be decoded is reported as unreadable, because a visitor cannot make one", () => {
    const vector = vectors[0]
    if (vector === undefined) return assert.fail("there is no vector")
    const tokens = wire.tokens([a], use("e1"))
    const sealed = (content: string) => records.decode(tokens.write(new Uint8Array(Buffer.from(content, "hex"))))
    const header = vector.content.slice(0, 94)
    const text = (text: string) => header + Buffer.from(text).toString("hex")
    assert.strictEqual(sealed(vector.content)._tag, "Opened")
    assert.strictEqual(sealed(text(`[null,0,0]\n`))._tag, "Opened")
    const unreadable = [
      `02${vector.content.slice(2)}`,
      `00${vector.content.slice(2)}`,
      "",
      "01",
      header.slice(0, -2),
      header,
      text("[null,0,0]"),
      text("[null,0,0]]"),
      text("\n{}"),
      text("{}\n{}"),
      text("null\n{}"),
      text("[]\n{}"),
      text("[null,0]\n{}"),
      text("[7,0,0]\n{}"),
      text(`[null,"0",0]\n{}`),
      text(`[null,0,null]\n{}`),
      text(`[null,0,0,{}]\n{}`),
      text(`[null,0,0,{"_tag":"Until"}]\n{}`),
      text(`[null,0,0,{"_tag":"Never"}]\n{}`),
      text(`[null,0,0,null,7]\n{}`),
      text(`[null,0,0,null,"",7]\n{}`)
    ]
    for (const content of unreadable) assert.deepStrictEqual(sealed(content), { _tag: "Unreadable" }, content)
  })

  it("9.2.1: the times are part of the authenticated content", () => {
    // The signed suite, whose tokens can be read and reassembled.
    const cookies = recordsOf("h1")
    const token = encoded(aRecord(), cookies)
    const [, , payload = "", mac] = token.split(".")
    const bytes = Buffer.from(payload, "base64url")
    for (let i = 0; i < bytes.length; i++) {
      const other = Buffer.from(bytes)
      other.writeUInt8(bytes.readUInt8(i) ^ 0xFF, i)
      assert.deepStrictEqual(cookies.decode(`h1.a.${other.toString("base64url")}.${mac}`), { _tag: "Invalid" })
    }
  })

  it("a sealed token reveals nothing of the record, a signed token everything", () => {
    const record = aRecord({ subject: "ann@example.org", data: `{"card":"4242424242424242"}` })
    const shown = suites.map((suite) => {
      const text = encoded(record, recordsOf(suite)).split(".")[2] ?? ""
      const bytes = hex(Buffer.from(text, "base64url"))
      return [record.subject ?? "", record.data, "4242"].filter((part) =>
        bytes.includes(Buffer.from(part).toString("hex"))
      )
    })
    assert.deepStrictEqual(shown, [[], [], ["ann@example.org", record.data, "4242"]])
  })
})
