import { assert, describe, it } from "@effect/vitest"
import { DateTime } from "effect"
import * as Content from "../../../src/internal/django/content.js"
import * as DjangoMembers from "../../../src/internal/django/members.js"
import * as Ids from "../../../src/internal/domain/id.js"
import type { JsonRecord } from "../../../src/Json.js"
import type { Lifetime } from "../../../src/Lifetime.js"
import type { SessionRecord } from "../../../src/SessionRecord.js"
import { recordWith } from "../../support/djangoTexts.js"

const utc = DateTime.zoneUnsafeMakeNamed("UTC")
const paris = DateTime.zoneUnsafeMakeNamed("Europe/Paris")
const iso: Content.Dates = { zone: utc, isNaive: false, onlySeconds: false }
const naive: Content.Dates = { zone: paris, isNaive: true, onlySeconds: false }
const seconds: Content.Dates = { zone: utc, isNaive: false, onlySeconds: true }

const signature = "AAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

const contentOf = (json: string, dates = iso): Content.Content =>
  Content.decode({ _tag: "Verified", json, signedAt: 1_767_225_600, signature, secret: 0 }, dates) ?? assert.fail(json)

const recordOf = (json: string, dates = iso) =>
  Content.recordOf(contentOf(json, dates), { namespace: "n", key: "k".repeat(32), expiresAt: Date.UTC(2027, 0) })

const lifetimeOf = (expiry: string, dates = iso) => contentOf(`{"_session_expiry":${expiry}}`, dates).lifetime

const now = Date.UTC(2026, 0)

const encoded = (lifetime: Lifetime | undefined, dates = iso): unknown =>
  JSON.parse(
    Content.encode(recordWith({ now, lifetime }), {}, {
      before: undefined,
      login: undefined,
      fields: undefined,
      dates,
      now
    })
  )._session_expiry

