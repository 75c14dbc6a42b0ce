/**
 * The functions that all stores share, as properties of random records.
 */
import { FastCheck as fc, Schema } from "effect"
import { aRecord } from "effect-session/Fixtures"
import { decodeInfo, fields, integer, valuesOf } from "effect-session/internal/record"
import * as Lifetime from "effect-session/Lifetime"
import type { SessionRecord } from "effect-session/SessionRecord"
import {
  applySave,
  applyTouch,
  bounded,
  byAge,
  clockSlack,
  isAlive,
  SessionRecord as SessionRecordSchema,
  toInfo
} from "effect-session/SessionRecord"
import { assert, describe, it } from "vitest"

const time = fc.integer({ min: 0, max: 1000 })
const orAbsent = <A>(value: fc.Arbitrary<A>) => fc.option(value, { nil: undefined })
const lifetime = fc.oneof(
  time.map((millis): Lifetime.Lifetime => ({ _tag: "Inactivity", millis })),
  time.map((at): Lifetime.Lifetime => ({ _tag: "Until", at })),
  fc.constant(Lifetime.browser)
)
const records: fc.Arbitrary<SessionRecord> = fc.record({
  data: fc.string(),
  schemaVersion: fc.nat(3),
  version: fc.nat(5),
  writeId: fc.string(),
  subject: orAbsent(fc.constantFrom("ann", "bob")),
  createdAt: time,
  authenticatedAt: orAbsent(time),
  modifiedAt: time,
  lastSeenAt: time,
  expiry: fc.record({ at: time, deadline: orAbsent(time), lifetime: orAbsent(lifetime) }),
  attributes: orAbsent(fc.string())
}).map((fields) => ({ ...aRecord(), ...fields }))

describe("a save", () => {
  it("replaces data and lifetime, keeps identity and deadline, and increments the version", () => {
    fc.assert(fc.property(records, records, (old, next) => {
      const saved = applySave(old, next)
      const { attributes, data, schemaVersion, writeId } = next
      assert.deepInclude(saved, { attributes, data, schemaVersion, writeId, version: old.version + 1 })
      const { authenticatedAt, createdAt, id, namespace, subject } = old
      assert.deepInclude(saved, { authenticatedAt, createdAt, id, namespace, subject })
      assert.strictEqual(saved.expiry.deadline, old.expiry.deadline)
      assert.deepStrictEqual(saved.expiry.lifetime, next.expiry.lifetime)
    }))
  })

  it("moves no time back, except the expiry if the lifetime changes", () => {
    fc.assert(fc.property(records, records, (old, next) => {
      const saved = applySave(old, next)
      assert.isAtLeast(saved.modifiedAt, Math.max(old.modifiedAt, next.modifiedAt))
      assert.isAtLeast(saved.lastSeenAt, Math.max(old.lastSeenAt, next.lastSeenAt))
      const isSame = JSON.stringify(old.expiry.lifetime) === JSON.stringify(next.expiry.lifetime)
      assert.strictEqual(saved.expiry.at, isSame ? Math.max(old.expiry.at, next.expiry.at) : next.expiry.at)
    }))
  })
})

describe("a touch", () => {
  it("moves the last use and the expiry forward, never beyond the deadline, and changes nothing else", () => {
    fc.assert(fc.property(records, time, time, (old, seen, end) => {
      const touched = applyTouch(old, { lastSeenAt: seen, expiresAt: end })
      assert.strictEqual(touched.lastSeenAt, Math.max(old.lastSeenAt, seen))
      assert.isAtLeast(touched.expiry.at, old.expiry.at)
      assert.isAtMost(touched.expiry.at, Math.max(old.expiry.at, Math.min(end, old.expiry.deadline ?? Infinity)))
      const { expiry, lastSeenAt: _, ...rest } = touched
      const { expiry: before, lastSeenAt: __, ...same } = old
      assert.deepStrictEqual([rest, expiry.deadline, expiry.lifetime], [same, before.deadline, before.lifetime])
    }))
  })

  it("is commutative and idempotent", () => {
    fc.assert(fc.property(records, time, time, time, time, (old, seen, end, seen2, end2) => {
      const first = applyTouch(old, { lastSeenAt: seen, expiresAt: end })
      assert.deepStrictEqual(applyTouch(first, { lastSeenAt: seen, expiresAt: end }), first)
      assert.deepStrictEqual(
        applyTouch(first, { lastSeenAt: seen2, expiresAt: end2 }),
        applyTouch(applyTouch(old, { lastSeenAt: seen2, expiresAt: end2 }), { lastSeenAt: seen, expiresAt: end })
      )
    }))
  })
})

