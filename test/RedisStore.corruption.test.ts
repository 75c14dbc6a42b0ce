import { it } from "@effect/vitest"
import { Cause, Effect } from "effect"
import type { Stored } from "effect-session/Fixtures"
import { isAlive, isDead, start, stored } from "effect-session/Fixtures"
import * as RedisClient from "effect-session/RedisClient"
import type { Store } from "effect-session/SessionStore"
import { inspect } from "node:util"
import { assert, describe } from "vitest"
import { range } from "./support/concurrency.js"
import { freshPrefix } from "./support/localStores.js"
import { ioredisOn, storeOn } from "./support/redisClients.js"
import * as servers from "./support/sharedServers.js"
import { reads, writes } from "./support/storeCalls.js"

const secret = "hunter2"
const unsafe = "9007199254740993"

/** The fields of the metadata by their positions, and invalid values of each. */
const texts = [0, 1, 5]
const integers = [2, 4, 6, 8, 9, 10]
const optionalIntegers = [7, 11]
const invalidIntegers: ReadonlyArray<unknown> = [
  secret,
  "",
  " ",
  "0x10",
  "1800000000000.5",
  "1e3",
  "NaN",
  unsafe,
  1,
  {},
  []
]
const invalidLifetimes: ReadonlyArray<unknown> = [
  secret,
  "",
  "Browser 1",
  "Inactivity",
  "Inactivity ",
  `Until ${secret}`,
  "Until 1 2",
  1,
  {}
]

const fields: ReadonlyArray<readonly [position: number, values: ReadonlyArray<unknown>]> = [
  ...texts.map((position) => [position, [null, 1, {}, [secret]]] as const),
  [3, [1, {}, [secret]]],
  ...integers.map((position) => [position, [null, ...invalidIntegers]] as const),
  ...optionalIntegers.map((position) => [position, invalidIntegers] as const),
  [12, invalidLifetimes],
  [13, [1, {}, [secret]]]
]

/** Texts that are not valid metadata. */
const invalidMetadata = ["", secret, "null", "1", "{}", "[]", `["${secret}"]`, `"${secret}"`, "[".repeat(2000)]

const opened = Effect.gen(function*() {
  const redis = yield* ioredisOn(servers.redis())
  const prefix = freshPrefix()
  const nameOf = ({ key }: Stored) => `${prefix}{all}:${key}`
  return {
    store: yield* storeOn(RedisClient.ioredis(redis), { prefix }),
    metadataOf: (one: Stored) =>
      Effect.map(Effect.promise(() => redis.hget(nameOf(one), "m")), (text): Array<unknown> => JSON.parse(text ?? "")),
    set: (one: Stored, field: string, value: string) => Effect.promise(() => redis.hset(nameOf(one), field, value)),
    unset: (one: Stored, field: string) => Effect.promise(() => redis.hdel(nameOf(one), field)),
    replace: (one: Stored, value: string) => Effect.promise(() => redis.set(nameOf(one), value))
  }
})

/** Reads fail with `corrupt`, and the error contains nothing of the record; another record is not affected. */
const isCorrupt = (store: Store, bad: Stored, good: Stored, what: string) =>
  Effect.gen(function*() {
    const answer = yield* Effect.either(store.load(bad.key, start))
    if (answer._tag === "Right") return assert.fail(`${what}: the record was read, or reported as absent`)
    assert.strictEqual(answer.left.reason, "corrupt", what)
    const reports = [answer.left.message, Cause.pretty(Cause.fail(answer.left)), inspect(answer.left, { depth: 9 })]
    for (const text of reports) {
      for (const part of [secret, unsafe, bad.key]) assert.notInclude(text, part)
    }
    const { id, namespace } = bad.record
    assert.strictEqual((yield* Effect.flip(store.find(namespace, id, start))).reason, "corrupt", what)
    const page = yield* store.scan(namespace, { limit: 10, now: start })
    assert.deepStrictEqual(page.map((one) => "error" in one && [one.id, one.error.reason]), [[id, "corrupt"]], what)
    yield* store.list(namespace, "ann", start)
    yield* isAlive(store, good, start)
  })

describe("a corrupt record", () => {
  for (const [position, values] of fields) {
    it.scopedLive(`field ${position} of the metadata has an invalid value`, () =>
      Effect.gen(function*() {
        const { metadataOf, set, store } = yield* opened
        const good = yield* stored(store)
        for (const value of values) {
          const bad = yield* stored(store, { namespace: "bad" })
          const metadata = yield* metadataOf(bad)
          yield* set(bad, "m", JSON.stringify(range(14).map((i) => i === position ? value : metadata[i] ?? null)))
          yield* isCorrupt(store, bad, good, JSON.stringify(value))
          yield* store.destroy(bad.key)
          yield* isDead(store, bad, start)
        }
      }))
  }

  it.scopedLive("the metadata is invalid, a field of the hash is missing, or the key is of another type", () =>
    Effect.gen(function*() {
      const { replace, set, store, unset } = yield* opened
      const good = yield* stored(store)
      const corruptions: ReadonlyArray<readonly [string, (one: Stored) => Effect.Effect<unknown>]> = [
        ...invalidMetadata.map((text) => [`the metadata ${text}`, (one: Stored) => set(one, "m", text)] as const),
        ["no metadata", (one) => unset(one, "m")],
        ["no data", (one) => unset(one, "d")],
        ["no epoch", (one) => unset(one, "e")],
        ["the epoch", (one) => set(one, "e", secret)],
        ["another type", (one) => replace(one, secret)]
      ]
      for (const [what, act] of corruptions) {
        const bad = yield* stored(store, { namespace: "bad" })
        yield* act(bad)
        yield* isCorrupt(store, bad, good, what)
        yield* store.destroy(bad.key)
        yield* isDead(store, bad, start)
        const other = yield* stored(store, { namespace: "bad" })
        yield* act(other)
        assert.isTrue(yield* store.revoke("bad", other.record.id), what)
        yield* isDead(store, other, start)
        assert.isFalse(yield* store.revoke("bad", other.record.id), what)
      }
    }))

  const operations = ["load", "find", "save", "touch", "rotate"]
  for (const [name, run] of [...reads, ...writes].filter(([name]) => operations.includes(name))) {
    it.scopedLive(`${name} fails with \`corrupt\``, () =>
      Effect.gen(function*() {
        const { set, store } = yield* opened
        const bad = yield* stored(store)
        yield* set(bad, "m", secret)
        const error = yield* Effect.flip(run(store, bad))
        assert.deepStrictEqual([error.operation, error.reason], [name, "corrupt"])
      }))
  }

  it.scopedLive("`removeExpired` removes corrupt records after their expiry, together with other expired ones", () =>
    Effect.gen(function*() {
      const { replace, set, store } = yield* opened
      const ending = (at: number) => ({ expiry: { at, deadline: undefined, lifetime: undefined } })
      const all = yield* Effect.forEach([1, 2, 3, 4], (i) => stored(store, ending(start + i)))
      const [first, second] = all
      if (first !== undefined) yield* set(first, "m", secret)
      if (second !== undefined) yield* replace(second, secret)
      yield* store.revokeSubject("laws", "ann", first?.record.id)
      assert.strictEqual(yield* store.removeExpired({ now: start + 4, limit: 3 }), 3)
      assert.strictEqual(yield* store.removeExpired({ now: start + 4, limit: 3 }), 1)
      assert.deepStrictEqual(yield* store.count(start), { current: 0, expired: 0 })
      for (const { key, record } of all) {
        assert.strictEqual(yield* store.create(key, { ...record, ...ending(start + 5) }, start), "created")
      }
    }))
})