describe("_session_expiry", () => {
  const until = (text: string): Lifetime => ({ _tag: "Until", at: Date.parse(text) })
  it.each(
    [
      ["60", { _tag: "Inactivity", millis: 60_000 }],
      ["-60", { _tag: "Inactivity", millis: -60_000 }],
      ["1.5", { _tag: "Inactivity", millis: 1500 }],
      ["true", { _tag: "Inactivity", millis: 1000 }],
      ["0", { _tag: "Browser" }],
      ["0.0", { _tag: "Browser" }],
      ["false", { _tag: "Browser" }],
      ["null", undefined],
      ["\"\"", undefined],
      ["[]", undefined],
      ["NaN", undefined],
      ["1e300", undefined],
      ["12345678901234567890", undefined],
      ["\"2026-01-01T00:00:10.123456+00:00\"", until("2026-01-01T00:00:10.123Z")],
      ["\"2026-01-01T00:00:10+00:00\"", until("2026-01-01T00:00:10Z")],
      ["\"2026-01-01T00:00:10Z\"", until("2026-01-01T00:00:10Z")],
      ["\"2026-01-01T00:00:10-05:30\"", until("2026-01-01T05:30:10Z")],
      ["\"2026-01-01T00:00:10+05:53:28\"", until("2025-12-31T18:06:42Z")],
      ["\"2026-01-01T00:00:10.5\"", until("2026-01-01T00:00:10.500Z")],
      ["\"2026-02-30T00:00:00\"", undefined],
      ["\"2026-01-01T24:00:00\"", undefined],
      ["\"2026-01-01T00:00 (a comment) Z\"", undefined],
      ["\"tomorrow\"", undefined]
    ] as const
  )("decodes %s", (expiry, lifetime) => assert.deepStrictEqual(lifetimeOf(expiry), lifetime))

  it("takes a date without an offset for one in the zone of Django, which is ambiguous if Django writes dates with an offset", () => {
    const expiry = "\"2026-07-01T12:00:00\""
    assert.deepStrictEqual(lifetimeOf(expiry, naive), until("2026-07-01T10:00:00Z"))
    assert.deepStrictEqual(lifetimeOf(expiry), until("2026-07-01T12:00:00Z"))
    assert.isFalse(contentOf(`{"_session_expiry":${expiry}}`, naive).isAmbiguous)
    assert.isTrue(contentOf(`{"_session_expiry":${expiry}}`).isAmbiguous)
    assert.isFalse(contentOf("{\"_session_expiry\":\"2026-07-01T12:00:00+00:00\"}").isAmbiguous)
  })

  const at = Date.parse("2026-07-01T10:00:00.250Z")
  it.each(
    [
      ["the policy", undefined, iso, undefined],
      ["the end of the browser session", { _tag: "Browser" }, iso, 0],
      ["seconds", { _tag: "Inactivity", millis: 60_000 }, iso, 60],
      ["a part of a second", { _tag: "Inactivity", millis: 60_001 }, iso, 61],
      // 0 would be the end of the browser session.
      ["an inactivity of 0", { _tag: "Inactivity", millis: 0 }, iso, -1],
      ["less than a second ago, rounded away from 0", { _tag: "Inactivity", millis: -999 }, iso, -1],
      ["a minute ago", { _tag: "Inactivity", millis: -60_000 }, iso, -60],
      ["a moment", { _tag: "Until", at }, iso, "2026-07-01T10:00:00.250000+00:00"],
      ["a moment for a Django without USE_TZ", { _tag: "Until", at }, naive, "2026-07-01T12:00:00.250000"],
      ["a moment for Django 3.2", { _tag: "Until", at: now + 60_001 }, seconds, 61],
      ["a moment that is over for Django 3.2", { _tag: "Until", at: now - 1 }, seconds, 1],
      ["a moment after the year 9999", { _tag: "Until", at: 8.64e15 }, iso, "9999-12-30T00:00:00.000000+00:00"]
    ] as const
  )("encodes %s", (_, lifetime, dates, expiry) => assert.strictEqual(encoded(lifetime, dates), expiry))
})

describe("encode", () => {
  const json =
    "{\"_csrftoken\":\"\\u00e9\",\"big\":12345678901234567890,\"_session_expiry\":\"2027-06-30T00:00:00.123456+00:00\"," +
    "\"cart\":{\"n\":1.0},\"__proto__\":1,\"note\":\"a\"}"

  /** Writes data into the session of `json`. */
  const withData = (data: JsonRecord, change: Partial<SessionRecord> = {}) => {
    const content = contentOf(json)
    const record = recordOf(json)
    return Content.encode(
      { ...record, writeId: "the write", ...change },
      data,
      { before: { content, record }, login: undefined, fields: undefined, dates: iso, now }
    )
  }
  const ours = `"_effect_session":{"id":"${
    recordOf(json).id
  }","writeId":"the write","createdAt":1767225600000,"schemaVersion":1}}`

  it("a changed member leaves the sources and the order of all others, and adds _effect_session at the end", () =>
    assert.strictEqual(
      withData({ note: "ä", cart: { n: 1 }, big: { "effect-session/unreadable": "12345678901234567890" } }),
      `${json.replace("\"a\"", "\"\\u00e4\"").slice(0, -1)},${ours}`
    ))

  it("another lifetime replaces _session_expiry at its place", () =>
    assert.strictEqual(
      withData(DjangoMembers.dataOf(contentOf(json).members), {
        expiry: { at: now, deadline: undefined, lifetime: { _tag: "Inactivity", millis: 60_000 } }
      }),
      `${json.replace("\"2027-06-30T00:00:00.123456+00:00\"", "60").slice(0, -1)},${ours}`
    ))

  it("another session keeps nothing of the one before", () =>
    assert.strictEqual(
      withData({ a: 1 }, {
        id: Ids.fromBytes(new Uint8Array(16)),
        expiry: { at: now, deadline: undefined, lifetime: undefined }
      }),
      "{\"a\":1,\"_effect_session\":{\"id\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"writeId\":\"the write\",\"createdAt\":1767225600000,\"schemaVersion\":1}}"
    ))
})

