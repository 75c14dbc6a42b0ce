import * as PgClient from "@effect/sql-pg/PgClient"
import type * as SqlClient from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Effect, Layer, type Scope } from "effect"
import type { InvalidationEvent } from "effect-session/SessionInvalidation"
import * as SqlMigrations from "effect-session/SqlMigrations"
import { assert, describe } from "vitest"
import { activeMillis } from "./support/activeTime.js"
import { bundle, startProgram } from "./support/childProcesses.js"
import type { Job } from "./support/invalidationNode.js"
import { freshPrefix } from "./support/localStores.js"
import * as LossyProxy from "./support/lossyProxy.js"
import { postgresClient } from "./support/serverClients.js"
import { until } from "./support/servers/server.js"
import * as servers from "./support/sharedServers.js"

/** Starts nodes, each in its own process, waits until they are subscribed, and returns requests to them. */
const nodes = (...jobs: ReadonlyArray<Pick<Job, "channel" | "lease"> & Partial<Job>>) =>
  Effect.gen(function*() {
    const prefix = freshPrefix()
    yield* Layer.build(SqlMigrations.layerWith({ prefix }))
    const program = yield* bundle("invalidationNode")
    const url = servers.postgres()
    const children = yield* Effect.forEach(
      jobs,
      (job) => startProgram(program, { url, channelUrl: url, prefix, ...job } satisfies Job),
      { concurrency: "unbounded" }
    )
    return yield* Effect.forEach(children, (child) =>
      Effect.gen(function*() {
        yield* child.printed(1)
        const at = `http://127.0.0.1:${child.soFar()[0]}`
        const ask = (method: string, path: string, cookie = "") =>
          Effect.promise(() => fetch(at + path, { method, headers: { cookie } }))
        const who = (cookie: string, path = "/me") =>
          Effect.flatMap(ask("GET", path, cookie), (answer) => Effect.promise(() => answer.text()))
        const received = (tag: InvalidationEvent["_tag"]) =>
          Effect.sync(() => child.soFar().filter((line) => line === tag).length)
        const awaitEvents = (tag: InvalidationEvent["_tag"], times: number) =>
          until(received(tag), (count) => count >= times)
        yield* awaitEvents("Lost", 1)
        return {
          who,
          received,
          /** Waits until this number of events of a kind has arrived. */
          awaitEvents,
          login: Effect.map(ask("POST", "/login"), ({ headers }) => headers.get("set-cookie")?.split(";")[0] ?? ""),
          logout: (cookie: string) => ask("POST", "/logout", cookie),
          /** Repeats a request until it is anonymous, and returns the milliseconds that took. */
          forgets: (cookie: string) =>
            Effect.map(
              activeMillis(Effect.repeat(who(cookie), { until: (name) => name === "anonymous" })),
              ([millis]) => millis
            )
        }
      }))
  })

const minute = 60_000

const lease = 5000

type Node = Effect.Effect.Success<ReturnType<typeof nodes>>[number]

/** A logout on node `a` without an invalidation event for node `b`, which serves its cached session until the lease has passed. */
const logoutWithoutEvent = (a: Node, b: Node, cookie: string) =>
  Effect.gen(function*() {
    const since = performance.now()
    assert.strictEqual(yield* b.who(cookie), "ann")
    yield* a.logout(cookie)
    const name = yield* b.who(cookie)
    // On a machine that was suspended for as long, the lease has passed.
    assert.include(performance.now() - since < lease ? ["ann"] : ["ann", "anonymous"], name)
  })

/** The connections that listen on a channel. */
const listeners = (channel: string) =>
  Effect.flatMap(PgClient.PgClient, (sql) =>
    Effect.map(
      sql<{ readonly pid: number }>`SELECT pid FROM pg_stat_activity WHERE query = ${`LISTEN "${channel}"`}`,
      (rows) => rows.map(({ pid }) => pid)
    ))

