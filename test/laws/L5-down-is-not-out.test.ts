import * as PgClient from "@effect/sql-pg/PgClient"
import { it } from "@effect/vitest"
import { Effect, Exit, Redacted, Scope } from "effect"
import { SessionStoreError } from "effect-session/SessionStore"
import { mkdtempSync, rmSync } from "node:fs"
import { chmod } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { assert, describe } from "vitest"
import * as EmbeddedPostgres from "../../examples/shop/EmbeddedPostgres.js"
import { freePort } from "../../examples/shop/freePort.js"
import { sqlStore } from "../support/localStores.js"
import { recordsIn } from "../support/scanPages.js"
import * as Shop from "../support/shop.js"
import { begin, ok, ShopSession, show, valueOf } from "../support/shop.js"
import { stores } from "../support/stores.js"

/** Requests, and their status while the store is down. */
const requests = [
  ["untouched", ok, 200],
  ["read", show(ShopSession.get("user")), 503],
  ["has", show(ShopSession.has("user")), 503],
  ["written", Effect.zipRight(ShopSession.set("count", 1), ok), 503],
  ["logged in", Effect.zipRight(ShopSession.authenticate("bob"), ok), 503],
  ["logged out", Effect.zipRight(ShopSession.destroy, ok), 503]
] as const

const down = (shop: Shop.Shop, cookie: string) =>
  Effect.forEach(requests, ([title, handler, status]) =>
    Effect.map(shop.request(handler, cookie), (answer) => {
      assert.strictEqual(answer.status, status, title)
      assert.strictEqual(answer.cookie, undefined, title)
      assert.strictEqual(answer.headers.get("retry-after"), status === 503 ? "5" : null, title)
    }))

for (const [name, layer] of stores) {
  const law = Shop.lawOn(layer)

  describe(`L5 down is not out: a store that is down is answered with 503, and the session is kept (${name})`, () => {
    law(
      "a store that fails is answered with 503 and Retry-After, and the cookie is kept",
      (shop, cookie) =>
        Effect.gen(function*() {
          shop.intercept = (operation) => Effect.fail(new SessionStoreError({ operation, reason: "unavailable" }))
          yield* down(shop, cookie)
          shop.intercept = (_, call) => call
          assert.strictEqual((yield* valueOf(shop, cookie)).user, "ann")
        })
    )

    law(
      "a handler that recovers from the error of a failed store is answered with 200, and nothing is written",
      (shop, cookie) =>
        Effect.gen(function*() {
          shop.intercept = (operation) => Effect.fail(new SessionStoreError({ operation, reason: "unavailable" }))
          const answer = yield* shop.request(
            ShopSession.get("user").pipe(Effect.orElseSucceed(() => "unknown"), show),
            cookie
          )
          assert.deepStrictEqual([answer.status, answer.body, answer.cookie], [200, `"unknown"`, undefined])
        })
    )

    law("a logout that the store did not confirm can be retried", (shop, cookie) =>
      Effect.gen(function*() {
        const logout = Effect.zipRight(ShopSession.destroy, ok)
        shop.intercept = (operation) => Effect.fail(new SessionStoreError({ operation, reason: "unavailable" }))
        assert.strictEqual((yield* shop.request(logout, cookie)).status, 503)
        shop.intercept = (_, call) => call
        const answer = yield* shop.request(logout, cookie)
        assert.deepStrictEqual([answer.status, answer.cookie], [200, ""])
        assert.strictEqual((yield* valueOf(shop, cookie)).user, undefined)
      }))

    law("a load that failed can be retried within the request", (shop, cookie) =>
      Effect.gen(function*() {
        let failures = 1
        shop.intercept = (operation, call) =>
          Effect.suspend(() =>
            failures-- > 0 ? Effect.fail(new SessionStoreError({ operation, reason: "unavailable" })) : call
          )
        const answer = yield* shop.request(
          Effect.retry(ShopSession.update("count", (n) => n + 1), { times: 1 }).pipe(Effect.zipRight(ok)),
          cookie
        )
        assert.strictEqual(answer.status, 200)
        assert.strictEqual((yield* valueOf(shop, cookie)).count, 1)
      }))
  })
}