describe("the member _effect_session", () => {
  it.each([
    "null",
    "1",
    "NaN",
    "\"text\"",
    "[]",
    "[{}]",
    "{}",
    "{\"id\":1}",
    "{\"id\":\"../../etc/passwd\"}",
    "{\"createdAt\":\"2026\"}",
    "{\"createdAt\":1.5}",
    "{\"createdAt\":9007199254740991}",
    "{\"deadline\":-9007199254740991}",
    "{\"deadline\":null}",
    "{\"authenticatedAt\":12345678901234567890}",
    "{\"schemaVersion\":\"1\"}",
    "{\"attributes\":[]}",
    "{\"attributes\":{\"methods\":1}}",
    "{\"attributes\":{\"level\":-1}}",
    "{\"attributes\":{\"__proto__\":{\"level\":1}}}",
    "{\"until\":{\"at\":1e400,\"seconds\":5}}",
    "{\"until\":5}",
    "{\"movedFrom\":{}}",
    "{\"__proto__\":{\"deadline\":1}}",
    `{"a":${"[".repeat(1000)}${"]".repeat(1000)}}`
  ])("of a stranger, %s, does not change the session", (source) => {
    const json = `{"cart":[1],"_session_expiry":60,"_auth_user_id":"7","_effect_session":${source}}`
    assert.deepStrictEqual(recordOf(json), recordOf("{\"cart\":[1],\"_session_expiry\":60,\"_auth_user_id\":\"7\"}"))
  })

  it("keeps the record of a session, and its members that are unknown are ignored", () => {
    const id = Ids.fromBytes(new Uint8Array(16))
    const record = recordOf(
      `{"_auth_user_id":"7","_effect_session":{"id":"${id}","createdAt":1,"authenticatedAt":2,"deadline":1800000000000,` +
        "\"schemaVersion\":3,\"attributes\":{\"methods\":[\"pwd\"]},\"later\":1}}"
    )
    assert.deepInclude(record, { id, createdAt: 1, authenticatedAt: 2, schemaVersion: 3, subject: "7" })
    assert.strictEqual(record.expiry.deadline, 1_800_000_000_000)
    assert.strictEqual(record.attributes, "{\"methods\":[\"pwd\"]}")
  })

  it("has the moment of a lifetime in seconds as long as _session_expiry has the same seconds", () => {
    const ours = "\"_effect_session\":{\"until\":{\"at\":1800000000000,\"seconds\":60}}"
    assert.deepStrictEqual(contentOf(`{"_session_expiry":60,${ours}}`).lifetime, {
      _tag: "Until",
      at: 1_800_000_000_000
    })
    assert.deepStrictEqual(contentOf(`{"_session_expiry":61,${ours}}`).lifetime, { _tag: "Inactivity", millis: 61_000 })
    assert.isUndefined(contentOf(`{${ours}}`).lifetime)
  })
})

describe("localText", () => {
  it.each(
    [
      [Infinity, "9999-12-30 00:00:00.000000"],
      [8.64e15, "9999-12-30 00:00:00.000000"],
      [-8.64e15, "0001-01-02 00:00:00.000000"],
      [0, "1970-01-01 00:00:00.000000"],
      [-1, "1969-12-31 23:59:59.999000"]
    ] as const
  )("formats %d as %s", (at, text) => assert.strictEqual(Content.localText(at, utc), text))

  it.each([Infinity, -Infinity])("formats %d with four digits of the year in every zone", (at) => {
    for (const zone of ["Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/Paris"]) {
      assert.match(Content.localText(at, DateTime.zoneUnsafeMakeNamed(zone)), /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}$/)
    }
  })
})
