import { it } from "@effect/vitest"
import { Deferred, Effect, Option } from "effect"
import { assert, describe } from "vitest"
import * as Shop from "../support/shop.js"
import { begin, between, ok, race, ShopSession, show, valueOf } from "../support/shop.js"
import { stores } from "../support/stores.js"

/** Ways to end a session while another request of it is in progress. */
const endings: ReadonlyArray<readonly [string, (shop: Shop.Shop, cookie: string) => Effect.Effect<unknown, unknown>]> =
  [
    ["a logout", (shop, cookie) => shop.request(Effect.zipRight(ShopSession.destroy, ok), cookie)],
    ["a rotation", (shop, cookie) => shop.request(Effect.zipRight(ShopSession.rotate, ok), cookie)],
    ["revokeAll", (shop) => shop.store.revokeAll("test/Shop")],
    ["revokeSubject", (shop) => shop.store.revokeSubject("test/Shop", "ann")],
    [
      "revoke by id",
      (shop, cookie) =>
        Effect.flatMap(
          shop.request(show(Effect.map(ShopSession.id, Option.getOrNull)), cookie),
          ({ body }) =>
            Effect.flatMap(shop.store.list("test/Shop", "ann", Date.now()), (list) => {
              const found = list.find(({ id }) => JSON.stringify(id) === body)
              return found === undefined ? Effect.dieMessage("not listed") : shop.store.revoke("test/Shop", found.id)
            })
        )
    ]
  ]

/** The next step of the parked request, and the expected status. */
const attempts: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown, ShopSession>, number]> = [
  ["save", ShopSession.set("count", 1), 409],
  ["update", ShopSession.update("count", (n) => n + 1), 409],
  ["clear", ShopSession.clear, 409],
  ["rotate", ShopSession.rotate, 409],
  ["save in the handler", Effect.zipRight(ShopSession.set("count", 1), ShopSession.save), 409],
  ["only read", Effect.void, 200]
]

const login = (shop: Shop.Shop) =>
  Effect.flatMap(
    shop.request(
      Effect.all([ShopSession.authenticate("ann"), ShopSession.set("user", "ann")]).pipe(Effect.zipRight(ok))
    ),
    Shop.cookieOf
  )

const isAnonymous = (shop: Shop.Shop, cookie: string) =>
  Effect.map(shop.request(show(Effect.map(ShopSession.id, Option.isNone)), cookie), ({ body }) => body === "true")

