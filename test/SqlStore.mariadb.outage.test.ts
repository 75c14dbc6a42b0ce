/**
 * MariaDB, ended, stopped, cut off and out of reach, with visitors in the middle of it.
 */
import * as MysqlClient from "@effect/sql-mysql2/MysqlClient"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import { assert, describe } from "vitest"
import * as Mariadb from "../examples/servers/mariadb.js"
import { freePort } from "../examples/shop/EmbeddedPostgres.js"
import { range, together } from "../src/internal/testing/law.js"
import {
  crashes,
  directory,
  increment,
  isCounted,
  isCut,
  isRefused,
  shopOn,
  starves,
  visiting
} from "./support/outages.js"
import { begin, between, ok, ShopSession, valueOf } from "./support/shop.js"
import { mysqlClient } from "./support/stores.js"
import * as Way from "./support/way.js"

/** A pool that gives up a server which does not say a word after a second. */
const client = (url: string, maxConnections = 3) => {
  const patient = new URL(url)
  patient.searchParams.set("connectTimeout", "1000")
  return MysqlClient.layer({ url: Redacted.make(patient.href), maxConnections })
}

/** A server that can be started again where it was. */
const server = Effect.gen(function*() {
  const options = { directory: `${yield* directory}/data`, port: yield* freePort }
  return Mariadb.make(options)
})

/** A server, and a shop that comes to it by a way on which its words can get lost. */
const shopBehind = (maxConnections: number) =>
  Effect.gen(function*() {
    const url = new URL((yield* yield* server).url)
    const way = yield* Way.make(Number(url.port))
    url.port = String(way.port)
    const { shop } = yield* shopOn(client(url.href, maxConnections))
    return { shop, way, cookie: yield* begin(shop) }
  })

describe("a MariaDB that goes away", () => {
  it.scopedLive(
    "killed: every call says that it is unavailable; started again it holds what was confirmed",
    () =>
      Effect.gen(function*() {
        const start = Effect.map(yield* server, ({ signal, url }) => ({ url, crash: signal("SIGKILL") }))
        yield* crashes({ start, client })
      }),
    60_000
  )

  it.scopedLive(
    "killed under load and started again: nothing that was confirmed is lost, and who is out stays out",
    () =>
      Effect.gen(function*() {
        const start = yield* server
        const { signal, url } = yield* start
        const { shop } = yield* shopOn(client(url))
        const out = yield* begin(shop)
        assert.strictEqual((yield* shop.request(Effect.zipRight(ShopSession.flush, ok), out)).status, 200)

        const crash = Effect.sleep("300 millis").pipe(Effect.zipRight(signal("SIGKILL")), Effect.zipRight(start))
        const all = yield* visiting(shop, crash)
        assert.isAbove(all.reduce((sum, { refused }) => sum + refused, 0), 0)
        yield* Effect.forEach(all, (told) => isCounted(shop, told))
        assert.isUndefined((yield* valueOf(shop, out)).user)
      }),
    60_000
  )

  it.scopedLive(
    "stopped, with more visitors than connections: each is refused in time; then it goes on",
    () =>
      Effect.gen(function*() {
        const { signal, url } = yield* yield* server
        const { shop } = yield* shopOn(client(url, 2))
        const cookie = yield* begin(shop)
        yield* signal("SIGSTOP")
        yield* together(range(6).map(() => isRefused(shop.request(increment, cookie))))
        yield* signal("SIGCONT")
        assert.strictEqual((yield* shop.request(increment, cookie)).status, 200)
        assert.strictEqual((yield* valueOf(shop, cookie)).count, 1)
      }),
    60_000
  )

  it.scopedLive(
    "stopped between load and save: the visitor is refused in time, and it is done once or not at all",
    () =>
      Effect.gen(function*() {
        const { signal, url } = yield* yield* server
        const { shop } = yield* shopOn(client(url, 2))
        const cookie = yield* begin(shop)
        const { go, handler, reached } = yield* between(ShopSession.get("user"), increment)
        const parked = yield* Effect.fork(isRefused(shop.request(handler, cookie)))
        yield* reached
        yield* signal("SIGSTOP")
        yield* go
        yield* parked
        yield* signal("SIGCONT")
        yield* isCounted(shop, { cookie, done: 0, refused: 1 })
      }),
    60_000
  )

  it.scopedLive(
    "stopped before a logout is confirmed: it can be tried again, and is then for good",
    () =>
      Effect.gen(function*() {
        const start = yield* server
        const { signal, url } = yield* start
        const { shop } = yield* shopOn(client(url, 2))
        const cookie = yield* begin(shop)
        const logout = Effect.zipRight(ShopSession.flush, ok)
        yield* signal("SIGSTOP")
        yield* isRefused(shop.request(logout, cookie))
        yield* signal("SIGCONT")
        const answer = yield* shop.request(logout, cookie)
        assert.deepStrictEqual([answer.status, answer.cookie], [200, ""])
        yield* signal("SIGKILL")
        yield* start
        assert.isUndefined((yield* valueOf(shop, cookie)).user)
      }),
    60_000
  )
})