const run = <A, E>(
  name: string,
  test: (channel: string) => Effect.Effect<A, E, SqlClient.SqlClient | PgClient.PgClient | Scope.Scope>
) => it.scopedLive(name, () => Effect.provide(Effect.suspend(() => test(freshPrefix())), postgresClient()))

describe("three processes", () => {
  run(
    "a logout on one is visible on the others long before their leases have passed",
    (channel) =>
      Effect.gen(function*() {
        const [a, b, c] = yield* nodes(...[0, 1, 2].map(() => ({ channel, lease: minute })))
        if (a === undefined || b === undefined || c === undefined) return yield* Effect.dieMessage("three nodes")
        for (let round = 0; round < 5; round++) {
          const cookie = yield* a.login
          assert.deepStrictEqual(yield* Effect.all([b.who(cookie), c.who(cookie)]), ["ann", "ann"])
          yield* a.logout(cookie)
          const took = yield* Effect.all([b.forgets(cookie), c.forgets(cookie)], { concurrency: 2 })
          for (const millis of took) assert.isBelow(millis, minute / 10)
          console.log(
            `visible on the other nodes ${took.map((millis) => Math.round(millis)).join(" and ")} ms after the logout`
          )
        }
      })
  )

  run(
    "without a common channel, a logout is visible once the lease has passed, and to a fresh read at once",
    (channel) =>
      Effect.gen(function*() {
        const [a, b] = yield* nodes({ channel, lease }, { channel: `${channel}_cut`, lease })
        if (a === undefined || b === undefined) return yield* Effect.dieMessage("two nodes")
        const cookie = yield* a.login
        yield* logoutWithoutEvent(a, b, cookie)
        assert.strictEqual(yield* b.who(cookie, "/me/fresh"), "anonymous")
        assert.isBelow(yield* b.forgets(cookie), lease + 1000)
      })
  )

  run(
    "while the channel's connection is silent, a logout is visible once the lease has passed; afterwards events arrive again",
    (channel) =>
      Effect.gen(function*() {
        const url = new URL(servers.postgres())
        const proxy = yield* LossyProxy.make(Number(url.port))
        url.port = String(proxy.port)
        const [a, b] = yield* nodes({ channel, lease }, { channel, lease, channelUrl: url.href })
        if (a === undefined || b === undefined) return yield* Effect.dieMessage("two nodes")
        const cookie = yield* a.login
        yield* proxy.loseReplies
        yield* logoutWithoutEvent(a, b, cookie)
        assert.isBelow(yield* b.forgets(cookie), lease + 1000)

        // Replies pass again while a connection waits for one that was lost; that connection is closed.
        yield* until(proxy.unanswered, (count) => count > 0)
        assert.strictEqual(yield* b.received("Lost"), 1)
        yield* proxy.passReplies
        yield* b.awaitEvents("Lost", 2)
        yield* until(proxy.unanswered, (count) => count === 0)
        const keys = yield* b.received("Key")
        yield* a.logout(yield* a.login)
        yield* b.awaitEvents("Key", keys + 1)
      })
  )

  run(
    "a subscriber whose connection dies subscribes again, and uses no cache entry from before",
    (channel) =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const [a, b] = yield* nodes({ channel: `${channel}_a`, lease: minute }, { channel, lease: minute })
        if (a === undefined || b === undefined) return yield* Effect.dieMessage("two nodes")
        const cookie = yield* a.login
        assert.strictEqual(yield* b.who(cookie), "ann")
        const [pid] = yield* listeners(channel)
        yield* a.logout(cookie)
        // This node gets no event of the logout but the missed-events marker.
        assert.strictEqual(yield* b.who(cookie), "ann")
        yield* sql`SELECT pg_terminate_backend(${pid})`
        yield* b.awaitEvents("Lost", 2)
        assert.isBelow(yield* b.forgets(cookie), minute / 10)
      })
  )
})
