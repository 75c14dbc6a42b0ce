import { it } from "@effect/vitest"
import { Effect, Logger } from "effect"
import * as RedisClient from "effect-session/RedisClient"
import { SessionConfigError } from "effect-session/SessionConfigError"
import { SessionStoreError } from "effect-session/SessionStore"
import { Redis } from "ioredis"
import { readFileSync } from "node:fs"
import { inspect } from "node:util"
import { assert, describe } from "vitest"
import { freePort } from "../examples/shop/freePort.js"
import { stored } from "../src/internal/testing/records.js"
import { works, writes } from "./support/databases.js"
import { ioredisOn, nodeRedisOn, storeAt, storeOn } from "./support/redisClients.js"
import * as Server from "./support/servers/redis.js"
import { until } from "./support/servers/server.js"

/** What a store is built with, or why it is not; and the warnings that were logged meanwhile. */
const built = (build: ReturnType<typeof storeAt>) =>
  Effect.gen(function*() {
    const warnings: Array<string> = []
    const log = Logger.make(({ logLevel, message }) => {
      if (logLevel._tag === "Warning") warnings.push(String(message))
    })
    const result = yield* Effect.either(Effect.scoped(build)).pipe(
      Effect.provide(Logger.replace(Logger.defaultLogger, log))
    )
    return { result, warnings }
  })

const durability = (build: ReturnType<typeof storeAt>) =>
  Effect.map(
    built(build),
    ({ result }) => result._tag === "Right" ? result.right.capabilities.durableDestroy : result.left._tag
  )

describe("what a server does when its memory is full", () => {
  it.scopedLive("allkeys is refused, volatile is warned of, noeviction is fine", () =>
    Effect.gen(function*() {
      const { ask, url } = yield* Server.make()
      for (const client of ["ioredis", "node-redis"] as const) {
        const options = { durableDestroy: false }
        const build = client === "ioredis"
          ? storeAt(url, options)
          : Effect.flatMap(nodeRedisOn(url), (client) => storeOn(RedisClient.nodeRedis(client), options))
        for (const kind of ["lru", "lfu", "random"]) {
          yield* ask("CONFIG", "SET", "maxmemory-policy", `allkeys-${kind}`)
          const { result } = yield* built(build)
          if (result._tag === "Right") return assert.fail("it was not refused")
          assert.instanceOf(result.left, SessionConfigError)
          assert.include(result.left.message, `"allkeys-${kind}"`)
        }
        for (const kind of ["lru", "lfu", "random", "ttl"]) {
          yield* ask("CONFIG", "SET", "maxmemory-policy", `volatile-${kind}`)
          const { result, warnings } = yield* built(build)
          assert.strictEqual(result._tag, "Right")
          assert.lengthOf(warnings, 1)
          assert.include(warnings[0] ?? "", `"volatile-${kind}"`)
        }
        yield* ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        const { result, warnings } = yield* built(build)
        assert.deepStrictEqual([result._tag, warnings], ["Right", []])
      }
    }))

  it.scopedLive("one that does not tell is warned of, unless the application says it", () =>
    Effect.gen(function*() {
      const { ask, url } = yield* Server.make()
      yield* ask("ACL", "SETUSER", "app", "on", ">pass", "~*", "+@all", "-config", "-info")
      const client = { username: "app", password: "pass", enableReadyCheck: false }
      const unknown = yield* built(storeAt(url, {}, client))
      assert.strictEqual(unknown.result._tag, "Right")
      assert.match(unknown.warnings.join(), /does not tell its maxmemory-policy/)
      const stated = yield* built(storeAt(url, { maxmemoryPolicy: "noeviction", durableDestroy: false }, client))
      assert.deepStrictEqual([stated.result._tag, stated.warnings], ["Right", []])
      const bad = yield* built(storeAt(url, { maxmemoryPolicy: "allkeys-lfu" }, client))
      assert.strictEqual(bad.result._tag, "Left")
      // What the server says itself comes first.
      yield* ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
      const contradicted = yield* built(storeAt(url, { maxmemoryPolicy: "noeviction" }))
      assert.strictEqual(contradicted.result._tag, "Left")
      // INFO tells it too.
      yield* ask("ACL", "SETUSER", "app", "+info")
      const told = yield* built(storeAt(url, {}, client))
      assert.strictEqual(told.result._tag, "Left")
    }))
})

