/**
 * A database server that is killed, stopped and cut off under load. The same scenarios run on every database.
 */
import { it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { afterAll, assert, beforeAll } from "vitest"
import { activeMillis } from "./activeTime.js"
import { range, together } from "./concurrency.js"
import * as LossyProxy from "./lossyProxy.js"
import type { Running, Startable } from "./outages.js"
import {
  countIsPlausible,
  failsInTime,
  increment,
  shopOn,
  succeedsInTime,
  timeLimitMillis,
  underLoad
} from "./outages.js"
import { begin, between, ok, ShopSession, valueOf } from "./shop.js"

const logout = Effect.zipRight(ShopSession.destroy, ok)

/** The server that the scenarios of a file share, one after another. */
interface Stage extends Pick<Startable, "client"> {
  readonly server: Running
  /** Restarts the server after it was killed. */
  readonly again: Effect.Effect<void, unknown>
}

const killed = ({ again, client, server }: Stage) =>
  Effect.gen(function*() {
    const shops = yield* shopOn(client(server.url))
    const out = yield* begin(shops.lenient)
    assert.strictEqual((yield* shops.lenient.request(logout, out)).status, 200)

    const crash = Effect.sleep("300 millis").pipe(
      Effect.zipRight(Effect.suspend(() => server.signal("SIGKILL"))),
      Effect.zipRight(again)
    )
    const all = yield* underLoad(shops, crash)
    assert.isAbove(all.reduce((sum, { refused }) => sum + refused, 0), 0)
    yield* Effect.forEach(all, (tally) => countIsPlausible(shops, tally))
    assert.isUndefined((yield* valueOf(shops.lenient, out)).user)
  })

const stopped = ({ client, server }: Stage) =>
  Effect.gen(function*() {
    const { lenient, shop } = yield* shopOn(client(server.url, 2))
    const cookie = yield* begin(lenient)
    yield* server.signal("SIGSTOP")
    yield* together(range(6).map(() => failsInTime(shop.request(increment, cookie))))
    yield* server.signal("SIGCONT")
    assert.strictEqual((yield* lenient.request(increment, cookie)).status, 200)
    assert.strictEqual((yield* valueOf(lenient, cookie)).count, 1)
  })

const stoppedBetween = ({ client, server }: Stage) =>
  Effect.gen(function*() {
    const { lenient, shop } = yield* shopOn(client(server.url, 2))
    const cookie = yield* begin(lenient)
    const { go, handler, reached } = yield* between(ShopSession.get("user"), increment)
    const parked = yield* Effect.fork(failsInTime(shop.request(handler, cookie)))
    yield* reached
    yield* server.signal("SIGSTOP")
    yield* go
    yield* parked
    yield* server.signal("SIGCONT")
    yield* countIsPlausible({ lenient }, { cookie, done: 0, refused: 1 })
  })

const stoppedBeforeLogout = ({ again, client, server }: Stage) =>
  Effect.gen(function*() {
    const { lenient, shop } = yield* shopOn(client(server.url, 2))
    const cookie = yield* begin(lenient)
    yield* server.signal("SIGSTOP")
    yield* failsInTime(shop.request(logout, cookie))
    yield* server.signal("SIGCONT")
    const answer = yield* lenient.request(logout, cookie)
    assert.deepStrictEqual([answer.status, answer.cookie], [200, ""])
    yield* server.signal("SIGKILL")
    yield* again
    assert.isUndefined((yield* valueOf(lenient, cookie)).user)
  })

/** A shop that reaches the server through a proxy that can drop replies. */
const shopBehind = ({ client, server }: Stage, maxConnections: number) =>
  Effect.gen(function*() {
    const url = new URL(server.url)
    const proxy = yield* LossyProxy.make(Number(url.port))
    url.port = String(proxy.port)
    const { lenient, shop } = yield* shopOn(client(url.href, maxConnections))
    return { lenient, shop, proxy, cookie: yield* begin(lenient) }
  })

const loses = (handler: typeof increment) => (stage: Stage) =>
  Effect.gen(function*() {
    const { lenient, cookie, proxy } = yield* shopBehind(stage, 1)
    // The load has ended, and the pool has its connection.
    const story = yield* between(ShopSession.get("user"), handler)
    const parked = yield* Effect.fork(lenient.request(story.handler, cookie))
    yield* story.reached
    yield* proxy.loseNextReply
    yield* story.go
    const answer = yield* parked
    assert.strictEqual(yield* proxy.lost, 1)
    assert.strictEqual(answer.status, 200)
    assert.strictEqual((yield* valueOf(lenient, answer.cookie ?? cookie)).count, 1)
  })

const silenced = (stage: Stage) =>
  Effect.gen(function*() {
    const { lenient, cookie, shop, proxy } = yield* shopBehind(stage, 2)
    yield* proxy.loseReplies
    yield* together(range(6).map(() => failsInTime(shop.request(increment, cookie))))
    yield* proxy.passReplies
    // Connections opened while replies were dropped time out after a second.
    const again = Effect.map(shop.request(increment, cookie), ({ status }) => status === 200)
    const [millis] = yield* activeMillis(Effect.repeat(again, { until: (done) => done }))
    assert.isBelow(millis, timeLimitMillis)
    // As many requests as before, now at once.
    yield* together(range(6).map(() => succeedsInTime(lenient.request(increment, cookie))))
  })

const scenarios: ReadonlyArray<
  readonly [name: string, scenario: (stage: Stage) => Effect.Effect<void, unknown, Scope.Scope>]
> = [
  ["killed under load and restarted: confirmed writes survive and logged-out sessions stay ended", killed],
  [
    "stopped, with more requests than connections: each fails with 503 in time, and requests succeed after it resumes",
    stopped
  ],
  [
    "stopped between load and save: the request fails in time, and its save is applied once or not at all",
    stoppedBetween
  ],
  ["stopped before a logout is confirmed: a second logout succeeds and survives a crash", stoppedBeforeLogout],
  ["the connection breaks before the reply to a save: the save is applied once", loses(increment)],
  [
    "the connection breaks before the reply to a rotation: the rotation is applied once",
    loses(Effect.zipRight(ShopSession.rotate, increment))
  ],
  ["replies are lost and connections stay open: the pool recovers as soon as replies return", silenced]
]

/** Runs all scenarios on a new server. */
export const runScenarios = (startable: Effect.Effect<Startable, unknown, Scope.Scope>) => {
  const scope = Effect.runSync(Scope.make())
  let stage: Stage | undefined
  beforeAll(() =>
    Effect.runPromise(
      Effect.gen(function*() {
        const { client, start } = yield* startable
        const again = Effect.map(Scope.extend(start, scope), (server) => void (stage = { again, client, server }))
        yield* again
      }).pipe(Scope.extend(scope))
    )
  )
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  for (const [name, scenario] of scenarios) {
    it.scopedLive(name, () => stage === undefined ? assert.fail("it did not start") : scenario(stage))
  }
}
