/**
 * The engine on Django's table beside a real Django, on each database and in each form of dates: lifetimes and expired sessions.
 */
import { it } from "@effect/vitest"
import { Clock, DateTime, Deferred, Duration, Effect, Fiber, Option } from "effect"
import { Expiry, Lifetime, SessionReaper } from "effect-session"
import { SessionMaintenance } from "effect-session/SessionMaintenance"
import { assert, describe } from "vitest"
import { range } from "./support/concurrency.js"
import * as Beside from "./support/djangoBeside.js"
import { App, post } from "./support/djangoBeside.js"
import { databases } from "./support/djangoDatabases.js"
import * as Django from "./support/servers/django.js"

const twoWeeks = 14 * 24 * 3600

const zone = "Europe/Paris"

const dates = [
  ["USE_TZ", {}],
  [`no USE_TZ, and the TIME_ZONE ${zone}`, {
    django: { USE_TZ: false, TIME_ZONE: zone },
    effect: { timeZone: zone }
  }]
] as const

/** The cookies that an answer sets, each by its Max-Age. One without is for the session of the browser. */
const maxAgesOf = ({ headers }: Django.Answer) =>
  headers.getSetCookie().map((line) => /Max-Age=(-?\d+)/.exec(line)?.[1] ?? "browser")

/** The age in full seconds: it is the difference of two times of the clock. */
const ageOf = (effect: Beside.Server, browser: Django.Browser) =>
  Effect.map(effect.run(browser, App.expiryAge()), (age) => Math.round(Duration.toSeconds(age)))

/** Replaces the text of a session by one with these members, as Django encodes them. */
const overwrite = ({ sql, worker }: Beside.World, key: string, json: string) =>
  Effect.flatMap(
    worker.encode(json),
    (text) => sql`UPDATE django_session SET session_data = ${text} WHERE session_key = ${key}`
  )

