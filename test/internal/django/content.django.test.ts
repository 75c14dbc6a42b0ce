/** Dates and lifetimes as Python and a real Django compute them. */
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Schema } from "effect"
import * as fc from "fast-check"
import * as PublicExpiry from "../../../src/Expiry.js"
import * as Content from "../../../src/internal/django/content.js"
import * as Expiry from "../../../src/internal/domain/expiry.js"
import type { Lifetime } from "../../../src/Lifetime.js"
import { recordWith, sharedWorker } from "../../support/djangoTexts.js"

const ask = sharedWorker()

const zones = [
  "UTC",
  "Europe/Paris",
  "Europe/London",
  "Europe/Dublin",
  "America/New_York",
  "America/Sao_Paulo",
  "America/St_Johns",
  "Africa/Casablanca",
  "Asia/Kolkata",
  "Asia/Kathmandu",
  "Asia/Tehran",
  "Australia/Lord_Howe",
  "Pacific/Apia",
  "Pacific/Chatham",
  "Pacific/Kiritimati"
]

const momentsOf = (texts: ReadonlyArray<string>, zone: string) =>
  ask((django) => django.call("moments", Schema.Array(Schema.NullOr(Schema.Number)), texts, zone))

const localTextsOf = (moments: ReadonlyArray<number>, zone: string) =>
  ask((django) => django.call("localTexts", Schema.Array(Schema.String), moments, zone))

/** Moments between 1970 and 2037, whose zones no later law changes. */
const moment = fc.integer({ min: 0, max: 2_145_916_800_000 })

describe.each(zones)("%s", (name) => {
  const zone = DateTime.zoneUnsafeMakeNamed(name)

  it("formats any moment as Python does, and reads what it has formatted as Python does", () =>
    fc.assert(
      fc.asyncProperty(fc.array(moment, { minLength: 1, maxLength: 50 }), async (moments) => {
        const texts = moments.map((at) => Content.localText(at, zone))
        assert.deepStrictEqual(texts, await localTextsOf(moments, name))
        assert.deepStrictEqual(texts.map((text) => Content.momentOf(text, zone) ?? null), await momentsOf(texts, name))
      }),
      { numRuns: 20 }
    ))

  it("reads the times that a change of the offset repeats or leaves out as Python does", async () => {
    const quarter = 900_000
    const offsetAt = (at: number) => DateTime.zonedOffset(DateTime.unsafeMakeZoned(at, { timeZone: zone }))
    const hour = 3_600_000
    const changes = (from: number, step: number, count: number): ReadonlyArray<number> =>
      Array.from({ length: count }, (_, i) => from + i * step).filter((at) => offsetAt(at) !== offsetAt(at + step))
    // The quarters of an hour around each change of the offset.
    const local = [2010, 2011, 2026].flatMap((year) =>
      changes(Date.UTC(year, 0), 24 * hour, 366)
        .flatMap((day) => changes(day, hour, 24))
        .flatMap((at) => Array.from({ length: 200 }, (_, i) => at + offsetAt(at) + (i - 100) * quarter))
    )
    const texts = [0, ...local].map((at) => new Date(at).toISOString().slice(0, 19))
    assert.deepStrictEqual(texts.map((text) => Content.momentOf(text, zone) ?? null), await momentsOf(texts, name))
  })
})

describe("momentOf", () => {
  const utc = DateTime.zoneUnsafeMakeNamed("UTC")
  const digits = (length: number, max: number) => fc.nat({ max }).map((number) => String(number).padStart(length, "0"))
  const time = fc.tuple(digits(2, 24), digits(2, 60)).map((parts) => parts.join(":"))
  const seconds = fc.option(digits(2, 60).map((text) => `:${text}`), { nil: "" })
  const fraction = fc.constantFrom("", ".123456", ".000001", ".999999", ".5", ".123")
  const offset = fc.oneof(
    fc.constantFrom("", "Z", "+00:00", "-00:00", "+0530", "+05:53:28"),
    fc.tuple(fc.constantFrom("+", "-"), digits(2, 23), digits(2, 59)).map(([sign, h, m]) => `${sign}${h}:${m}`)
  )
  const date = fc.tuple(digits(4, 9999), digits(2, 13), digits(2, 32)).map((parts) => parts.join("-"))

  it("reads any date of isoformat as Python does, and rejects what is none", () =>
    fc.assert(
      fc.asyncProperty(
        fc.tuple(date, fc.constantFrom("T", " "), time, seconds, fraction, offset),
        async ([day, mark, time, seconds, fraction, offset]) => {
          const text = `${day}${mark}${time}${seconds}${seconds === "" ? "" : fraction}${offset}`
          assert.deepStrictEqual([Content.momentOf(text, utc) ?? null], await momentsOf([text], "UTC"), text)
        }
      ),
      { numRuns: 1000 }
    ))
})

describe("_session_expiry", () => {
  const cookieAge = 1_209_600
  const policy = PublicExpiry.sinceModified(cookieAge * 1000)
  const dates = {
    "iso": { zone: DateTime.zoneUnsafeMakeNamed("UTC"), isNaive: false, onlySeconds: false },
    "seconds": { zone: DateTime.zoneUnsafeMakeNamed("UTC"), isNaive: false, onlySeconds: true },
    "naive": { zone: DateTime.zoneUnsafeMakeNamed("UTC"), isNaive: true, onlySeconds: false }
  } as const

  const Computed = Schema.Struct({ end: Schema.String, age: Schema.Number, isBrowser: Schema.Boolean })

  const lifetime: fc.Arbitrary<Lifetime | undefined> = fc.oneof(
    fc.constantFrom<Lifetime | undefined>(undefined, { _tag: "Browser" }),
    fc.integer({ min: -100, max: 40_000_000 }).map((seconds): Lifetime => ({
      _tag: "Inactivity",
      millis: seconds * 1000 || -1000
    })),
    moment.map((at): Lifetime => ({ _tag: "Until", at }))
  )

  it.each(["iso", "seconds", "naive"] as const)("%s: Django computes the end of the record", (form) =>
    fc.assert(
      fc.asyncProperty(lifetime, moment, async (lifetime, at) => {
        // The signature has whole seconds, of which the record is made when it is read.
        const now = Math.floor(at / 1000) * 1000
        const record = recordWith({ now, lifetime })
        const json = Content.encode(record, {}, {
          before: undefined,
          login: undefined,
          fields: undefined,
          dates: dates[form],
          now
        })
        const content = Content.decode(
          { _tag: "Verified", json, signedAt: now / 1000, signature: "A".repeat(43), secret: 0 },
          dates[form]
        ) ?? assert.fail(json)
        assert.deepStrictEqual(content.lifetime, lifetime)
        const { at: end } = Expiry.initial(policy, {
          authenticatedAt: undefined,
          createdAt: now,
          lastSeenAt: now,
          modifiedAt: now
        }, lifetime)
        const computed = await ask((django) => django.call("expiry", Computed, json, now))
        const endOfDjango = Content.momentOf(computed.end, dates[form].zone) ?? assert.fail(computed.end)
        assert.strictEqual(computed.isBrowser, lifetime?._tag === "Browser")
        if (form === "seconds" && lifetime?._tag === "Until") {
          // Whole seconds, and at least one, because 0 has another meaning.
          assert.strictEqual(endOfDjango, Math.max(now + 1000, Math.ceil(end / 1000) * 1000))
        } else {
          assert.strictEqual(endOfDjango, end)
          assert.strictEqual(computed.age, Math.floor((end - now) / 1000))
        }
      }),
      { numRuns: 150 }
    ))
})