for (const [name, layer] of stores) {
  const law = (title: string, body: (shop: Shop.Shop, cookie: string) => Effect.Effect<void, unknown>) =>
    it.live(title, () =>
      Effect.gen(function*() {
        const shop = yield* Shop.make(layer())
        yield* body(shop, yield* login(shop))
      }).pipe(Effect.scoped, Effect.orDie))

  describe(`L2 gone is gone: no request in progress brings an ended session back (${name})`, () => {
    for (const [ending, end] of endings) {
      for (const [attempt, step, status] of attempts) {
        law(
          `after ${ending}, a request in progress cannot bring the session back by: ${attempt}`,
          (shop, cookie) =>
            Effect.gen(function*() {
              const { go, handler, reached } = yield* between(ShopSession.get("user"), step)
              const parked = yield* Effect.fork(shop.request(handler, cookie))
              yield* reached
              yield* end(shop, cookie)
              yield* go
              const answer = yield* parked
              assert.strictEqual(answer.status, status)
              assert.strictEqual(answer.cookie, undefined)
              assert.isTrue(yield* isAnonymous(shop, cookie))
            })
        )
      }
    }

    law(
      "a touch that arrives after the logout is not an error and revives nothing",
      (shop, cookie) =>
        Effect.gen(function*() {
          const record = yield* Effect.flatMap(
            shop.store.list("test/Shop", "ann", Date.now()),
            (list) => list[0] === undefined ? Effect.dieMessage("not listed") : Effect.succeed(list[0])
          )
          // The record was last seen long ago, so that a request that reads it touches it.
          const touched = yield* Deferred.make<void>()
          const go = yield* Deferred.make<void>()
          shop.intercept = (operation, call) =>
            operation === "load"
              ? Effect.map(call, (found) => age(found, record.lastSeenAt - 5 * 86_400_000))
              : operation === "touch"
              ? Deferred.succeed(touched, undefined).pipe(Effect.zipRight(Deferred.await(go)), Effect.zipRight(call))
              : call
          const parked = yield* Effect.fork(shop.request(show(ShopSession.get("user")), cookie))
          yield* Deferred.await(touched)
          yield* shop.request(Effect.zipRight(ShopSession.destroy, ok), cookie)
          yield* Deferred.succeed(go, undefined)
          const answer = yield* parked
          assert.deepStrictEqual([answer.status, answer.body, answer.cookie], [200, `"ann"`, undefined])
          assert.isTrue(yield* isAnonymous(shop, cookie))
        })
    )

    law(
      "a logout in one tab during a login in another: the login commits last and has a session of its own",
      (shop, cookie) =>
        Effect.gen(function*() {
          const answer = yield* race(shop, cookie, {
            first: ShopSession.get("user"),
            meanwhile: ShopSession.destroy,
            second: Effect.zipRight(ShopSession.authenticate("bob"), ShopSession.set("user", "bob"))
          })
          assert.strictEqual(answer.status, 200)
          const fresh = yield* Shop.cookieOf(answer)
          assert.notStrictEqual(fresh, cookie)
          assert.strictEqual((yield* valueOf(shop, fresh)).user, "bob")
          assert.isTrue(yield* isAnonymous(shop, cookie))
        })
    )

    law(
      "concurrent logins from one anonymous session: its data is in at most one of the new sessions",
      (shop) =>
        Effect.gen(function*() {
          const anonymous = yield* begin(shop)
          yield* shop.request(Effect.zipRight(ShopSession.set("count", 5), ok), anonymous)
          const answer = yield* race(shop, anonymous, {
            first: ShopSession.get("user"),
            meanwhile: ShopSession.authenticate("bob"),
            second: ShopSession.authenticate("bob")
          })
          assert.strictEqual(answer.status, 200)
          const second = yield* Shop.cookieOf(answer)
          assert.strictEqual((yield* valueOf(shop, second)).count, 0)
          assert.isTrue(yield* isAnonymous(shop, anonymous))
        })
    )

    law(
      "a login invalidates the previous token, also the login of a session that is already logged in (ASVS 7.2.4)",
      (shop, cookie) =>
        Effect.gen(function*() {
          const answer = yield* shop.request(Effect.zipRight(ShopSession.authenticate("ann"), ok), cookie)
          const next = yield* Shop.cookieOf(answer)
          assert.notStrictEqual(next, cookie)
          assert.isTrue(yield* isAnonymous(shop, cookie))
          assert.strictEqual((yield* valueOf(shop, next)).user, "ann")
        })
    )

    law("a login as another subject starts with empty data and another id", (shop, cookie) =>
      Effect.gen(function*() {
        const idOf = (cookie: string) =>
          Effect.map(shop.request(show(Effect.map(ShopSession.id, Option.getOrNull)), cookie), ({ body }) => body)
        const before = yield* idOf(cookie)
        yield* shop.request(Effect.zipRight(ShopSession.set("notes", { secret: "ann's" }), ok), cookie)
        const next = yield* Effect.flatMap(
          shop.request(
            Effect.all([ShopSession.get("notes"), ShopSession.authenticate("bob")]).pipe(Effect.zipRight(ok)),
            cookie
          ),
          Shop.cookieOf
        )
        const value = yield* valueOf(shop, next)
        assert.deepStrictEqual([value.user, value.notes], [undefined, {}])
        assert.notStrictEqual(yield* idOf(next), before)
      }))

    law("a write after destroy in one request creates a new session", (shop, cookie) =>
      Effect.gen(function*() {
        const answer = yield* shop.request(
          Effect.all([ShopSession.destroy, ShopSession.set("count", 3)]).pipe(Effect.zipRight(ok)),
          cookie
        )
        const next = yield* Shop.cookieOf(answer)
        const value = yield* valueOf(shop, next)
        assert.deepStrictEqual([value.user, value.count], [undefined, 3])
        assert.isTrue(yield* isAnonymous(shop, cookie))
      }))
  })
}

const age = <A>(found: A, lastSeenAt: number): A =>
  Option.isOption(found) && Option.isSome(found)
    ? Option.some({ ...(found.value as object), lastSeenAt }) as A
    : found
