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

/** Nodes, each a process of its own that listens by now, and what can be asked of them. */
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
        yield* child.said(1)
        const at = `http://127.0.0.1:${child.soFar()[0]}`
        const ask = (method: string, path: string, cookie = "") =>
          Effect.promise(() => fetch(at + path, { method, headers: { cookie } }))
        const who = (cookie: string, path = "/me") =>
          Effect.flatMap(ask("GET", path, cookie), (answer) => Effect.promise(() => answer.text()))
        const heard = (tag: InvalidationEvent["_tag"]) =>
          Effect.sync(() => child.soFar().filter((line) => line === tag).length)
        const hears = (tag: InvalidationEvent["_tag"], times: number) => until(heard(tag), (count) => count >= times)
        yield* hears("Gap", 1)
        return {
          who,
          heard,
          /** Waits until it has heard so many notices of a kind. */
          hears,
          login: Effect.map(ask("POST", "/login"), ({ headers }) => headers.get("set-cookie")?.split(";")[0] ?? ""),
          logout: (cookie: string) => ask("POST", "/logout", cookie),
          /** Asks until it knows nobody, and says how many milliseconds that took. */
          forgets: (cookie: string) =>
            Effect.map(
              activeMillis(Effect.repeat(who(cookie), { until: (name) => name === "nobody" })),
              ([millis]) => millis
            )
        }
      }))
  })

const minute = 60_000

const lease = 5000

type Node = Effect.Effect.Success<ReturnType<typeof nodes>>[number]

/** A logout on the one of which the other does not hear: there the visitor is known as long as the lease goes on. */
const logoutUnheard = (a: Node, b: Node, cookie: string) =>
  Effect.gen(function*() {
    const since = performance.now()
    assert.strictEqual(yield* b.who(cookie), "ann")
    yield* a.logout(cookie)
    const name = yield* b.who(cookie)
    // On a machine that stood still for as long, it is over.
    assert.include(performance.now() - since < lease ? ["ann"] : ["ann", "nobody"], name)
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
    "a logout on one is known to the others long before the lease of their copies ends",
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
            `known elsewhere ${took.map((millis) => Math.round(millis)).join(" and ")} ms after the logout`
          )
        }
      })
  )

  run(
    "where the channel is another one, the lease holds, and a fresh read knows at once",
    (channel) =>
      Effect.gen(function*() {
        const [a, b] = yield* nodes({ channel, lease }, { channel: `${channel}_cut`, lease })
        if (a === undefined || b === undefined) return yield* Effect.dieMessage("two nodes")
        const cookie = yield* a.login
        yield* logoutUnheard(a, b, cookie)
        assert.strictEqual(yield* b.who(cookie, "/me/fresh"), "nobody")
        assert.isBelow(yield* b.forgets(cookie), lease + 1000)
      })
  )

  run(
    "where the way of the channel falls silent, the lease holds; open again, it is heard again",
    (channel) =>
      Effect.gen(function*() {
        const url = new URL(servers.postgres())
        const proxy = yield* LossyProxy.make(Number(url.port))
        url.port = String(proxy.port)
        const [a, b] = yield* nodes({ channel, lease }, { channel, lease, channelUrl: url.href })
        if (a === undefined || b === undefined) return yield* Effect.dieMessage("two nodes")
        const cookie = yield* a.login
        yield* proxy.loseReplies
        yield* logoutUnheard(a, b, cookie)
        assert.isBelow(yield* b.forgets(cookie), lease + 1000)

        // It is opened while a connection waits for an answer that is lost: one that is given up, and closed.
        yield* until(proxy.unanswered, (count) => count > 0)
        assert.strictEqual(yield* b.heard("Gap"), 1)
        yield* proxy.passReplies
        yield* b.hears("Gap", 2)
        yield* until(proxy.unanswered, (count) => count === 0)
        const keys = yield* b.heard("Key")
        yield* a.logout(yield* a.login)
        yield* b.hears("Key", keys + 1)
      })
  )

  run(
    "a listener whose connection dies listens again, and believes no copy of before",
    (channel) =>
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const [a, b] = yield* nodes({ channel: `${channel}_a`, lease: minute }, { channel, lease: minute })
        if (a === undefined || b === undefined) return yield* Effect.dieMessage("two nodes")
        const cookie = yield* a.login
        assert.strictEqual(yield* b.who(cookie), "ann")
        const [pid] = yield* listeners(channel)
        yield* a.logout(cookie)
        // Nothing tells this node but the gap.
        assert.strictEqual(yield* b.who(cookie), "ann")
        yield* sql`SELECT pg_terminate_backend(${pid})`
        yield* b.hears("Gap", 2)
        assert.isBelow(yield* b.forgets(cookie), minute / 10)
      })
  )
})
