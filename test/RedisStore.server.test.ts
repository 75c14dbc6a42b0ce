import { it } from "@effect/vitest"
import { Effect, Logger } from "effect"
import { stored } from "effect-session/Fixtures"
import * as RedisClient from "effect-session/RedisClient"
import { SessionConfigError } from "effect-session/SessionConfigError"
import { SessionStoreError } from "effect-session/SessionStore"
import { Redis } from "ioredis"
import { readFileSync } from "node:fs"
import { inspect } from "node:util"
import { assert, describe } from "vitest"
import { freePort } from "../examples/shop/freePort.js"
import { ioredisOn, nodeRedisOn, storeAt, storeOn } from "./support/redisClients.js"
import * as Server from "./support/servers/redis.js"
import { until } from "./support/servers/server.js"
import { works, writes } from "./support/storeCalls.js"

/** Builds a store. Returns it or the error, and the logged warnings. */
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

describe("maxmemory-policy", () => {
  it.scopedLive("allkeys-* is an error, volatile-* logs a warning, noeviction does neither", () =>
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
          if (result._tag === "Right") return assert.fail("the store was built")
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

  it.scopedLive("if the server does not report it, a warning is logged, unless the application states it", () =>
    Effect.gen(function*() {
      const { ask, url } = yield* Server.make()
      yield* ask("ACL", "SETUSER", "app", "on", ">pass", "~*", "+@all", "-config", "-info")
      const client = { username: "app", password: "pass", enableReadyCheck: false }
      const unknown = yield* built(storeAt(url, {}, client))
      assert.strictEqual(unknown.result._tag, "Right")
      assert.match(unknown.warnings.join(), /does not report its maxmemory-policy/)
      const stated = yield* built(storeAt(url, { maxmemoryPolicy: "noeviction", durableDestroy: false }, client))
      assert.deepStrictEqual([stated.result._tag, stated.warnings], ["Right", []])
      const bad = yield* built(storeAt(url, { maxmemoryPolicy: "allkeys-lfu" }, client))
      assert.strictEqual(bad.result._tag, "Left")
      // The reported policy overrides the stated one.
      yield* ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
      const contradicted = yield* built(storeAt(url, { maxmemoryPolicy: "noeviction" }))
      assert.strictEqual(contradicted.result._tag, "Left")
      // INFO reports it, too.
      yield* ask("ACL", "SETUSER", "app", "+info")
      const reported = yield* built(storeAt(url, {}, client))
      assert.strictEqual(reported.result._tag, "Left")
    }))
})

describe("durableDestroy", () => {
  it.scopedLive("is claimed only for an append-only file that is synced with every write", () =>
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

  it.scopedLive("is not claimed for a server with a replica, and a store on a replica fails to build", () =>
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
      // The same with node-redis: a client that gets a replica from Sentinel has such a connection.
      const node = yield* nodeRedisOn(replica.url)
      assert.strictEqual(yield* durability(storeOn(RedisClient.nodeRedis(node))), "SessionConfigError")
    }))

  const settings = { appendonly: "yes", appendfsync: "always", "repl-diskless-sync-delay": "0" }
  for (
    const [name, unsafe, problem] of [
      ["no append-only file", { appendonly: "no" }, /the server has appendonly no: a crash/],
      [
        "a file that is synced each second",
        { appendfsync: "everysec" },
        /the server has appendfsync everysec: a crash/
      ],
      ["a file that is never synced", { appendfsync: "no" }, /the server has appendfsync no: a crash/]
    ] as const
  ) {
    it.scopedLive(`logs one warning for ${name}, unless durableDestroy is false`, () =>
      Effect.gen(function*() {
        const { url } = yield* Server.make({ settings: { ...settings, ...unsafe } })
        const { warnings } = yield* built(storeAt(url))
        assert.lengthOf(warnings, 1)
        assert.match(warnings[0] ?? "", problem)
        assert.deepStrictEqual((yield* built(storeAt(url, { durableDestroy: false }))).warnings, [])
        const { result } = yield* built(storeAt(url, { durableDestroy: true }))
        if (result._tag === "Right") return assert.fail("the store was built with a false claim")
        assert.match(result.left.message, problem)
      }))
  }

  it.scopedLive("logs a warning if the server has replicas, and none for a durable server", () =>
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

  it.scopedLive("is the stated option if the server does not permit CONFIG", () =>
    Effect.gen(function*() {
      const { ask, url } = yield* Server.make({ settings: { appendonly: "yes", appendfsync: "always" } })
      yield* ask("ACL", "SETUSER", "app", "on", ">pass", "~*", "+@all", "-config")
      const client = { username: "app", password: "pass" }
      const { result, warnings } = yield* built(storeAt(url, {}, client))
      if (result._tag === "Left") return assert.fail(result.left.message)
      assert.isFalse(result.right.capabilities.durableDestroy)
      assert.lengthOf(warnings, 1)
      assert.match(warnings[0] ?? "", /does not report whether it writes a change to disk/)
      const stated = yield* built(storeAt(url, { durableDestroy: true }, client))
      if (stated.result._tag === "Left") return assert.fail(stated.result.left.message)
      assert.isTrue(stated.result.right.capabilities.durableDestroy)
      assert.deepStrictEqual(stated.warnings, [])
    }))
})

describe("building a store", () => {
  it.scopedLive("fails with `unavailable` if the server is unreachable, or requires a password", () =>
    Effect.gen(function*() {
      const unusedUrl = `redis://127.0.0.1:${yield* freePort}`
      const { ask, url } = yield* Server.make()
      yield* ask("CONFIG", "SET", "requirepass", "secret")
      for (
        const [where, options] of [[unusedUrl, { maxRetriesPerRequest: 0 }], [url, {
          enableReadyCheck: false
        }]] as const
      ) {
        const { result } = yield* built(storeAt(where, {}, options))
        if (result._tag === "Right") return assert.fail("the store was built")
        assert.instanceOf(result.left, SessionStoreError)
        assert.deepStrictEqual([result.left.operation, result.left.reason], ["start", "unavailable"])
      }
    }))

  it.scopedLive("fails if the prefix has braces, which would determine the node of its keys", () =>
    Effect.gen(function*() {
      const client = new Redis({ lazyConnect: true })
      for (const prefix of ["{app}:", "a{", "}"]) {
        const error = yield* Effect.flip(storeOn(RedisClient.ioredis(client), { prefix }))
        assert.strictEqual(error._tag, "SessionConfigError")
      }
    }))
})

it.scopedLive("the permissions in docs/redis.md are sufficient", () =>
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

describe("the error of a failed call", () => {
  const secret = "hunter2"

  it.scopedLive("contains the server's message, and nothing of the command", () =>
    Effect.gen(function*() {
      const denied = yield* Server.make()
      yield* denied.ask("ACL", "SETUSER", "app", "on", ">pass", "~*", "+@all", "-zadd")
      const unknown = yield* Server.make({ settings: { "rename-command": ["EVALSHA", "another"] } })
      const clients = [
        [denied.url, { username: "app", password: "pass" }, "can't run this command"],
        [unknown.url, {}, "unknown command"]
      ] as const
      for (const [url, options, message] of clients) {
        for (const client of ["ioredis", "node-redis"] as const) {
          const store = yield* client === "ioredis"
            ? storeAt(url, {}, options)
            : Effect.flatMap(nodeRedisOn(url, options), (client) => storeOn(RedisClient.nodeRedis(client)))
          const fields = { data: secret, subject: secret, namespace: secret, writeId: secret }
          const error = yield* Effect.flip(stored(store, fields))
          assert.instanceOf(error, SessionStoreError)
          assert.strictEqual(error.reason, "unavailable")
          const inspected = inspect(error, { depth: 9, showHidden: true, maxStringLength: null })
          assert.include(inspected, message)
          for (const text of [inspected, error.message, JSON.stringify(error)]) assert.notInclude(text, secret)
        }
      }
    }))

  it.scopedLive("has the name of the operation", () =>
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