describe("durableDestroy", () => {
  it.scopedLive("is claimed for an append-only file that is synced with every write, and for nothing less", () =>
    Effect.gen(function*() {
      const { ask, url } = yield* Server.make({ settings: { appendonly: "yes" } })
      const set = (name: string, value: string) => ask("CONFIG", "SET", name, value)
      for (
        const [appendonly, appendfsync, claimed] of [
          ["yes", "always", true],
          ["yes", "everysec", false],
          ["yes", "no", false],
          ["no", "always", false]
        ] as const
      ) {
        yield* set("appendonly", appendonly)
        yield* set("appendfsync", appendfsync)
        assert.strictEqual(yield* durability(storeAt(url)), claimed, `${appendonly} ${appendfsync}`)
        assert.strictEqual(yield* durability(storeAt(url, { durableDestroy: false })), false)
        const stated = yield* durability(storeAt(url, { durableDestroy: true }))
        assert.strictEqual(stated, claimed ? true : "SessionConfigError")
      }
    }))

  it.scopedLive("is not claimed for a server with a replica, and a replica is refused", () =>
    Effect.gen(function*() {
      const settings = { appendonly: "yes", appendfsync: "always", "repl-diskless-sync-delay": "0" }
      const main = yield* Server.make({ settings })
      const replica = yield* Server.make({ settings })
      assert.strictEqual(yield* durability(storeAt(main.url)), true)
      yield* replica.ask("REPLICAOF", "127.0.0.1", String(main.port))
      yield* until(main.ask("INFO", "replication"), (info) => info.includes("state=online"))
      assert.strictEqual(yield* durability(storeAt(main.url)), false)
      const { result } = yield* built(storeAt(replica.url))
      if (result._tag === "Right") return assert.fail("a store was built on a replica")
      assert.instanceOf(result.left, SessionConfigError)
      assert.match(result.left.message, /The server is a replica/)
      // A client that asks Sentinel for a replica, or a Cluster's client that reads from one, has a connection like this.
      const node = yield* nodeRedisOn(replica.url)
      assert.strictEqual(yield* durability(storeOn(RedisClient.nodeRedis(node))), "SessionConfigError")
    }))

  const settings = { appendonly: "yes", appendfsync: "always", "repl-diskless-sync-delay": "0" }
  for (
    const [name, differently, said] of [
      ["no append-only file", { appendonly: "no" }, /the server has appendonly no: a logout/],
      [
        "a file that is synced each second",
        { appendfsync: "everysec" },
        /the server has appendfsync everysec: a logout/
      ],
      ["a file that is never synced", { appendfsync: "no" }, /the server has appendfsync no: a logout/]
    ] as const
  ) {
    it.scopedLive(`warns once of ${name}, unless the application forgoes the claim`, () =>
      Effect.gen(function*() {
        const { url } = yield* Server.make({ settings: { ...settings, ...differently } })
        const { warnings } = yield* built(storeAt(url))
        assert.lengthOf(warnings, 1)
        assert.match(warnings[0] ?? "", said)
        assert.deepStrictEqual((yield* built(storeAt(url, { durableDestroy: false }))).warnings, [])
        const { result } = yield* built(storeAt(url, { durableDestroy: true }))
        if (result._tag === "Right") return assert.fail("a false claim was believed")
        assert.match(result.left.message, said)
      }))
  }

  it.scopedLive("warns of replicas, and not of a server that keeps what it confirms", () =>
    Effect.gen(function*() {
      const main = yield* Server.make({ settings })
      assert.deepStrictEqual((yield* built(storeAt(main.url))).warnings, [])
      const replica = yield* Server.make({ settings })
      yield* replica.ask("REPLICAOF", "127.0.0.1", String(main.port))
      yield* until(main.ask("INFO", "replication"), (info) => info.includes("state=online"))
      const { warnings } = yield* built(storeAt(main.url))
      assert.lengthOf(warnings, 1)
      assert.match(warnings[0] ?? "", /the server has replicas, one of which may take over without the last writes: a/)
    }))

  it.scopedLive("is what the application says, where the server may not be asked", () =>
    Effect.gen(function*() {
      const { ask, url } = yield* Server.make({ settings: { appendonly: "yes", appendfsync: "always" } })
      yield* ask("ACL", "SETUSER", "app", "on", ">pass", "~*", "+@all", "-config")
      const client = { username: "app", password: "pass" }
      const { result, warnings } = yield* built(storeAt(url, {}, client))
      if (result._tag === "Left") return assert.fail(result.left.message)
      assert.isFalse(result.right.capabilities.durableDestroy)
      assert.lengthOf(warnings, 1)
      assert.match(warnings[0] ?? "", /does not tell whether it writes a change to the disk/)
      const stated = yield* built(storeAt(url, { durableDestroy: true }, client))
      if (stated.result._tag === "Left") return assert.fail(stated.result.left.message)
      assert.isTrue(stated.result.right.capabilities.durableDestroy)
      assert.deepStrictEqual(stated.warnings, [])
    }))
})

