/** One session per user: logins that end the user's other sessions, and the data they keep. */
import { it } from "@effect/vitest"
import { Context, Effect, Layer, MutableRef, Option, Redacted } from "effect"
import { MemoryStore, StoredEngine } from "effect-session"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import { assert, describe } from "vitest"
import { someOrders } from "../src/internal/testing/interleave.js"
import { increment, on, read, Tea } from "./support/ledgerEngines.js"
import { visit } from "./support/requestWithoutHttp.js"
import * as Shop from "./support/shop.js"
import { begin, between, ok, race, ShopSession, show, valueOf } from "./support/shop.js"
import { stores } from "./support/stores.js"

const exclusively = Effect.zipRight(ShopSession.authenticateExclusively("ann"), ShopSession.set("user", "ann"))

/** The recipe in the documentation of 0.5.0. */
const recipe = Effect.gen(function*() {
  const sessions = yield* ShopSession.service
  yield* ShopSession.authenticate("ann")
  yield* sessions.revokeSubject("ann")
  yield* ShopSession.set("user", "ann")
})
/** The same in the reverse order. */
const revokedFirst = Effect.gen(function*() {
  const sessions = yield* ShopSession.service
  yield* sessions.revokeSubject("ann")
  yield* ShopSession.authenticate("ann")
  yield* ShopSession.set("user", "ann")
})
/** Ends each session of the user by its id. */
const revokedById = Effect.gen(function*() {
  const sessions = yield* ShopSession.service
  yield* ShopSession.authenticate("ann")
  yield* Effect.flatMap(sessions.list("ann"), Effect.forEach(({ id }) => sessions.revoke(id)))
  yield* ShopSession.set("user", "ann")
})

const ways = [
  ["authenticateExclusively", exclusively],
  ["authenticate, then revokeSubject", recipe],
  ["revokeSubject, then authenticate", revokedFirst],
  ["authenticate, then revoke of each", revokedById]
] as const

const login = (shop: Shop.Shop, cookie?: string) =>
  Effect.flatMap(
    shop.request(
      Effect.all([ShopSession.authenticate("ann"), ShopSession.set("tags", ["tea"])]).pipe(Effect.zipRight(ok)),
      cookie
    ),
    Shop.cookieOf
  )

const sessionsOf = (shop: Shop.Shop, subject = "ann") => shop.store.list("test/Shop", subject, Date.now())

const isAnonymous = (shop: Shop.Shop, cookie: string) =>
  Effect.map(shop.request(show(Effect.map(ShopSession.id, Option.isNone)), cookie), ({ body }) => body === "true")

