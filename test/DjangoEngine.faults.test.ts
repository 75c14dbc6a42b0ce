/**
 * The engine on Django's table beside a real Django: databases that are down, replies that are lost, and races of both sides.
 */
import * as MysqlClient from "@effect/sql-mysql2/MysqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import { it } from "@effect/vitest"
import { Effect, Exit, Option, Redacted, Scope } from "effect"
import { inspect } from "node:util"
import { assert, describe } from "vitest"
import { range, together } from "./support/concurrency.js"
import * as Beside from "./support/djangoBeside.js"
import { App, post } from "./support/djangoBeside.js"
import { type Database, databases } from "./support/djangoDatabases.js"
import * as LossyProxy from "./support/lossyProxy.js"
import { recording } from "./support/recordedSpans.js"
import * as Django from "./support/servers/django.js"

const increment = App.update("count", (count) => count + 1)

/** A database through a proxy. SQLite has no connections. */
const through: Readonly<Record<string, (url: string) => Database["client"]>> = {
  postgres: (url) => PgClient.layer({ url: Redacted.make(url) }),
  mariadb: (url) => MysqlClient.layer({ url: Redacted.make(url) })
}

for (const [name, open] of databases) {
  describe(`beside Django on ${name}, at the same time`, () => {
    const world = Beside.shared(Beside.world(open))

    it.live("no save of Django is lost to writes here", () =>
      Effect.gen(function*() {
        const { django, effect } = yield* world
        const browser = Django.browser()
        yield* post(browser, django, "set", { saved: 0 })
        const saves = Effect.forEach(range(15), (i) =>
          Effect.gen(function*() {
            yield* post(browser, django, "set", { saved: i + 1 })
            assert.include((yield* Django.me(browser, django)).data, `"saved":${i + 1}`)
          }))
        const writes = Effect.forEach(range(10), () => effect.run(browser, increment))
        yield* together([saves, writes, writes, writes])
        assert.include((yield* Django.me(browser, django)).data, `"saved":15`)
      }))

    it.live("no request of either side brings a session back after a logout of either side", () =>
      Effect.gen(function*() {
        const { django, effect, row, worker } = yield* world
        for (
          const logout of [
            (browser: Django.Browser) => effect.run(browser, App.destroy),
            (browser: Django.Browser) => post(browser, django, "logout")
          ]
        ) {
          for (const _ of range(4)) {
            const key = String((yield* Beside.loggedIn(yield* world)).cookie())
            const each = (request: (browser: Django.Browser) => Effect.Effect<Django.Answer>) =>
              range(4).map(() => request(Beside.browserWith(key)))
            yield* together<unknown, never>([
              ...each((browser) => effect.visit(browser, increment)),
              ...each((browser) => browser.send(`${django.url}/set`, `{"a":1}`)),
              logout(Beside.browserWith(key)),
              ...each((browser) => effect.visit(browser, increment)),
              ...each((browser) => browser.send(`${django.url}/set`, `{"a":1}`))
            ])
            assert.isUndefined(yield* row(key))
            assert.isNull(yield* worker.load("db", key))
          }
        }
      }))

    // Calls of SQLite stay in this process, and have no timeout.
    if (name !== "sqlite") {
      it.scopedLive("a password that is not read within the timeout is answered with 503, and the cookie stays", () =>
        Effect.gen(function*() {
          const there = yield* world
          const server = yield* Beside.start(there.database, { authHash: () => Effect.never, timeout: "200 millis" })
          const browser = yield* Beside.loggedIn(there)
          const key = browser.cookie()
          assert.strictEqual((yield* server.visit(browser, App.subject)).status, 503)
          assert.strictEqual(browser.cookie(), key)
          assert.isDefined(yield* there.row(key))
        }))
    }

    it.scopedLive("no log line and no span has a secret, a key, or the hash of a password", () =>
      Effect.gen(function*() {
        const there = yield* world
        const { spans, traced } = recording()
        const server = yield* traced(Beside.start(there.database))
        const browser = yield* Beside.loggedIn(there)
        const keys = [String(browser.cookie())]
        yield* server.run(browser, App.rotate)
        keys.push(String(browser.cookie()))
        yield* server.visit(browser, App.authenticate("999999"))
        yield* server.visit(browser, App.set("text", "x".repeat(2 ** 20)))
        yield* post(browser, there.django, "raw", `{"count":NaN}`)
        yield* server.run(browser, App.value)
        yield* there.sql`UPDATE django_session SET session_data = ${"corrupt"} WHERE session_key = ${String(keys[1])}`
        yield* server.run(browser, App.value)
        yield* there.sql`ALTER TABLE django_session RENAME TO elsewhere`
        yield* server.visit(browser, App.value)
        yield* server.visit(browser, App.destroy)
        yield* there.sql`ALTER TABLE elsewhere RENAME TO django_session`
        const [password] = yield* there.sql<{ readonly password: string }>`SELECT password FROM auth_user`
        const traces = spans.map(({ attributes, exit, more, name }) =>
          inspect([name, attributes, more, exit?._tag === "Failure" ? exit : undefined], { depth: 20 })
        ).join("\n")
        const lines = server.logs.join("\n")
        assert.isAtLeast(server.logs.length, 4)
        assert.include(traces, "django_session")
        for (const secret of [Django.secretKey, String(password?.password), ...keys]) {
          assert.notInclude(lines, secret)
          assert.notInclude(traces, secret)
        }
      }))
  })

  const client = through[name]
  if (client === undefined) continue

  describe(`beside Django, with ${name} behind a proxy`, () => {
    /** A server whose connections go through a proxy, until the scope of the proxy is closed. */
    const proxied = Effect.gen(function*() {
      const there = yield* Beside.world(open)
      const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
      const url = new URL(there.database.url)
      const proxy = yield* Scope.extend(LossyProxy.make(Number(url.port)), scope)
      url.port = String(proxy.port)
      const server = yield* Beside.start({ url: url.href, client: client(url.href) }, {
        timeout: "10 seconds",
        // Directly, so that a lost reply is that of a write: a login reads the password again.
        authHash: (id) =>
          Effect.map(
            there.sql<{ readonly password: string }>`SELECT password FROM auth_user WHERE id = ${Number(id)}`,
            ([user]) => Option.fromNullable(user?.password)
          )
      })
      return { ...there, proxy, server, down: Scope.close(scope, Exit.void) }
    })

    it.scopedLive("a database that is down is answered with 503, and the cookie stays", () =>
      Effect.gen(function*() {
        const { django, down, server, ...there } = yield* proxied
        const browser = yield* Beside.loggedIn({ ...there, django })
        const key = browser.cookie()
        assert.deepStrictEqual(yield* server.run(browser, App.subject), Option.some("1"))
        yield* down
        for (const handler of [App.subject, App.set("count", 1), App.rotate, App.authenticate("1"), App.destroy]) {
          const { headers, status } = yield* server.visit(browser, handler)
          assert.deepStrictEqual([status, headers.getSetCookie()], [503, []])
        }
        assert.strictEqual((yield* server.visit(browser, Effect.void)).status, 200)
        assert.strictEqual(browser.cookie(), key)
        assert.deepInclude(yield* Django.me(browser, django), { user: "ada", key: key ?? null })
      }))

    it.scopedLive("a write whose reply is lost is done once, and the response knows it", () =>
      Effect.gen(function*() {
        const { django, proxy, row, server, sql, ...there } = yield* proxied
        const world = { ...there, django, row, sql }
        const lost = <A, E>(change: Effect.Effect<A, E, App>) =>
          App.value.pipe(Effect.zipRight(proxy.loseNextReply), Effect.zipRight(change))
        const browser = yield* Beside.loggedIn(world)
        const rows = Effect.map(sql<Beside.Row>`SELECT * FROM django_session`, (rows) => rows.length)
        for (const count of [1, 2, 3]) {
          yield* server.run(browser, lost(increment))
          assert.include((yield* Django.me(browser, django)).data, `"count":${count}`)
        }
        for (const change of [App.rotate, App.authenticate("1")]) {
          const before = browser.cookie()
          yield* server.run(browser, lost(change))
          assert.notStrictEqual(browser.cookie(), before)
          assert.isUndefined(yield* row(before))
          assert.deepInclude(yield* Django.me(browser, django), { user: "ada", key: browser.cookie() ?? null })
          assert.strictEqual(yield* rows, 1)
        }
        yield* server.run(browser, lost(App.destroy))
        assert.strictEqual(yield* rows, 0)
        const stranger = Django.browser()
        yield* server.run(stranger, Effect.zipRight(proxy.loseNextReply, App.set("count", 1)))
        assert.strictEqual(yield* rows, 1)
        assert.strictEqual((yield* Django.me(stranger, django)).key, stranger.cookie())
        assert.isAtLeast(yield* proxy.lost, 7)
      }))
  })
}