it("the order of a list is total: by age, then by id", () => {
  const places = fc.array(fc.record({ createdAt: fc.nat(3), id: fc.constantFrom("a", "b", "c") }), { maxLength: 8 })
  fc.assert(fc.property(places, (all) => {
    const sorted = [...all].sort(byAge).map(({ createdAt, id }) => `${createdAt}${id}`)
    assert.deepStrictEqual(sorted, all.map(({ createdAt, id }) => `${createdAt}${id}`).sort())
    for (const a of all) for (const b of all) assert.strictEqual(Math.sign(byAge(a, b)) + Math.sign(byAge(b, a)), 0)
  }))
})

it("toInfo returns the record without its data", () => {
  fc.assert(fc.property(records, (record) => {
    assert.deepStrictEqual({ ...toInfo(record), data: record.data }, record)
    assert.notProperty(toInfo(record), "data")
  }))
})

it("bounded changes nothing for a clock that is correct or behind", () => {
  fc.assert(fc.property(records, time, (record, now) => {
    assert.strictEqual(bounded(record, now, 1000 - clockSlack), record)
  }))
})

describe("the schema of a record", () => {
  const encode = Schema.encodeSync(Schema.parseJson(SessionRecordSchema))
  const decode = Schema.decodeSync(Schema.parseJson(SessionRecordSchema))

  it("decodes the JSON of every record to the same record, absent fields included", () => {
    fc.assert(fc.property(records, (record) => assert.deepStrictEqual(decode(encode(record)), record)))
  })

  it("rejects an invalid id, a fraction of a millisecond, a lifetime without an end and null", () => {
    const json = JSON.parse(encode(aRecord()))
    const broken = [
      { id: "ann" },
      { createdAt: 1.5 },
      { expiry: { at: 1, lifetime: { _tag: "Until" } } },
      { subject: null }
    ]
    for (const fields of broken) {
      assert.throws(() => decode(JSON.stringify({ ...json, ...fields })), /Expected|is missing/, JSON.stringify(fields))
    }
  })
})

describe("the table of fields", () => {
  it("has each field under its name", () => {
    for (const [name, field] of Object.entries(fields)) assert.strictEqual(field.name, name)
  })

  it("decodes the values that it encodes, from any source", () => {
    fc.assert(fc.property(records, (record) => {
      const values = valuesOf(record)
      const decoded = decodeInfo(
        "field",
        ({ name }) => new Map<string, unknown>(Object.entries(values)).get(name) ?? null
      )
      assert.deepStrictEqual(decoded, toInfo(record))
    }))
  })

  it("decodes an integer in each form in which a driver returns it, and rejects everything else", () => {
    fc.assert(fc.property(fc.maxSafeInteger(), (value) => {
      for (const form of [value, BigInt(value), String(value)]) assert.strictEqual(integer.decode(form), value)
    }))
    for (const value of ["", " 1", "1e3", "0x10", 1.5, NaN, Infinity, "9007199254740993", null, undefined, true, {}]) {
      assert.isUndefined(integer.decode(value), String(value))
    }
  })
})

it("a session is alive until it expires, or until a later revocation of its namespace or its subject", () => {
  const epoch = fc.nat(3)
  const epochs = fc.record({ namespaceEpoch: epoch, subjectEpoch: epoch })
  fc.assert(fc.property(records, epochs, epochs, time, (record, noted, current, now) => {
    const isRevoked = current.namespaceEpoch > noted.namespaceEpoch || current.subjectEpoch > noted.subjectEpoch
    assert.strictEqual(isAlive(record, noted, current, now), now < record.expiry.at && !isRevoked)
  }))
})