for (const [name, open] of databases) {
  for (const [setting, options] of dates) {
    describe(`on ${name}, with ${setting}`, () => {
      const world = Beside.shared(Beside.world(open, {
        ...options,
        effect: { expiryDates: "seconds", ...("effect" in options ? options.effect : {}) }
      }))

      for (
        const [lifetime, age, isBrowser] of [
          [Lifetime.inactivity("60 seconds"), 60, false],
          [Lifetime.inactivity("400 days"), 400 * 24 * 3600, false],
          [Lifetime.browser, twoWeeks, true],
          [Lifetime.byPolicy, twoWeeks, false]
        ] as const
      ) {
        it.live(`the lifetime ${JSON.stringify(lifetime)} that is set here is that of Django and of the cookie`, () =>
          Effect.gen(function*() {
            const { django, effect } = yield* world
            const browser = Django.browser()
            yield* post(browser, django, "expiry", { seconds: 1000 })
            const maxAges = [isBrowser ? "browser" : String(age)]
            assert.deepStrictEqual(maxAgesOf(yield* effect.visit(browser, App.setExpiry(lifetime))), maxAges)
            const me = yield* Django.me(browser, django)
            assert.deepInclude(me, { expireAge: age, expireAtBrowserClose: isBrowser, key: browser.cookie() ?? null })
            assert.deepStrictEqual(maxAgesOf(yield* post(browser, django, "set", { a: 1 })), maxAges)
          }))
      }

      for (
        const [expiry, age, isBrowser] of [
          [{ seconds: 120 }, 120, false],
          [{ browser: true }, twoWeeks, true],
          [{}, twoWeeks, false]
        ] as const
      ) {
        it.live(`the lifetime ${JSON.stringify(expiry)} that Django sets is the lifetime and the Max-Age here`, () =>
          Effect.gen(function*() {
            const { django, effect } = yield* world
            const browser = Django.browser()
            yield* post(browser, django, "set", { a: 1 })
            yield* post(browser, django, "expiry", expiry)
            assert.strictEqual(yield* ageOf(effect, browser), age)
            assert.strictEqual(yield* effect.run(browser, App.expireAtBrowserClose), isBrowser)
            // A cookie for the session of the browser need not be sent again.
            const maxAges = isBrowser ? [] : [String(age)]
            assert.deepStrictEqual(maxAgesOf(yield* effect.visit(browser, App.set("count", 1))), maxAges)
            const me = yield* Django.me(browser, django)
            assert.deepInclude(me, { expireAge: age, expireAtBrowserClose: isBrowser })
          }))
      }

      it.live("the end of `Lifetime.until` is seconds for Django, and stays the same here when Django counts them again", () =>
        Effect.gen(function*() {
          const { django, effect } = yield* world
          const browser = Django.browser()
          const end = DateTime.unsafeMake((yield* Clock.currentTimeMillis) + 3_600_123)
          yield* effect.run(browser, App.setExpiry(Lifetime.until(end)))
          const { expireAge, expireAtBrowserClose } = yield* Django.me(browser, django)
          assert.isFalse(expireAtBrowserClose)
          assert.isAtMost(expireAge, 3601)
          assert.isAtLeast(expireAge, 3500)
          yield* post(browser, django, "set", { a: 1 })
          yield* effect.run(browser, App.set("count", 1))
          yield* post(browser, django, "cycle")
          assert.deepStrictEqual(yield* effect.run(browser, App.endsAt), Option.some(end))
          yield* post(browser, django, "expiry", { seconds: 5000 })
          assert.notDeepEqual(yield* effect.run(browser, App.endsAt), Option.some(end))
          assert.strictEqual(yield* ageOf(effect, browser), 5000)
        }))

      it.live("a session is alive on both sides, or expired on both", () =>
        Effect.gen(function*() {
          const { django, effect, row, worker } = yield* world
          for (const [seconds, isAlive] of [[600, true], [-600, false]] as const) {
            const key = yield* worker.save("db", `{"count":1}`, undefined, { seconds })
            const browser = Beside.browserWith(key)
            assert.strictEqual(yield* effect.run(browser, App.get("count")), isAlive ? 1 : 0)
            assert.strictEqual((yield* Django.me(browser, django)).key, isAlive ? key : null)
            const gone = Beside.browserWith(key)
            const absence = yield* effect.run(gone, App.absence)
            assert.deepStrictEqual(absence, isAlive ? Option.none() : Option.some("expired"))
            assert.isDefined(yield* row(key))
          }
        }))

      it.live("a session that was written here with ten minutes is alive in Django, and has the same end as one of Django's", () =>
        Effect.gen(function*() {
          const there = yield* world
          const [here, browser] = [Django.browser(), Django.browser()]
          yield* there.effect.run(here, App.setExpiry(Lifetime.inactivity("10 minutes")))
          yield* post(browser, there.django, "expiry", { seconds: 600 })
          assert.strictEqual((yield* Django.me(here, there.django)).key, here.cookie())
          const [ours, theirs] = [yield* there.row(here.cookie()), yield* there.row(browser.cookie())]
          const end = (row: Beside.Row | undefined) => new Date(String(row?.expire_date)).getTime()
          // A wrong zone is an hour at least.
          assert.isBelow(Math.abs(end(ours) - end(theirs)), 1_800_000)
          const endsAt = yield* Effect.flatten(there.effect.run(browser, App.endsAt))
          assert.isBelow(Math.abs(endsAt.epochMillis - (yield* Clock.currentTimeMillis) - 600_000), 540_000)
        }))

      it.live("a session that expires during a request is not written by it", () =>
        Effect.gen(function*() {
          const { effect, row, sql, worker } = yield* world
          const expired = yield* row(yield* worker.save("db", "{}", undefined, { seconds: -600 }))
          for (const change of [App.set("count", 2), App.rotate, App.setExpiry(Lifetime.browser)]) {
            const key = yield* worker.save("db", `{"count":1}`)
            const [reached, go] = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
            const held = yield* Effect.fork(effect.visit(
              Beside.browserWith(key),
              App.value.pipe(
                Effect.zipRight(Deferred.succeed(reached, undefined)),
                Effect.zipRight(Deferred.await(go)),
                Effect.zipRight(change)
              )
            ))
            yield* Deferred.await(reached)
            // The text stays the same.
            yield* sql`UPDATE django_session SET expire_date = ${expired?.expire_date ?? ""} WHERE session_key = ${key}`
            const before = yield* row(key)
            yield* Deferred.succeed(go, undefined)
            const { body, status } = yield* Fiber.join(held)
            assert.strictEqual(status, 409)
            assert.include(body, "SessionGone")
            assert.deepStrictEqual(yield* row(key), before)
          }
        }))

      for (
        const [text, end] of [
          ["2030-01-02T03:04:05+00:00", "2030-01-02T03:04:05Z"],
          ["2030-01-02T03:04:05.678901+00:00", "2030-01-02T03:04:05.678Z"],
          ["2030-07-02T03:04:05+05:30", "2030-07-01T21:34:05Z"],
          ["2030-01-02T03:04:05", "effect" in options ? "2030-01-02T02:04:05Z" : "2030-01-02T03:04:05Z"],
          ["2030-07-02T03:04:05.5", "effect" in options ? "2030-07-02T01:04:05.500Z" : "2030-07-02T03:04:05.500Z"]
        ] as const
      ) {
        it.live(`the date ${text} of a newer Django is the end ${end}, and a write keeps its text`, () =>
          Effect.gen(function*() {
            const there = yield* world
            const { effect, row, worker } = there
            const key = yield* worker.save("db", "{}", undefined, { seconds: 10 * 365 * 24 * 3600 })
            yield* overwrite(there, key, `{"_session_expiry":"${text}"}`)
            const browser = Beside.browserWith(key)
            const logged = effect.logs.length
            assert.deepStrictEqual(yield* effect.run(browser, App.endsAt), Option.some(DateTime.unsafeMake(end)))
            const isAmbiguous = !("effect" in options) && !/[+]/.test(text)
            assert.lengthOf(effect.logs.slice(logged), isAmbiguous ? 1 : 0)
            if (isAmbiguous) assert.match(String(effect.logs[logged]), /was taken for UTC.*\(help: django-time-zone\)/)
            yield* effect.run(browser, App.set("count", 1))
            const written = yield* row(key)
            assert.include(
              yield* worker.decode(String(written?.session_data)),
              `{"_session_expiry":"${text}","count":1,`
            )
            assert.deepStrictEqual(yield* effect.run(browser, App.endsAt), Option.some(DateTime.unsafeMake(end)))
          }))
      }

      it.live("a session that would end after the year 9999 is alive, and ends in that year", () =>
        Effect.gen(function*() {
          const { effect, row } = yield* world
          for (const lifetime of [Lifetime.inactivity("4000000 days"), Lifetime.until(DateTime.unsafeMake(8e15))]) {
            const browser = Django.browser()
            yield* effect.run(browser, Effect.zipRight(App.set("count", 1), App.setExpiry(lifetime)))
            assert.isDefined(yield* row(browser.cookie()))
            assert.strictEqual(yield* effect.run(browser, App.get("count")), 1)
            const end = yield* Effect.flatten(effect.run(browser, App.endsAt))
            assert.strictEqual(DateTime.formatIso(end), "9999-12-30T00:00:00.000Z")
          }
        }))

      it.scopedLive("`Lifetime.until` is a date as Django 4.1 writes it, unless it is to be seconds", () =>
        Effect.gen(function*() {
          const { database, row, worker } = yield* world
          const server = yield* Beside.start(database, "effect" in options ? options.effect : {})
          const browser = Django.browser()
          const end = DateTime.unsafeMake("2030-07-02T03:04:05.250Z")
          yield* server.run(browser, App.setExpiry(Lifetime.until(end)))
          assert.include(
            yield* worker.decode(String((yield* row(browser.cookie()))?.session_data)),
            "effect" in options
              ? `"_session_expiry":"2030-07-02T05:04:05.250000"`
              : `"_session_expiry":"2030-07-02T03:04:05.250000+00:00"`
          )
          assert.deepStrictEqual(yield* server.run(browser, App.endsAt), Option.some(end))
        }))

      it.scopedLive("an absolute limit begins with the first write or login here, and stays the same while both sides use the session", () =>
        Effect.gen(function*() {
          const { database, django } = yield* world
          const server = yield* Beside.start(database, {
            ...("effect" in options ? options.effect : {}),
            settings: { expiry: Expiry.earliest(Expiry.sinceModified("1 hour"), Expiry.absolute("2 hours")) }
          })
          const endOf = (browser: Django.Browser) => Effect.flatten(server.run(browser, App.endsAt))
          const hoursUntil = (end: DateTime.Utc) =>
            Effect.map(Clock.currentTimeMillis, (now) => Math.round((end.epochMillis - now) / 3_600_000))
          for (const side of ["here", "Django"]) {
            const browser = Django.browser()
            if (side === "Django") {
              yield* post(browser, django, "set", { a: 1 })
              assert.strictEqual(yield* hoursUntil(yield* endOf(browser)), 14 * 24)
            }
            yield* server.run(browser, App.set("count", 1))
            assert.strictEqual(yield* hoursUntil(yield* endOf(browser)), 1)
            yield* post(browser, django, "set", { a: 1 })
            const end = yield* endOf(browser)
            assert.strictEqual(yield* hoursUntil(end), 2)
            yield* post(browser, django, "cycle")
            yield* server.run(browser, App.set("count", 2))
            yield* server.run(browser, App.rotate)
            yield* server.run(browser, App.setExpiry(Lifetime.inactivity("3 hours")))
            assert.deepStrictEqual(yield* endOf(browser), end)
            yield* post(browser, django, "set", { a: 2 })
            assert.deepStrictEqual(yield* endOf(browser), end)
            yield* server.run(browser, App.authenticate("1"))
            assert.isAbove((yield* endOf(browser)).epochMillis, end.epochMillis)
          }
        }))

      it.scopedLive("each write sends the cookie with the end of the session, also under an absolute limit, as Django does", () =>
        Effect.gen(function*() {
          const { database, django } = yield* world
          const server = yield* Beside.start(database, {
            ...("effect" in options ? options.effect : {}),
            settings: { expiry: Expiry.earliest(Expiry.sinceModified("14 days"), Expiry.absolute("90 days")) }
          })
          const browser = Django.browser()
          for (const count of [1, 2]) {
            assert.deepStrictEqual(maxAgesOf(yield* server.visit(browser, App.set("count", count))), [String(twoWeeks)])
            assert.deepStrictEqual(maxAgesOf(yield* post(browser, django, "set", { a: count })), [String(twoWeeks)])
          }
        }))

      it.scopedLive("maintenance counts and deletes the expired sessions of both sides, in batches, and no others", () =>
        Effect.gen(function*() {
          const { effect: { maintenance, run }, sql, worker } = yield* world
          yield* sql`DELETE FROM django_session`
          const expired = { seconds: -600 }
          yield* Effect.forEach(range(7), () => worker.save("db", "{}", undefined, expired))
          const alive = yield* worker.save("db", "{}", undefined, { seconds: 600 })
          const browser = Django.browser()
          yield* run(browser, App.setExpiry(Lifetime.inactivity("10 minutes")))
          const now = yield* Clock.currentTimeMillis
          assert.deepStrictEqual(yield* maintenance.count(now), { current: 2, expired: 7 })
          assert.strictEqual(yield* maintenance.removeExpired({ now, limit: 3 }), 3)
          assert.deepStrictEqual(yield* maintenance.count(now), { current: 2, expired: 4 })
          const batches: Array<number> = []
          const removed = yield* SessionReaper.sweep({
            batch: 3,
            pause: "1 millis",
            onBatch: (count) => Effect.sync(() => void batches.push(count))
          }).pipe(Effect.provideService(SessionMaintenance, maintenance))
          assert.deepStrictEqual([removed, batches], [4, [3, 1]])
          const rows = yield* sql<Beside.Row>`SELECT * FROM django_session`
          assert.sameMembers(rows.map(({ session_key }) => session_key), [alive, String(browser.cookie())])
        }))
    })
  }
}