describe("a server that cannot be asked", () => {
  it.scopedLive("keeps the application from starting: it is not there, or wants a password", () =>
    Effect.gen(function*() {
      const nobody = `redis://127.0.0.1:${yield* freePort}`
      const { ask, url } = yield* Server.make()
      yield* ask("CONFIG", "SET", "requirepass", "secret")
      for (
        const [where, options] of [[nobody, { maxRetriesPerRequest: 0 }], [url, { enableReadyCheck: false }]] as const
      ) {
        const { result } = yield* built(storeAt(where, {}, options))
        if (result._tag === "Right") return assert.fail("it was built")
        assert.instanceOf(result.left, SessionStoreError)
        assert.deepStrictEqual([result.left.operation, result.left.reason], ["start", "unavailable"])
      }
    }))

  it.scopedLive("a prefix with braces is refused: it would say where keys live", () =>
    Effect.gen(function*() {
      const client = new Redis({ lazyConnect: true })
      for (const prefix of ["{app}:", "a{", "}"]) {
        const error = yield* Effect.flip(storeOn(RedisClient.ioredis(client), { prefix }))
        assert.strictEqual(error._tag, "SessionConfigError")
      }
    }))
})

it.scopedLive("the rights that the documentation names are enough", () =>
  Effect.gen(function*() {
    const [, rights = ""] = /needs `([^`]+)`/.exec(readFileSync("docs/redis.md", "utf8")) ?? []
    const { ask, url } = yield* Server.make()
    assert.strictEqual(
      yield* ask("ACL", "SETUSER", "app", "on", ">pass", "~shop:*", "nocommands", ...rights.split(" ")),
      "OK"
    )
    const user = { username: "app", password: "pass" }
    const { result, warnings } = yield* built(storeAt(url, { prefix: "shop:", durableDestroy: false }, user))
    assert.deepStrictEqual([result._tag, warnings], ["Right", []])
    yield* Effect.flatMap(storeAt(url, { prefix: "shop:" }, user), works)
    const client = yield* nodeRedisOn(url, user)
    yield* Effect.flatMap(storeOn(RedisClient.nodeRedis(client), { prefix: "shop:" }), works)
    assert.strictEqual(
      (yield* Effect.flip(storeOn(RedisClient.nodeRedis(client)).pipe(Effect.flatMap(works))))._tag,
      "SessionStoreError"
    )
  }))

describe("what an error tells", () => {
  const secret = "hunter2"

  it.scopedLive("is what the server said, and nothing of what was sent to it", () =>
    Effect.gen(function*() {
      const denied = yield* Server.make()
      yield* denied.ask("ACL", "SETUSER", "app", "on", ">pass", "~*", "+@all", "-zadd")
      const unknown = yield* Server.make({ settings: { "rename-command": ["EVALSHA", "another"] } })
      const clients = [
        [denied.url, { username: "app", password: "pass" }, "can't run this command"],
        [unknown.url, {}, "unknown command"]
      ] as const
      for (const [url, options, said] of clients) {
        for (const client of ["ioredis", "node-redis"] as const) {
          const store = yield* client === "ioredis"
            ? storeAt(url, {}, options)
            : Effect.flatMap(nodeRedisOn(url, options), (client) => storeOn(RedisClient.nodeRedis(client)))
          const fields = { data: secret, subject: secret, namespace: secret, writeId: secret }
          const error = yield* Effect.flip(stored(store, fields))
          assert.instanceOf(error, SessionStoreError)
          assert.strictEqual(error.reason, "unavailable")
          const told = inspect(error, { depth: 9, showHidden: true, maxStringLength: null })
          assert.include(told, said)
          for (const text of [told, error.message, JSON.stringify(error)]) assert.notInclude(text, secret)
        }
      }
    }))

  it.scopedLive("names the function that was called", () =>
    Effect.gen(function*() {
      const server = yield* Server.make()
      const redis = yield* ioredisOn(server.url, { enableOfflineQueue: false })
      const store = yield* storeOn(RedisClient.ioredis(redis))
      const one = yield* stored(store)
      yield* server.signal("SIGKILL")
      for (const [name, run] of writes) {
        const error = yield* Effect.flip(run(store, one))
        assert.strictEqual(error.operation, name.split(" ")[0])
      }
    }))
})