describe("L5 down is not out: a store that hangs is answered with 503", () => {
  const [, memory] = stores[0] ?? []
  if (memory === undefined) throw new Error("the memory store is missing")

  for (
    const [title, handler] of [["load", show(ShopSession.get("user"))], [
      "destroy",
      Effect.zipRight(ShopSession.destroy, ok)
    ]] as const
  ) {
    it.live(`${title}: 503 within the time limit`, () =>
      Effect.gen(function*() {
        const shop = yield* Shop.make(memory(), { ...Shop.defaultTimeouts, remote: true })
        const cookie = yield* begin(shop)
        shop.intercept = () => Effect.never
        const answer = yield* shop.request(handler, cookie)
        assert.deepStrictEqual([answer.status, answer.headers.get("retry-after"), answer.cookie], [503, "5", undefined])
      }).pipe(Effect.scoped, Effect.orDie))
  }
})

describe("L5 down is not out: a real Postgres", () => {
  it.live("503 while Postgres is stopped; the session is available after its restart, without a restart of the application", () =>
    Effect.gen(function*() {
      const folder = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(Path.join(tmpdir(), "effect-session-l5-"))),
        (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
      )
      yield* Effect.promise(() => chmod(folder, 0o755))
      const port = yield* freePort
      const scope = yield* Scope.make()
      const directory = Path.join(folder, "postgres")
      const start = (scope: Scope.Scope) => Scope.extend(EmbeddedPostgres.make({ directory, port }), scope)
      const url = yield* start(scope)

      const shop = yield* Shop.make(sqlStore(PgClient.layer({ url: Redacted.make(url), maxConnections: 4 })))
      const cookie = yield* begin(shop)
      yield* Scope.close(scope, Exit.void)
      yield* down(shop, cookie)

      yield* start(yield* Effect.scope)
      assert.strictEqual((yield* valueOf(shop, cookie)).user, "ann")
      const answer = yield* shop.request(Effect.zipRight(ShopSession.update("count", (n) => n + 1), ok), cookie)
      assert.strictEqual(answer.status, 200)
    }).pipe(Effect.scoped, Effect.orDie))
})

/** Saves the record as another process would, bypassing the mutex of this one. */
const otherNode = (shop: Shop.Shop) =>
  Effect.gen(function*() {
    const now = Date.now()
    const record = recordsIn(yield* shop.store.scan("test/Shop", { limit: 1, now }))[0]
    const key = shop.keys.at(-1)
    if (record === undefined || key === undefined) return yield* Effect.dieMessage("there is no session")
    const outcome = yield* shop.store.save(key, { ...record, writeId: "of-another-node" }, {
      expectedVersion: record.version,
      now
    })
    assert.strictEqual(outcome, "saved")
  })

describe("L5 down is not out: a write whose reply was lost", () => {
  for (const [name, layer] of stores) {
    for (
      const [operation, handler] of [
        ["save", Effect.zipRight(ShopSession.update("count", (n) => n + 1), ok)],
        [
          "rotate",
          Effect.all([ShopSession.update("count", (n) => n + 1), ShopSession.rotate]).pipe(Effect.zipRight(ok))
        ]
      ] as const
    ) {
      it.live(`${operation} on ${name} is neither lost nor applied twice`, () =>
        Effect.gen(function*() {
          const shop = yield* Shop.make(layer(), { remote: true })
          const cookie = yield* begin(shop)
          let lost = 1
          shop.intercept = (called, call) =>
            called !== operation
              ? call
              : Effect.flatMap(call, (outcome) =>
                lost-- > 0
                  ? Effect.fail(new SessionStoreError({ operation, reason: "unavailable" }))
                  : Effect.succeed(outcome))
          const answer = yield* shop.request(handler, cookie)
          assert.strictEqual(answer.status, 200)
          const current = answer.cookie ?? cookie
          assert.strictEqual((yield* valueOf(shop, current)).count, 1)
        }).pipe(Effect.scoped, Effect.orDie))
    }

    it.live(`on ${name}: if another request wrote in between, the unknown outcome is a 503 and never applied twice`, () =>
      Effect.gen(function*() {
        const shop = yield* Shop.make(layer(), { remote: true })
        const cookie = yield* begin(shop)
        const increment = Effect.zipRight(ShopSession.update("count", (n) => n + 1), ok)
        let first = true
        shop.intercept = (operation, call) =>
          Effect.suspend(() => {
            if (operation !== "save" || !first) return call
            first = false
            return call.pipe(
              Effect.zipLeft(otherNode(shop)),
              Effect.zipRight(Effect.fail(new SessionStoreError({ operation, reason: "unavailable" })))
            )
          })
        const answer = yield* shop.request(increment, cookie)
        assert.strictEqual(answer.status, 503)
        assert.strictEqual((yield* valueOf(shop, cookie)).count, 1)
      }).pipe(Effect.scoped, Effect.orDie))
  }
})