describe("a MariaDB whose words get lost", () => {
  for (
    const [operation, handler] of [
      ["save", increment],
      ["rotation", Effect.zipRight(ShopSession.cycleKey, increment)]
    ] as const
  ) {
    it.scopedLive(`a lost reply to a ${operation}, and its connection with it: it is done, and once`, () =>
      Effect.gen(function*() {
        const { cookie, shop, way } = yield* shopBehind(1)
        // The load is done, and the pool has its connection.
        const story = yield* between(ShopSession.get("user"), handler)
        const parked = yield* Effect.fork(shop.request(story.handler, cookie))
        yield* story.reached
        yield* way.loseNext
        yield* story.go
        const answer = yield* parked
        assert.strictEqual(yield* way.lost, 1)
        assert.strictEqual(answer.status, 200)
        assert.strictEqual((yield* valueOf(shop, answer.cookie ?? cookie)).count, 1)
      }))
  }

  it.scopedLive("a silence that breaks no connection empties the pool for a moment only", () =>
    Effect.gen(function*() {
      const { cookie, shop, way } = yield* shopBehind(2)
      yield* way.silence
      yield* together(range(6).map(() => isRefused(shop.request(increment, cookie))))
      yield* way.open
      // Connections that were begun in the silence are given up after their second.
      const again = Effect.map(shop.request(increment, cookie), ({ status }) => status === 200)
      yield* Effect.timeout(Effect.repeat(again, { until: (done) => done }), "3 seconds")
      // As many as before, and at once.
      const answers = yield* together(range(6).map(() => shop.request(increment, cookie)))
      assert.deepStrictEqual(answers.map(({ status }) => status), range(6).map(() => 200))
    }), 60_000)
})

describe("a MariaDB that has enough of us", () => {
  it.scopedLive(
    "connections that are cut under load are 503 at the worst, and nothing is lost (F25)",
    () =>
      Effect.gen(function*() {
        const { url } = yield* yield* server
        const { shop } = yield* shopOn(client(url))
        const admin = Context.get(yield* Layer.build(client(url, 1)), SqlClient)
        const cut = Effect.tap(
          admin.unsafe<{ readonly id: number }>(
            "SELECT id FROM information_schema.processlist WHERE user = 'root' AND id <> CONNECTION_ID()"
          ),
          Effect.forEach(({ id }) => Effect.ignore(admin.unsafe(`KILL CONNECTION ${id}`)))
        )
        yield* isCut(shop, cut)
      }),
    60_000
  )

  it.scopedLive("a pool that the application has emptied is 503 in time, and works when it is free (F25)", () =>
    starves(mysqlClient({ maxConnections: 1 })))
})
