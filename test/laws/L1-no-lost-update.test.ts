import { Effect, Option } from "effect"
import { assert, describe } from "vitest"
import * as Shop from "../support/shop.js"
import { ok, race, ShopSession, show, valueOf } from "../support/shop.js"
import { stores } from "../support/stores.js"

for (const [name, layer] of stores) {
  const law = Shop.lawOn(layer)

  describe(`L1 no lost update: concurrent changes are merged, replayed or rejected with 409, never dropped (${name})`, () => {
    law("50 concurrent requests that each add a note keep all 50", (shop, cookie) =>
      Effect.gen(function*() {
        const keys = Array.from({ length: 50 }, (_, i) => `note-${i}`)
        const answers = yield* Effect.forEach(keys, (key) =>
          shop.request(
            Effect.zipRight(ShopSession.update("notes", (notes) => ({ ...notes, [key]: key })), ok),
            cookie
          ), { concurrency: "unbounded" })
        assert.deepStrictEqual([...new Set(answers.map(({ status }) => status))], [200])
        const { notes } = yield* valueOf(shop, cookie)
        assert.deepStrictEqual(Object.keys(notes).sort(), [...keys].sort())
      }))

    law("100 concurrent increments with update add 100", (shop, cookie) =>
      Effect.gen(function*() {
        const answers = yield* Effect.replicateEffect(
          shop.request(Effect.zipRight(ShopSession.update("count", (n) => n + 1), ok), cookie),
          100,
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual([...new Set(answers.map(({ status }) => status))], [200])
        assert.strictEqual((yield* valueOf(shop, cookie)).count, 100)
      }))

    law("concurrent sets of different fields are both saved", (shop, cookie) =>
      Effect.gen(function*() {
        const answer = yield* race(shop, cookie, {
          first: ShopSession.get("user"),
          meanwhile: ShopSession.set("count", 7),
          second: ShopSession.set("seen", 8)
        })
        assert.strictEqual(answer.status, 200)
        const value = yield* valueOf(shop, cookie)
        assert.deepStrictEqual([value.count, value.seen], [7, 8])
      }))

    law(
      "set of a field that another request changed after its get is a 409 and writes nothing",
      (shop, cookie) =>
        Effect.gen(function*() {
          const answer = yield* race(shop, cookie, {
            first: ShopSession.get("count"),
            meanwhile: ShopSession.set("count", 7),
            second: Effect.zipRight(ShopSession.set("count", 1), ShopSession.set("seen", 5))
          })
          assert.strictEqual(answer.status, 409)
          assert.strictEqual(answer.cookie, undefined)
          const value = yield* valueOf(shop, cookie)
          assert.deepStrictEqual([value.count, value.seen], [7, 0])
        })
    )

    for (
      const [reader, read] of [
        ["value", ShopSession.value],
        ["has", ShopSession.has("count")]
      ] as const
    ) {
      law(
        `set of a field that another request changed after ${reader} is a 409`,
        (shop, cookie) =>
          Effect.gen(function*() {
            const answer = yield* race(shop, cookie, {
              first: read,
              meanwhile: ShopSession.set("count", 7),
              second: ShopSession.set("count", 1)
            })
            assert.strictEqual(answer.status, 409)
            assert.strictEqual((yield* valueOf(shop, cookie)).count, 7)
          })
      )
    }

    law("set of a field that was not read: the later commit wins", (shop, cookie) =>
      Effect.gen(function*() {
        const answer = yield* race(shop, cookie, {
          first: ShopSession.get("user"),
          meanwhile: ShopSession.set("count", 7),
          second: ShopSession.set("count", 1)
        })
        assert.strictEqual(answer.status, 200)
        assert.strictEqual((yield* valueOf(shop, cookie)).count, 1)
      }))

    law(
      "declared merges (union, sum and max) combine concurrent changes of fields that were read and set",
      (shop, cookie) =>
        Effect.gen(function*() {
          yield* shop.request(
            Effect.zipRight(ShopSession.patch({ tags: ["a", "b"], visits: 10, best: 5 }), ok),
            cookie
          )
          const answer = yield* race(shop, cookie, {
            first: ShopSession.value,
            meanwhile: ShopSession.patch({ tags: ["a", "b", "theirs"], visits: 13, best: 9 }),
            second: ShopSession.patch({ tags: ["a", "mine"], visits: 11, best: 7 })
          })
          assert.strictEqual(answer.status, 200)
          const { best, tags, visits } = yield* valueOf(shop, cookie)
          assert.deepStrictEqual({ best, tags, visits }, { best: 9, tags: ["a", "theirs", "mine"], visits: 14 })
        })
    )

    law(
      "modify returns a distinct number to each of 20 concurrent requests, or 409",
      (shop, cookie) =>
        Effect.gen(function*() {
          const ticket = ShopSession.modify("count", (n) => [n + 1, n + 1] as const)
          const answers = yield* Effect.replicateEffect(shop.request(show(ticket), cookie), 20, {
            concurrency: "unbounded"
          })
          const given = answers.filter(({ status }) => status === 200).map(({ body }) => body)
          assert.deepStrictEqual(
            [...new Set(answers.map(({ status }) => status))].filter((s) => s !== 200 && s !== 409),
            []
          )
          assert.strictEqual(new Set(given).size, given.length)
          assert.strictEqual((yield* valueOf(shop, cookie)).count, given.length)
        })
    )

    law(
      "modify whose replay returns another result is a 409 and writes nothing",
      (shop, cookie) =>
        Effect.gen(function*() {
          const answer = yield* race(shop, cookie, {
            first: ShopSession.modify("count", (n) => [n, n + 1] as const),
            meanwhile: ShopSession.set("count", 7),
            second: ShopSession.set("seen", 5)
          })
          assert.strictEqual(answer.status, 409)
          const value = yield* valueOf(shop, cookie)
          assert.deepStrictEqual([value.count, value.seen], [7, 0])
        })
    )

    law("modify is replayed if the given equivalence accepts its new result", (shop, cookie) =>
      Effect.gen(function*() {
        const answer = yield* race(shop, cookie, {
          first: ShopSession.modify(
            "count",
            (n) => [{ even: n % 2 === 0 }, n + 2] as const,
            (a, b) => a.even === b.even
          ),
          meanwhile: ShopSession.set("count", 40),
          second: Effect.void
        })
        assert.strictEqual(answer.status, 200)
        assert.strictEqual((yield* valueOf(shop, cookie)).count, 42)
      }))

    law(
      "an update that throws on the current value is a 409 and writes nothing",
      (shop, cookie) =>
        Effect.gen(function*() {
          const answer = yield* race(shop, cookie, {
            first: ShopSession.update("count", (n) => {
              if (n > 5) throw new Error("too many")
              return n + 1
            }),
            meanwhile: ShopSession.set("count", 7),
            second: Effect.void
          })
          assert.strictEqual(answer.status, 409)
          assert.strictEqual((yield* valueOf(shop, cookie)).count, 7)
        })
    )

    law(
      "an update whose result on the current value is invalid is a 409 and writes nothing",
      (shop, cookie) =>
        Effect.gen(function*() {
          const answer = yield* race(shop, cookie, {
            first: ShopSession.update("count", (n) => n > 5 ? Number.NaN : n + 1),
            meanwhile: ShopSession.set("count", 7),
            second: Effect.void
          })
          assert.strictEqual(answer.status, 409)
          assert.strictEqual((yield* valueOf(shop, cookie)).count, 7)
        })
    )

    law("pop returns a value to at most one of ten concurrent requests", (shop, cookie) =>
      Effect.gen(function*() {
        const taken = yield* Effect.replicateEffect(
          shop.request(show(Effect.map(ShopSession.pop("user"), Option.getOrNull)), cookie),
          10,
          { concurrency: "unbounded" }
        )
        assert.strictEqual(taken.filter(({ body, status }) => status === 200 && body === `"ann"`).length, 1)
      }))

    law(
      "clear after a read of a field that another request changed is a 409 and writes nothing",
      (shop, cookie) =>
        Effect.gen(function*() {
          const answer = yield* race(shop, cookie, {
            first: ShopSession.get("count"),
            meanwhile: ShopSession.set("count", 7),
            second: ShopSession.clear
          })
          assert.strictEqual(answer.status, 409)
          assert.strictEqual((yield* valueOf(shop, cookie)).count, 7)
        })
    )

    law(
      "set of a field whose read is older than a change found by save is a 409",
      (shop, cookie) =>
        Effect.gen(function*() {
          const saveInBetween = Effect.zipRight(ShopSession.update("visits", (n) => n + 1), ShopSession.save)
          const answer = yield* race(shop, cookie, {
            first: ShopSession.get("count"),
            meanwhile: ShopSession.set("count", 7),
            second: Effect.zipRight(saveInBetween, ShopSession.set("count", 1))
          })
          assert.strictEqual(answer.status, 409)
          const value = yield* valueOf(shop, cookie)
          assert.deepStrictEqual([value.count, value.visits], [7, 1])
        })
    )

    law("set of a field that was read again after such a save succeeds", (shop, cookie) =>
      Effect.gen(function*() {
        const saveInBetween = Effect.zipRight(ShopSession.update("visits", (n) => n + 1), ShopSession.save)
        const answer = yield* race(shop, cookie, {
          first: ShopSession.get("count"),
          meanwhile: ShopSession.set("count", 7),
          second: Effect.all([saveInBetween, ShopSession.get("count"), ShopSession.set("count", 1)])
        })
        assert.strictEqual(answer.status, 200)
        assert.strictEqual((yield* valueOf(shop, cookie)).count, 1)
      }))
  })
}
