/**
 * The real Django of the tests, on each database: its views, its held requests and its worker.
 */
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { assert, describe } from "vitest"
import { databases } from "./support/djangoDatabases.js"
import * as Django from "./support/servers/django.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

/** Sends a JSON body, and asserts the status. */
const post = (browser: Django.Browser, url: string, body: object = {}, status = 200) =>
  Effect.map(
    browser.send(url, JSON.stringify(body)),
    (answer) => assert.strictEqual(answer.status, status, answer.body)
  )

const login = (browser: Django.Browser, { url }: Django.Served) => post(browser, `${url}/login`, Django.user)

for (const [name, open] of databases) {
  describe(`Django on ${name}`, () => {
    it.scopedLive("a login lasts from request to request, also after a new key, until the logout", () =>
      Effect.gen(function*() {
        const { client, url: database } = yield* open
        const server = yield* Django.serve({ database, settings: { SESSION_COOKIE_AGE: 600 } })
        const browser = Django.browser()
        yield* post(browser, `${server.url}/login`, { ...Django.user, password: "wrong" }, 403)
        yield* login(browser, server)
        // Digits that JavaScript does not have.
        yield* browser.send(`${server.url}/raw`, `{"n":12345678901234567890,"x":1.0,"s":"\\ud800"}`)
        yield* post(browser, `${server.url}/set`, { gone: true })
        yield* post(browser, `${server.url}/delete`, { key: "gone" })
        const before = yield* Django.me(browser, server)
        assert.deepInclude(before, { user: "ada", key: browser.cookie() ?? "no cookie", expireAge: 600 })
        assert.match(before.data, /^\{"_auth_user_id":"1",.*,"n":12345678901234567890,"x":1\.0,"s":"\\ud800"\}$/)

        yield* post(browser, `${server.url}/cycle`)
        const after = yield* Django.me(browser, server)
        assert.deepInclude(after, { user: "ada", key: browser.cookie() ?? "no cookie", data: before.data })
        assert.notStrictEqual(after.key, before.key)
        const rows = Effect.provide(
          Effect.flatMap(SqlClient, (sql) => sql<{ session_key: string }>`SELECT session_key FROM django_session`),
          client
        )
        assert.deepStrictEqual(yield* rows, [{ session_key: String(after.key) }])

        yield* post(browser, `${server.url}/logout`)
        assert.isUndefined(browser.cookie())
        assert.deepInclude(yield* Django.me(browser, server), { user: null, key: null, data: "{}" })
        assert.deepStrictEqual(yield* rows, [])
        assert.strictEqual(server.log(), "Forbidden: /login\n")
      }))

    it.scopedLive("a change of the password ends the login at the next request", () =>
      Effect.gen(function*() {
        const { url: database } = yield* open
        const server = yield* Django.serve({ database })
        const browser = Django.browser()
        yield* login(browser, server)
        yield* post(Django.browser(), `${server.url}/password`, { ...Django.user, password: "byron" })
        assert.strictEqual((yield* Django.me(browser, server)).user, null)
        assert.isUndefined(browser.cookie())
        yield* post(browser, `${server.url}/login`, { ...Django.user, password: "byron" })
        assert.strictEqual((yield* Django.me(browser, server)).user, "ada")
      }))

    it.scopedLive("a held request writes the session that it loaded over a later one, and gets 400 after a logout", () =>
      Effect.gen(function*() {
        const { url: database } = yield* open
        const server = yield* Django.serve({ database })
        const browser = Django.browser()
        yield* login(browser, server)
        const whileHeld = (meanwhile: Effect.Effect<void>, status: number) =>
          Effect.gen(function*() {
            const held = yield* Effect.fork(post(browser, `${server.url}/hold/a`, { held: 1 }, status))
            yield* browser.send(`${server.url}/held/a`)
            yield* meanwhile
            yield* browser.send(`${server.url}/release/a`)
            yield* Fiber.join(held)
          })
        yield* whileHeld(post(browser, `${server.url}/set`, { lost: 1 }), 200)
        assert.match((yield* Django.me(browser, server)).data, /"held":1\}$/)
        assert.notInclude((yield* Django.me(browser, server)).data, "lost")
        yield* whileHeld(post(browser, `${server.url}/logout`), 400)
        assert.strictEqual((yield* Django.me(browser, server)).user, null)
      }))

    it.scopedLive("the worker and the server have the same sessions", () =>
      Effect.gen(function*() {
        const { url: database } = yield* open
        const server = yield* Django.serve({ database })
        const worker = yield* Django.worker({ database })
        const browser = Django.browser()
        browser.jar.setCookieSync(
          `sessionid=${yield* worker.save("db", `{"x":1.0}`, undefined, { seconds: 60 })}`,
          server.url
        )
        assert.deepInclude(yield* Django.me(browser, server), { data: `{"x":1.0,"_session_expiry":60}`, expireAge: 60 })
        yield* post(browser, `${server.url}/expiry`, { browser: true })
        assert.strictEqual(yield* worker.load("db", String(browser.cookie())), `{"x":1.0,"_session_expiry":0}`)
        yield* post(browser, `${server.url}/flush`)
        assert.isNull(yield* worker.load("db", "a".repeat(32)))
      }))
  })
}

describe("the worker", () => {
  /** A text without equal in JavaScript: a large integer, a float, a lone surrogate, `NaN` and an order of members. */
  const json = `{"2":12345678901234567890,"1":1.0,"s":"\\ud800\\u00e9","n":[NaN,null,{}]}`

  it.scopedLive("returns the text that it has encoded, of each format, unless the secret key is another", () =>
    Effect.gen(function*() {
      const settings = { SESSION_FILE_PATH: yield* temporaryDirectory("django") }
      const worker = yield* Django.worker({ settings })
      const stranger = yield* Django.worker({ settings: { ...settings, SECRET_KEY: "another one" } })
      const data = yield* worker.encode(json)
      assert.strictEqual(yield* worker.decode(data), json)
      assert.strictEqual(yield* stranger.decode(data), "{}")
      for (const backend of ["file", "signed_cookies"] as const) {
        const key = yield* worker.save(backend, json)
        assert.strictEqual(yield* worker.load(backend, key), json)
        assert.strictEqual(yield* stranger.load(backend, key), "{}")
      }
      assert.isNull(yield* worker.load("file", "a".repeat(32)))
      assert.strictEqual(yield* worker.authHash("p"), yield* worker.authHash("p"))
      assert.notStrictEqual(yield* worker.authHash("p"), yield* worker.authHash("q"))
    }))

  it.scopedLive("answers each of many concurrent calls, and goes on after a failed one", () =>
    Effect.gen(function*() {
      const worker = yield* Django.worker()
      const numbers = [-62n, 0n, 9n, 10n, 35n, 36n, 61n, 62n]
      const [error, texts] = yield* Effect.all([
        Effect.flip(worker.encode("{")),
        Effect.forEach(numbers, worker.base62, { concurrency: "unbounded" })
      ], { concurrency: "unbounded" })
      assert.match(error.message, /^encode failed: JSONDecodeError/)
      assert.deepStrictEqual(texts, ["-10", "0", "9", "A", "Z", "a", "z", "10"])
    }))
})

it.scopedLive("a Django that does not start is an error with its output", () =>
  Effect.gen(function*() {
    const error = yield* Effect.flip(Django.serve({ settings: { TIME_ZONE: "Nowhere" } }))
    assert.match(error.message, /^Django \(serve\) ended with 1\. Its output: .*Nowhere/s)
  }))
