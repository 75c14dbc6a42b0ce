/**
 * The engine on Django's table beside a real Django, on each database: values, keys, cookies and failures.
 */
import { it } from "@effect/vitest"
import { DateTime, Deferred, Effect, Fiber, Option } from "effect"
import { assert, describe } from "vitest"
import * as Signing from "../src/internal/django/signing.js"
import * as Beside from "./support/djangoBeside.js"
import { App, post } from "./support/djangoBeside.js"
import { databases } from "./support/djangoDatabases.js"
import * as Django from "./support/servers/django.js"

for (const [name, open] of databases) {
  describe(`an Effect server beside Django on ${name}`, () => {
    const world = Beside.shared(Beside.world(open))

    it.live("reads each field that Django has written, through the schema", () =>
      Effect.gen(function*() {
        const { django, effect } = yield* world
        const browser = Django.browser()
        yield* post(browser, django, "set", {
          cart: ["tea", "käse", "\u0000\u{1F375}"],
          count: 1.5,
          since: "2026-01-02T03:04:05.000Z",
          text: "\"\\\n:\ud800"
        })
        assert.deepStrictEqual(yield* effect.run(browser, App.value), {
          cart: ["tea", "käse", "\u0000\u{1F375}"],
          count: 1.5,
          tags: [],
          since: DateTime.unsafeMake("2026-01-02T03:04:05Z"),
          text: "\"\\\n:\ud800"
        })
      }))

    it.live("writes fields that Django reads with the same values", () =>
      Effect.gen(function*() {
        const { django, effect, row } = yield* world
        const browser = Django.browser()
        yield* effect.run(
          browser,
          App.patch({
            cart: ["tea", "käse", "\u0000\u{1F375}"],
            count: -0.25,
            since: DateTime.unsafeMake("2026-01-02T03:04:05Z"),
            text: "\"\\\n:\ud800"
          })
        )
        const { data, expireAge, key, user } = yield* Django.me(browser, django)
        assert.deepInclude(JSON.parse(data), {
          cart: ["tea", "käse", "\u0000\u{1F375}"],
          count: -0.25,
          since: "2026-01-02T03:04:05.000Z",
          text: "\"\\\n:\ud800"
        })
        assert.deepStrictEqual([key, user, expireAge], [browser.cookie(), null, 14 * 24 * 3600])
        assert.match(String(key), /^[a-z0-9]{32}$/)
        assert.isDefined(yield* row(browser.cookie()))
        assert.strictEqual(django.log(), "")
      }))

    it.live("keeps the text of every member that it does not write, to the letter and in its order", () =>
      Effect.gen(function*() {
        const { django, effect } = yield* world
        const browser = Django.browser()
        const foreign =
          `"2":12345678901234567890,"1":1.0,"e":1e-07,"n":[NaN,-Infinity,null,{}],"__proto__":{"a":1.0},` +
          `"constructor":0.0,"":"","s":"\\ud800 \\u00e9 \\ud83c\\udf75 , : } \\" \\\\"`
        yield* post(browser, django, "raw", `{${foreign},"count":1.0,"cart":["tea"],"after":-0.0}`)
        const before = yield* Django.me(browser, django)
        assert.strictEqual(before.data, `{${foreign},"count":1.0,"cart":["tea"],"after":-0.0}`)
        yield* effect.run(browser, App.set("text", "new"))
        yield* effect.run(browser, App.update("count", (count) => count + 1))
        const after = yield* Django.me(browser, django)
        assert.strictEqual(
          after.data.replace(/,"_effect_session":\{[^}]*\}/, ""),
          `{${foreign},"count":2,"cart":["tea"],"after":-0.0,"text":"new"}`
        )
        yield* effect.run(browser, Effect.zipRight(App.remove("cart"), App.remove("text")))
        assert.strictEqual(
          (yield* Django.me(browser, django)).data.replace(/,"_effect_session":\{[^}]*\}/, ""),
          `{${foreign},"count":2,"after":-0.0}`
        )
        assert.strictEqual(after.key, before.key)
      }))

    for (const value of ["12345678901234567890", "NaN", "-Infinity", "1e400"]) {
      it.live(`a field whose value ${value} JavaScript cannot hold does not fit the schema, and stays as it is`, () =>
        Effect.gen(function*() {
          const { database, django, effect, row } = yield* world
          const browser = Django.browser()
          yield* post(browser, django, "raw", `{"count":${value}}`)
          const before = yield* row(browser.cookie())
          const logged = effect.logs.length
          assert.deepInclude(yield* effect.run(browser, App.value), { count: 0 })
          assert.lengthOf(effect.logs.slice(logged), 1)
          assert.match(String(effect.logs[logged]), /does not fit "test\/Django".*help: data-does-not-fit-schema/)
          const strict = yield* Beside.start(database, { settings: { onUndecodable: "fail" } })
          const { body, status } = yield* strict.visit(browser, App.value)
          assert.strictEqual(status, 503)
          assert.include(body, `"reason":"data"`)
          assert.deepStrictEqual(yield* row(browser.cookie()), before)
        }).pipe(Effect.scoped))
    }

    it.live("clear removes the data of both sides, and keeps the login and the members that Django reserves", () =>
      Effect.gen(function*() {
        const there = yield* world
        const browser = yield* Beside.loggedIn(there)
        yield* post(browser, there.django, "set", { a: 1, count: 1, _csrftoken: "token", _messages: [] })
        yield* post(browser, there.django, "expiry", { seconds: 60 })
        const { key } = yield* Django.me(browser, there.django)
        yield* there.effect.run(browser, App.clear)
        const after = yield* Django.me(browser, there.django)
        assert.deepInclude(after, { user: "ada", key, expireAge: 1209600 })
        assert.sameMembers(
          Object.keys(JSON.parse(after.data)).filter((name) => !name.startsWith("_auth_user_")),
          ["_csrftoken", "_messages", "_effect_session"]
        )
        assert.deepStrictEqual(yield* there.effect.run(browser, App.subject), Option.some("1"))
      }))

    it.live("a session of Django that inflates to more than a mebibyte is anonymous, and stays as it is", () =>
      Effect.gen(function*() {
        const { django, effect, row } = yield* world
        const browser = Django.browser()
        yield* post(browser, django, "set", { text: "x".repeat(1024 * 1024) })
        const before = yield* row(browser.cookie())
        const logged = effect.logs.length
        assert.deepStrictEqual(yield* effect.run(browser, App.getOption("text")), Option.none())
        assert.lengthOf(effect.logs.slice(logged), 1)
        assert.match(
          String(effect.logs[logged]),
          /inflates to more than 1048576 bytes\. \(help: django-session-unreadable\)/
        )
        assert.deepStrictEqual(yield* row(browser.cookie()), before)
      }))

    it.live("a session keeps its id through writes of both sides and new keys of both sides", () =>
      Effect.gen(function*() {
        const { django, effect } = yield* world
        const browser = Django.browser()
        yield* post(browser, django, "set", { a: 1 })
        const id = yield* effect.run(browser, App.id)
        assert.isTrue(Option.isSome(id))
        yield* effect.run(browser, App.set("count", 1))
        yield* post(browser, django, "set", { a: 2 })
        yield* post(browser, django, "cycle")
        yield* effect.run(browser, App.rotate)
        assert.deepStrictEqual(yield* effect.run(browser, App.id), id)
        yield* post(browser, django, "flush")
        yield* post(browser, django, "set", { a: 1 })
        assert.notDeepEqual(yield* effect.run(browser, App.id), id)
      }))

    for (
      const key of [
        "abcdefgh",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklm0",
        "0123-456_789",
        "0123456789abcdef0123456789abcdef0"
      ]
    ) {
      it.live(`the key ${key} is a session of both sides`, () =>
        Effect.gen(function*() {
          const { django, effect, sql, worker } = yield* world
          const made = yield* worker.save("db", `{"count":1}`)
          yield* sql`UPDATE django_session SET session_key = ${key} WHERE session_key = ${made}`
          const browser = Beside.browserWith(key)
          yield* effect.run(browser, App.update("count", (count) => count + 1))
          yield* post(browser, django, "set", { a: 1 })
          assert.strictEqual(yield* effect.run(browser, App.get("count")), 2)
          assert.strictEqual(browser.cookie(), key)
          yield* effect.run(browser, App.destroy)
          assert.isNull(yield* worker.load("db", key))
        }))
    }

    it.live("a key in another case is no key of the session", () =>
      Effect.gen(function*() {
        const { effect, row } = yield* world
        const owner = Django.browser()
        yield* effect.run(owner, App.set("text", "mine"))
        const key = String(owner.cookie())
        const other = Beside.browserWith(key.toUpperCase())
        assert.deepStrictEqual(yield* effect.run(other, App.getOption("text")), Option.none())
        yield* effect.run(other, App.destroy)
        assert.strictEqual(yield* effect.run(owner, App.get("text")), "mine")
        assert.strictEqual((yield* row(key))?.session_key, key)
      }))

    it.live("a malformed or unknown key is anonymous, and a new session gets another key", () =>
      Effect.gen(function*() {
        const { django, effect } = yield* world
        for (const key of ["abcdefg", "a".repeat(32), "a".repeat(41), "a.b".repeat(10), "é".repeat(9)]) {
          const browser = Beside.browserWith(key)
          assert.deepStrictEqual(yield* effect.run(browser, App.subject), Option.none())
          yield* effect.run(browser, App.set("count", 1))
          assert.notStrictEqual(browser.cookie(), key)
          assert.include((yield* Django.me(browser, django)).data, `"count":1`)
        }
      }))

    const texts: ReadonlyArray<readonly [string, (text: string) => string]> = [
      ["a wrong signature", (text) => `${text.slice(0, -2)}${text.endsWith("00") ? "11" : "00"}`],
      ["a payload that was changed", (text) => `a${text}`],
      ["no signature", () => "e30"],
      ["no text", () => ""]
    ]
    for (const [what, corrupt] of texts) {
      it.live(`a row with ${what} is anonymous on both sides, stays as it is, and is one warning`, () =>
        Effect.gen(function*() {
          const { django, effect, row, sql } = yield* world
          const browser = yield* Beside.loggedIn(yield* world)
          const key = String(browser.cookie())
          const text = corrupt(String((yield* row(key))?.session_data))
          yield* sql`UPDATE django_session SET session_data = ${text} WHERE session_key = ${key}`
          const before = yield* row(key)
          const logged = effect.logs.length
          assert.deepStrictEqual(yield* effect.run(browser, App.subject), Option.none())
          assert.lengthOf(effect.logs.slice(logged), 1)
          assert.match(
            String(effect.logs[logged]),
            /^A session of Django in the table .*help: django-session-unreadable\)/
          )
          assert.notInclude(effect.logs[logged], key)
          assert.deepInclude(yield* Django.me(browser, django), { user: null, data: "{}" })
          yield* effect.run(browser, App.set("count", 1))
          assert.notStrictEqual(browser.cookie(), key)
          assert.deepStrictEqual(yield* row(key), before)
        }))
    }

    for (
      const [what, json, reason] of [
        ["a pickle", "\x80\x04}\x94.", /was written by Django's PickleSerializer.*set Django's SESSION_SERIALIZER/],
        ["a list", "[1]", /is signed, but holds no JSON object/]
      ] as const
    ) {
      it.live(`a signed row with ${what} is anonymous, stays as it is, and the warning has the reason`, () =>
        Effect.gen(function*() {
          const { effect, row, sql, worker } = yield* world
          const key = yield* worker.save("db", "{}")
          const signer = Signing.make({ ...Beside.engineOptions, fallbacks: [] }, Signing.salts.sessionStore)
          yield* sql`UPDATE django_session SET session_data = ${yield* signer.sign(json, 0)} WHERE session_key = ${key}`
          const before = yield* row(key)
          const logged = effect.logs.length
          assert.isTrue(yield* effect.run(Beside.browserWith(key), App.isEmpty))
          assert.lengthOf(effect.logs.slice(logged), 1)
          assert.match(String(effect.logs[logged]), reason)
          assert.include(effect.logs[logged], "(help: django-session-unreadable)")
          assert.deepStrictEqual(yield* row(key), before)
        }))
    }

    it.live("a session that is too large is answered with 413, and nothing is written", () =>
      Effect.gen(function*() {
        const { effect, row, sql } = yield* world
        const browser = Django.browser()
        yield* effect.run(browser, App.set("count", 1))
        const before = yield* row(browser.cookie())
        const tooLarge = App.set("text", "x".repeat(1024 * 1024))
        assert.strictEqual((yield* effect.visit(browser, tooLarge)).status, 413)
        assert.deepStrictEqual(yield* row(browser.cookie()), before)
        const stranger = Django.browser()
        const rows = sql`SELECT session_key FROM django_session ORDER BY session_key`
        const all = yield* rows
        assert.strictEqual((yield* effect.visit(stranger, tooLarge)).status, 413)
        assert.isUndefined(stranger.cookie())
        assert.deepStrictEqual(yield* rows, all)
      }))

    it.live("the statements of a request: none if it leaves the session alone, one for a session, one more for a login", () =>
      Effect.gen(function*() {
        const { django, effect, row } = yield* world
        const anonymous = Django.browser()
        yield* post(anonymous, django, "set", { count: 1 })
        const login = yield* Beside.loggedIn(yield* world)
        for (const [browser, reads] of [[anonymous, 1], [login, 2]] as const) {
          const before = yield* row(browser.cookie())
          const made = (handler: Effect.Effect<unknown, unknown, App>) =>
            Effect.map(
              effect.statementsOf(effect.run(browser, handler)),
              (statements) => statements.map((statement) => statement.split(" ", 1).join("")).sort()
            )
          const reading = Array.from({ length: reads }, () => "SELECT")
          assert.deepStrictEqual(yield* made(Effect.void), [])
          assert.deepStrictEqual(yield* made(App.value), reading)
          assert.deepStrictEqual(yield* row(browser.cookie()), before)
          assert.deepStrictEqual(yield* made(App.set("count", 2)), [...reading, "UPDATE"])
          assert.deepStrictEqual(yield* made(App.touch), [...reading, "UPDATE"])
        }
        assert.deepStrictEqual(yield* effect.statementsOf(effect.run(Django.browser(), App.value)), [])
      }))

    it.live("the response of a request is sent when Django can read what it has written", () =>
      Effect.gen(function*() {
        const { effect, worker } = yield* world
        const browser = Django.browser()
        for (let count = 1; count <= 5; count++) {
          const { headers } = yield* effect.visit(browser, App.set("count", count))
          assert.lengthOf(headers.getSetCookie(), 1)
          assert.include(yield* worker.load("db", String(browser.cookie())), `"count":${count}`)
        }
      }))

    it.live("a change is written after the handler has returned, and not before", () =>
      Effect.gen(function*() {
        const { effect, row } = yield* world
        const browser = Django.browser()
        yield* effect.run(browser, App.set("count", 1))
        const before = yield* row(browser.cookie())
        const [reached, go] = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
        const fiber = yield* Effect.fork(effect.run(
          browser,
          App.set("count", 2).pipe(
            Effect.zipRight(Deferred.succeed(reached, undefined)),
            Effect.zipRight(Deferred.await(go))
          )
        ))
        yield* Deferred.await(reached)
        assert.deepStrictEqual(yield* row(browser.cookie()), before)
        yield* Deferred.succeed(go, undefined)
        yield* Fiber.join(fiber)
        assert.notDeepEqual(yield* row(browser.cookie()), before)
      }))

    it.live("the cookie has the attributes of Django's, when it is set and when it is deleted", () =>
      Effect.gen(function*() {
        const { django, effect } = yield* world
        /** Without the value, and without `Expires`, which repeats `Max-Age`. */
        const attributesOf = ({ headers }: Django.Answer) => {
          const [line, ...others] = headers.getSetCookie()
          assert.deepStrictEqual(others, [])
          const [pair = "", ...attributes] = String(line).split("; ")
          return [pair.split("=", 1).join(""), ...attributes.filter((one) => !/^expires=/i.test(one)).sort()]
        }
        const [here, there] = [Django.browser(), Django.browser()]
        const set = attributesOf(yield* post(there, django, "set", { a: 1 }))
        assert.deepStrictEqual(set, ["sessionid", "HttpOnly", "Max-Age=1209600", "Path=/", "SameSite=Lax"])
        assert.deepStrictEqual(attributesOf(yield* effect.visit(here, App.set("count", 1))), set)
        const deleted = attributesOf(yield* post(there, django, "logout"))
        assert.includeMembers(attributesOf(yield* effect.visit(here, App.destroy)), deleted)
        assert.deepStrictEqual([here.cookie(), there.cookie()], [undefined, undefined])
      }))
  })

  it.scopedLive(`a request is answered with 503, and keeps its cookie, if the table on ${name} cannot be read`, () =>
    Effect.gen(function*() {
      const { effect, sql } = yield* Beside.world(open)
      const browser = Django.browser()
      yield* effect.run(browser, App.authenticate("1"))
      const key = browser.cookie()
      yield* sql`ALTER TABLE django_session RENAME TO elsewhere`
      for (const handler of [App.subject, App.set("count", 1), App.destroy, App.rotate]) {
        assert.strictEqual((yield* effect.visit(browser, handler)).status, 503)
        assert.strictEqual(browser.cookie(), key)
      }
      assert.strictEqual((yield* effect.visit(Django.browser(), App.set("count", 1))).status, 503)
      yield* sql`ALTER TABLE elsewhere RENAME TO django_session`
      assert.deepStrictEqual(yield* effect.run(browser, App.subject), Option.some("1"))
      assert.strictEqual(yield* effect.run(browser, App.get("count")), 0)
    }))
}
