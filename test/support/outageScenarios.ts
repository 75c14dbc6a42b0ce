/**
 * A server that is killed, stopped and cut off, with visitors in the middle of it: told once, for every database.
 */
import { it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { afterAll, assert, beforeAll } from "vitest"
import { range, together } from "../../src/internal/testing/law.js"
import { activeMillis } from "./activeTime.js"
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

/** A server that the scenes of a file share, one after another. */
interface Stage extends Pick<Startable, "client"> {
  readonly server: Running
  /** Starts it again after it was killed. */
  readonly again: Effect.Effect<void, unknown>
}

const killed = ({ again, client, server }: Stage) =>
  Effect.gen(function*() {
    const shops = yield* shopOn(client(server.url))
    const out = yield* begin(shops.calm)
    assert.strictEqual((yield* shops.calm.request(logout, out)).status, 200)

    const crash = Effect.sleep("300 millis").pipe(
      Effect.zipRight(Effect.suspend(() => server.signal("SIGKILL"))),
      Effect.zipRight(again)
    )
    const all = yield* underLoad(shops, crash)
    assert.isAbove(all.reduce((sum, { refused }) => sum + refused, 0), 0)
    yield* Effect.forEach(all, (told) => countIsPlausible(shops, told))
    assert.isUndefined((yield* valueOf(shops.calm, out)).user)
  })

const stopped = ({ client, server }: Stage) =>
  Effect.gen(function*() {
    const { calm, shop } = yield* shopOn(client(server.url, 2))
    const cookie = yield* begin(calm)
    yield* server.signal("SIGSTOP")
    yield* together(range(6).map(() => failsInTime(shop.request(increment, cookie))))
    yield* server.signal("SIGCONT")
    assert.strictEqual((yield* calm.request(increment, cookie)).status, 200)
    assert.strictEqual((yield* valueOf(calm, cookie)).count, 1)
  })

const stoppedBetween = ({ client, server }: Stage) =>
  Effect.gen(function*() {
    const { calm, shop } = yield* shopOn(client(server.url, 2))
    const cookie = yield* begin(calm)
    const { go, handler, reached } = yield* between(ShopSession.get("user"), increment)
    const parked = yield* Effect.fork(failsInTime(shop.request(handler, cookie)))
    yield* reached
    yield* server.signal("SIGSTOP")
    yield* go
    yield* parked
    yield* server.signal("SIGCONT")
    yield* countIsPlausible({ calm }, { cookie, done: 0, refused: 1 })
  })

const stoppedBeforeLogout = ({ again, client, server }: Stage) =>
  Effect.gen(function*() {
    const { calm, shop } = yield* shopOn(client(server.url, 2))
    const cookie = yield* begin(calm)
    yield* server.signal("SIGSTOP")
    yield* failsInTime(shop.request(logout, cookie))
    yield* server.signal("SIGCONT")
    const answer = yield* calm.request(logout, cookie)
    assert.deepStrictEqual([answer.status, answer.cookie], [200, ""])
    yield* server.signal("SIGKILL")
    yield* again
    assert.isUndefined((yield* valueOf(calm, cookie)).user)
  })

/** A shop that comes to the server by a way on which its words can get lost. */
const shopBehind = ({ client, server }: Stage, maxConnections: number) =>
  Effect.gen(function*() {
    const url = new URL(server.url)
    const proxy = yield* LossyProxy.make(Number(url.port))
    url.port = String(proxy.port)
    const { calm, shop } = yield* shopOn(client(url.href, maxConnections))
    return { calm, shop, proxy, cookie: yield* begin(calm) }
  })

const loses = (handler: typeof increment) => (stage: Stage) =>
  Effect.gen(function*() {
    const { calm, cookie, proxy } = yield* shopBehind(stage, 1)
    // The load is done, and the pool has its connection.
    const story = yield* between(ShopSession.get("user"), handler)
    const parked = yield* Effect.fork(calm.request(story.handler, cookie))
    yield* story.reached
    yield* proxy.loseNextReply
    yield* story.go
    const answer = yield* parked
    assert.strictEqual(yield* proxy.lost, 1)
    assert.strictEqual(answer.status, 200)
    assert.strictEqual((yield* valueOf(calm, answer.cookie ?? cookie)).count, 1)
  })

const silenced = (stage: Stage) =>
  Effect.gen(function*() {
    const { calm, cookie, shop, proxy } = yield* shopBehind(stage, 2)
    yield* proxy.loseReplies
    yield* together(range(6).map(() => failsInTime(shop.request(increment, cookie))))
    yield* proxy.passReplies
    // Connections that were begun in the silence are given up after their second.
    const again = Effect.map(shop.request(increment, cookie), ({ status }) => status === 200)
    const [millis] = yield* activeMillis(Effect.repeat(again, { until: (done) => done }))
    assert.isBelow(millis, timeLimitMillis)
    // As many as before, and at once.
    yield* together(range(6).map(() => succeedsInTime(calm.request(increment, cookie))))
  })

const scenes: ReadonlyArray<
  readonly [name: string, scene: (stage: Stage) => Effect.Effect<void, unknown, Scope.Scope>]
> = [
  ["killed under load and started again: nothing that was confirmed is lost, and who is out stays out", killed],
  ["stopped, with more visitors than connections: each is refused in time; then it goes on", stopped],
  ["stopped between load and save: refused in time, and done once or not at all", stoppedBetween],
  ["stopped before a logout is confirmed: it can be tried again, and is then for good", stoppedBeforeLogout],
  ["a lost reply to a save, and its connection with it: it is done, and once", loses(increment)],
  [
    "a lost reply to a rotation, and its connection with it: it is done, and once",
    loses(Effect.zipRight(ShopSession.rotate, increment))
  ],
  ["a silence that breaks no connection empties the pool for a moment only", silenced]
]

/** Plays all scenes on a server of their own. */
export const play = (startable: Effect.Effect<Startable, unknown, Scope.Scope>) => {
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
  for (const [name, scene] of scenes) {
    it.scopedLive(name, () => stage === undefined ? assert.fail("it did not start") : scene(stage))
  }
}
