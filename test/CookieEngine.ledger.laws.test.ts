/**
 * Every law of engines and sessions that applies to cookies with a ledger, in memory and on a real Redis.
 */
import { it } from "@effect/vitest"
import { type Duration, Effect, Layer, Logger, LogLevel, Schema, TestClock } from "effect"
import { MemoryStore, Session } from "effect-session"
import * as CookieEngine from "effect-session/CookieEngine"
import { SessionStore } from "effect-session/SessionStore"
import { engineLaws, storedEngineLaws } from "effect-session/testing"
import { assert, describe } from "vitest"
import { personLawsOf } from "../src/internal/testing/personLaws.js"
import { raceLawsOf } from "../src/internal/testing/raceLaws.js"
import { serviceLawsOf } from "../src/internal/testing/serviceLaws.js"
import { activeMillis } from "./support/activeTime.js"
import { range } from "./support/concurrency.js"
import { firstKey, keyringOf } from "./support/keyrings.js"
import { timeLimitMillis } from "./support/outages.js"
import { storeAt } from "./support/redisClients.js"
import { visit } from "./support/requestWithoutHttp.js"
import { ofRedis, redisClient, redisStore } from "./support/serverClients.js"
import * as Redis from "./support/servers/redis.js"

const engine = (timeout: Duration.DurationInput = "1 minute") =>
  Layer.provide(CookieEngine.layerLedgerWith({ timeout }), keyringOf(firstKey))

const stores = [
  ["with a ledger", () => MemoryStore.layer] as const,
  ...ofRedis(["with a ledger in redis", () => redisStore(redisClient)] as const)
]

for (const [name, store] of stores) {
  for (const { law, name: title } of [...engineLaws, ...storedEngineLaws]) {
    it.live(`${name}: ${title}`, () => Effect.provide(law, Layer.provide(engine(), store())))
  }
  for (const { law, name: title } of [...serviceLawsOf(engine), ...personLawsOf(engine(), { replays: false })]) {
    it.live(`${name}: ${title}`, () => Effect.provide(law, store()))
  }
}

/** Presents the newer cookie, and waits until the grace period of concurrent requests is over. */
const afterwards = <E>(presentsNewer: Effect.Effect<unknown, E>) =>
  Effect.zipRight(presentsNewer, TestClock.adjust("11 seconds"))

for (const { law, name } of raceLawsOf({ engine: engine(), afterwards })) {
  it.effect(`with a ledger: ${name}`, () => Effect.provide(law, MemoryStore.layer))
}

class Tea extends Session.Tag<Tea>()("test/Tea", {
  schema: Schema.Struct({ count: Schema.optionalWith(Schema.Number, { default: () => 0 }) })
}) {}

const increment = Tea.update("count", (n) => n + 1)
const read = Tea.get("count")

describe("a Redis that does not answer", () => {
  for (
    const { test } of ofRedis({
      test: () =>
        it.scopedLive("gives 503 in time, and no session is lost when it answers again", () =>
          Effect.gen(function*() {
            const server = yield* Redis.make()
            const store = yield* storeAt(server.url)
            const served = (timeout?: Duration.DurationInput) =>
              Effect.map(
                Layer.build(
                  Tea.layer.pipe(Layer.provide(engine(timeout)), Layer.provide(Layer.succeed(SessionStore, store)))
                ),
                (context) => Effect.provide(context)
              )
            const [ask, lenient] = [yield* served("1 second"), yield* served()]
            const { cookie } = yield* lenient(visit(Tea, increment))
            const other = yield* lenient(visit(Tea, increment))
            const reached = yield* ask(visit(Tea, Effect.zipRight(increment, server.signal("SIGSTOP")), cookie))
            assert.deepStrictEqual([reached.error?._tag, reached.setCookie], ["SessionUnavailable", undefined])
            const [spent, errors] = yield* activeMillis(
              Effect.forEach(
                range(50),
                () => Effect.flip(ask(visit(Tea, read, cookie))),
                { concurrency: "unbounded" }
              ).pipe(Logger.withMinimumLogLevel(LogLevel.None))
            )
            assert.isBelow(spent, timeLimitMillis)
            for (const error of errors) assert.strictEqual(error._tag, "SessionUnavailable")
            const logout = yield* ask(visit(Tea, Tea.destroy, other.cookie))
            assert.deepStrictEqual([logout.error?._tag, logout.setCookie], ["SessionUnavailable", undefined])
            yield* server.signal("SIGCONT")
            // The outcome of the save is unknown: its cookie was not sent, so the old one stays valid.
            assert.strictEqual((yield* lenient(visit(Tea, read, cookie))).result, 1)
            assert.strictEqual((yield* lenient(visit(Tea, Tea.destroy, other.cookie))).setCookie, "expire")
            assert.strictEqual((yield* lenient(visit(Tea, read, other.cookie))).result, 0)
          }))
    })
  ) test()
})