for (const [name, layer] of stores) {
  const law = (title: string, body: (shop: Shop.Shop) => Effect.Effect<void, unknown>) =>
    it.live(title, () => Shop.make(layer()).pipe(Effect.flatMap(body), Effect.scoped, Effect.orDie))

  describe(`one session per user (${name})`, () => {
    for (const [way, again] of ways) {
      law(
        `${way}: a second login of the same subject keeps the data and ends the other sessions`,
        (shop) =>
          Effect.gen(function*() {
            const [elsewhere, cookie] = [yield* login(shop), yield* login(shop)]
            const next = yield* Effect.flatMap(shop.request(Effect.zipRight(again, ok), cookie), Shop.cookieOf)
            const value = yield* valueOf(shop, next)
            assert.deepStrictEqual([value.user, value.tags], ["ann", ["tea"]])
            assert.deepStrictEqual([yield* isAnonymous(shop, cookie), yield* isAnonymous(shop, elsewhere)], [
              true,
              true
            ])
            assert.lengthOf(yield* sessionsOf(shop), 1)
          })
      )

      law(
        `${way}: a session that another request ended meanwhile stays ended, and its data is not restored`,
        (shop) =>
          Effect.gen(function*() {
            const cookie = yield* login(shop)
            const { go, handler, reached } = yield* between(ShopSession.get("user"), again)
            const parked = yield* Effect.fork(shop.request(handler, cookie))
            yield* reached
            yield* shop.request(Effect.zipRight(ShopSession.destroy, ok), cookie)
            yield* go
            const next = yield* Effect.flatMap(parked, Shop.cookieOf)
            assert.deepStrictEqual((yield* valueOf(shop, next)).tags, [])
            assert.lengthOf(yield* sessionsOf(shop), 1)
          })
      )

      law(
        `${way}: a login as another subject starts with no data of the previous subject`,
        (shop) =>
          Effect.gen(function*() {
            const bobs = yield* Effect.flatMap(
              shop.request(
                Effect.all([ShopSession.authenticate("bob"), ShopSession.set("tags", ["bob's"])]).pipe(
                  Effect.zipRight(ok)
                )
              ),
              Shop.cookieOf
            )
            const next = yield* Effect.flatMap(shop.request(Effect.zipRight(again, ok), bobs), Shop.cookieOf)
            assert.deepStrictEqual((yield* valueOf(shop, next)).tags, [])
          })
      )
    }

    law(
      "a login that ends its own session carries over the data stored at that time, unknown fields included",
      (shop) =>
        Effect.gen(function*() {
          const cookie = yield* login(shop)
          const [entry] = yield* shop.store.scan("test/Shop", { limit: 1, now: Date.now() })
          if (entry === undefined || !("data" in entry)) return assert.fail("the record is missing")
          yield* shop.store.save(entry.key, { ...entry, data: `{"tags":["tea"],"newer":1}` }, {
            expectedVersion: entry.version,
            now: Date.now()
          })
          const answer = yield* race(shop, cookie, {
            first: ShopSession.get("tags"),
            meanwhile: ShopSession.update("tags", (tags) => [...tags, "cake"]),
            second: Effect.zipRight(recipe, ShopSession.update("count", (n) => n + 1))
          })
          const next = yield* Shop.cookieOf(answer)
          const value = yield* valueOf(shop, next)
          assert.deepStrictEqual([value.tags, value.count], [["tea", "cake"], 1])
          const [after] = yield* shop.store.scan("test/Shop", { limit: 10, now: Date.now() })
          assert.strictEqual(JSON.parse(after !== undefined && "data" in after ? after.data : "{}").newer, 1)
        })
    )

    law(
      "after revokeSubject of its own session, a request that does not log in has no session",
      (shop) =>
        Effect.gen(function*() {
          const cookie = yield* login(shop)
          const answer = yield* shop.request(
            Effect.gen(function*() {
              const sessions = yield* ShopSession.service
              yield* sessions.revokeSubject("ann")
              yield* ShopSession.update("count", (n) => n + 1)
              return yield* ok
            }),
            cookie
          )
          assert.deepStrictEqual([answer.status, answer.cookie], [409, undefined])
          assert.lengthOf(yield* sessionsOf(shop), 0)
          assert.isTrue(yield* isAnonymous(shop, cookie))
        })
    )

    law(
      "two concurrent exclusive logins, from two browsers or from one, leave exactly one session",
      (shop) =>
        Effect.gen(function*() {
          const cookie = yield* login(shop)
          for (const cookies of [[undefined, undefined], [cookie, cookie], [cookie, undefined]]) {
            const parked = yield* Effect.forEach(cookies, (cookie) =>
              Effect.gen(function*() {
                const { go, handler, reached } = yield* between(ShopSession.get("user"), exclusively)
                const fiber = yield* Effect.fork(shop.request(handler, cookie))
                yield* reached
                return { go, fiber }
              }))
            yield* Effect.forEach(parked, ({ go }) => go)
            const answers = yield* Effect.forEach(parked, ({ fiber }) => fiber)
            assert.deepStrictEqual(answers.map(({ status }) => status), [200, 200])
            assert.lengthOf(yield* sessionsOf(shop), 1)
            const next = yield* Effect.forEach(answers, Shop.cookieOf)
            const live = yield* Effect.filter(next, (cookie) => Effect.map(isAnonymous(shop, cookie), (is) => !is))
            assert.lengthOf(live, 1)
          }
        })
    )

    law(
      "concurrent exclusive logins from two tabs of one browser keep the cart in the one session that remains",
      (shop) =>
        Effect.gen(function*() {
          const cookie = yield* login(shop)
          const answer = yield* race(shop, cookie, {
            first: ShopSession.get("tags"),
            meanwhile: exclusively,
            second: exclusively
          })
          const next = yield* Shop.cookieOf(answer)
          const value = yield* valueOf(shop, next)
          assert.deepStrictEqual([value.user, value.tags], ["ann", ["tea"]])
          assert.lengthOf(yield* sessionsOf(shop), 1)
        })
    )

    law("an exclusive login carries over the data of an anonymous session", (shop) =>
      Effect.gen(function*() {
        const anonymous = yield* begin(shop)
        yield* shop.request(Effect.zipRight(ShopSession.set("tags", ["tea"]), ok), anonymous)
        const next = yield* Effect.flatMap(shop.request(Effect.zipRight(exclusively, ok), anonymous), Shop.cookieOf)
        assert.deepStrictEqual((yield* valueOf(shop, next)).tags, ["tea"])
      }))
  })
}

describe("exclusive logins in several processes", () => {
  const processOn = (store: Store) =>
    Effect.scoped(Layer.build(
      ShopSession.layerWith({ commitTimeout: "1 minute" }).pipe(
        Layer.provideMerge(StoredEngine.layerWith({ timeout: "1 minute" })),
        Layer.provide(Layer.succeed(SessionStore, store))
      )
    ))

  it.live("two or three at once leave exactly one session, that of an answered login, in 60 orders of their store calls", () =>
    Effect.forEach([2, 3], (many) =>
      someOrders(
        Effect.gen(function*() {
          const store = MemoryStore.make()
          const tokens = MutableRef.make<ReadonlyArray<string>>([])
          return {
            requests: Array.from({ length: many }, () => (parking: Parameters<typeof FaultyStore.intercept>[1]) =>
              Effect.gen(function*() {
                const context = yield* processOn(FaultyStore.intercept(store, parking))
                const { cookie, error } = yield* Effect.provide(visit(ShopSession, exclusively), context)
                assert.isUndefined(error)
                if (cookie !== undefined) {
                  MutableRef.update(tokens, (all) => [...all, cookie])
                }
              })),
            check: Effect.gen(function*() {
              const context = yield* processOn(store)
              const service = Context.get(context, ShopSession.service)
              const live = yield* Effect.filter(MutableRef.get(tokens), (token) =>
                service.exists(Redacted.make(token)))
              assert.lengthOf(yield* store.list("test/Shop", "ann", Date.now()), 1)
              assert.lengthOf(live, 1)
            }).pipe(Effect.orDie)
          }
        }),
        60,
        many
      )).pipe(Effect.orDie))
})

describe("an exclusive login", () => {
  it.live("fails with 503 and sends its cookie if the other sessions cannot be ended", () =>
    Effect.gen(function*() {
      const shop = yield* Shop.make(MemoryStore.layer)
      const cookie = yield* login(shop)
      shop.intercept = (operation, call) =>
        operation === "revokeSubject"
          ? Effect.fail(new SessionStoreError({ operation, reason: "unavailable" }))
          : call
      const answer = yield* shop.request(Effect.zipRight(exclusively, ok), cookie)
      assert.strictEqual(answer.status, 503)
      assert.strictEqual((yield* valueOf(shop, yield* Shop.cookieOf(answer))).user, "ann")
    }).pipe(Effect.scoped, Effect.orDie))

  it.live("is undone by discard and by a 500 response, before any session has ended", () =>
    Effect.gen(function*() {
      const shop = yield* Shop.make(MemoryStore.layer)
      const cookie = yield* login(shop)
      yield* shop.request(Effect.all([exclusively, ShopSession.discard]).pipe(Effect.zipRight(ok)), cookie)
      const failed = yield* shop.request(Effect.zipRight(exclusively, Effect.fail("broken")), cookie)
      assert.deepStrictEqual([failed.status, failed.cookie], [500, undefined])
      assert.deepStrictEqual((yield* valueOf(shop, cookie)).tags, ["tea"])
    }).pipe(Effect.scoped, Effect.orDie))
})

describe("cookie sessions with a ledger", () => {
  it.effect("an exclusive login, or authenticate with revokeSubject, keeps the data and ends the other cookies", () =>
    Effect.gen(function*() {
      for (
        const login of [
          Tea.authenticateExclusively("ann"),
          Effect.flatMap(
            Tea.service,
            (sessions) => Effect.zipRight(Tea.authenticate("ann"), sessions.revokeSubject("ann"))
          )
        ]
      ) {
        const other = yield* visit(Tea, Effect.zipRight(Tea.authenticate("ann"), increment))
        const mine = yield* visit(Tea, Effect.zipRight(Tea.authenticate("ann"), increment))
        const next = yield* visit(Tea, Effect.zipRight(login, increment), mine.cookie)
        assert.isUndefined(next.error)
        assert.strictEqual((yield* visit(Tea, read, next.cookie)).result, 2)
        const isOut = (cookie: string | undefined) =>
          Effect.map(visit(Tea, Tea.subject, cookie), ({ result }) => Option.isNone(result))
        assert.deepStrictEqual([yield* isOut(mine.cookie), yield* isOut(other.cookie)], [true, true])
      }
    }).pipe(Effect.provide(on(MemoryStore.make())), Effect.orDie))
})

/** Never called: a compile-time test. */
// @ts-expect-error: an engine that cannot revoke does not provide what an exclusive login requires
export const asks: Effect.Effect<void, unknown, ShopSession> = ShopSession.authenticateExclusively("ann")
