/**
 * Checks the settings of a Redis server when the store is built: whether a confirmed write is durable, and which keys it evicts when
 * its memory is full.
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type { Client } from "../../RedisClient.js"
import type { SessionConfigError } from "../../SessionConfigError.js"
import type { SessionStoreError } from "../../SessionStore.js"
import { configError } from "../configError.js"
import { withHelp } from "../help.js"
import { messageOf, storeError, textOf } from "./calls.js"

/** The settings that the application states for servers that do not report them. */
interface StatedSettings {
  readonly durableDestroy?: boolean
  readonly maxmemoryPolicy?: string
}

/** The settings that one node reports. `undefined` if it does not report them. */
interface Node {
  /** The parsed reply of INFO. */
  readonly info: ReadonlyMap<string, string>
  readonly appendfsync: string | undefined
  readonly maxmemoryPolicy: string | undefined
}

/**
 * Returns whether a confirmed `destroy` is durable. Fails if the server is a replica, could evict revocations, or contradicts
 * `durableDestroy`.
 */
export const check = (
  client: Client,
  stated: StatedSettings
): Effect.Effect<boolean, SessionConfigError | SessionStoreError> =>
  Effect.gen(function*() {
    const nodes = yield* nodesOf(client)
    if (nodes.some(isReplica)) {
      return yield* configError(
        "RedisStore",
        "The server is a replica: it rejects writes, and its replies may be out of date. Connect to the primary " +
          `(with Sentinel: the role "master").`,
        "redis-replica"
      )
    }
    const policies = nodes.map(({ maxmemoryPolicy }) => maxmemoryPolicy ?? stated.maxmemoryPolicy)
    const evictingAll = policies.find((policy) => policy?.startsWith("allkeys-"))
    if (evictingAll !== undefined) {
      return yield* configError(
        "RedisStore",
        `The server's maxmemory-policy is "${evictingAll}": when its memory is full it evicts any key, including the ` +
          `revocations, and revoked sessions would be alive again. Set it to noeviction, or to a volatile-* policy if ` +
          `logging out some users is acceptable.`,
        "redis-evicts-revocations"
      )
    }
    if (policies.includes(undefined)) {
      yield* Effect.logWarning(
        withHelp(
          "RedisStore: the server does not report its maxmemory-policy. With an allkeys-* policy, revoked sessions could " +
            "be alive again. Set the option maxmemoryPolicy.",
          "redis-policy-unknown"
        )
      )
    }
    const evicting = policies.find((policy) => policy?.startsWith("volatile-"))
    if (evicting !== undefined) {
      yield* Effect.logWarning(
        withHelp(
          `RedisStore: the server's maxmemory-policy is "${evicting}": when its memory is full it evicts sessions, and ` +
            `their users are logged out.`,
          "redis-evicts-sessions"
        )
      )
    }
    return yield* durability(nodes, stated)
  })

const isReplica = ({ info }: Node) => info.get("role") === "slave"

/** Lists the settings with which a confirmed write can be lost. `undefined` if a server does not report its settings. */
const unsafeSettings = (nodes: ReadonlyArray<Node>): ReadonlyArray<string> | undefined => {
  const all = nodes.map(({ appendfsync, info }) => {
    const appendonly = info.get("aof_enabled")
    const replicas = info.get("connected_slaves")
    if (appendfsync === undefined || appendonly === undefined || replicas === undefined) return undefined
    return [
      ...(appendonly === "1" ? appendfsync === "always" ? [] : [`appendfsync ${appendfsync}`] : ["appendonly no"]),
      ...(replicas === "0" ? [] : ["replicas, one of which may take over without the last writes"])
    ]
  })
  return all.every((one) => one !== undefined) ? [...new Set(all.flat())] : undefined
}

/** Durable: every write is on disk before it is confirmed, and no replica could take over without it. */
const durability = (
  nodes: ReadonlyArray<Node>,
  { durableDestroy }: StatedSettings
): Effect.Effect<boolean, SessionConfigError> => {
  if (durableDestroy === false) return Effect.succeed(false)
  const unsafe = unsafeSettings(nodes)
  if (unsafe?.length === 0) return Effect.succeed(true)
  if (unsafe === undefined) {
    return durableDestroy === true
      ? Effect.succeed(true)
      : Effect.as(Effect.logWarning(withHelp(unknownDurability, "redis-not-durable")), false)
  }
  const problem =
    `the server has ${unsafe.join(" and ")}: a crash, a loss of power or a failover can undo a confirmed logout, and ` +
    "the session is alive again"
  return durableDestroy === true
    ? configError(
      "RedisStore",
      `The option durableDestroy is true, but ${problem}. It requires appendonly yes, appendfsync always, and no replicas.`,
      "redis-not-durable"
    )
    : Effect.as(
      Effect.logWarning(
        withHelp(
          `RedisStore: ${problem}. Set appendonly yes and appendfsync always, or set the option durableDestroy to false ` +
            "to accept this.",
          "redis-not-durable"
        )
      ),
      false
    )
}

const unknownDurability =
  "RedisStore: the server does not report whether it writes a change to disk before it confirms it (CONFIG GET " +
  "appendfsync, INFO). A crash may undo a confirmed logout. Set the option durableDestroy."

const nodesOf = (client: Client): Effect.Effect<ReadonlyArray<Node>, SessionStoreError> =>
  Effect.gen(function*() {
    const infos = yield* ask(client, ["info"])
    const appendfsync = yield* ask(client, ["config", "get", "appendfsync"])
    const policies = yield* ask(client, ["config", "get", "maxmemory-policy"])
    // A command that the user may not run has a single `undefined` reply, whatever the number of nodes.
    const count = Math.max(infos.length, appendfsync.length, policies.length)
    return Array.from({ length: count }, (_, i) => {
      const info = new Map(
        (textOf(infos[i]) ?? "").split("\r\n").flatMap((line): ReadonlyArray<readonly [string, string]> => {
          const colon = line.indexOf(":")
          return colon < 0 ? [] : [[line.slice(0, colon), line.slice(colon + 1)]]
        })
      )
      return {
        info,
        appendfsync: setting(appendfsync[i], "appendfsync"),
        maxmemoryPolicy: setting(policies[i], "maxmemory-policy") ?? info.get("maxmemory_policy")
      }
    })
  }).pipe(Effect.timeoutFail({
    duration: "10 seconds",
    onTimeout: () => storeError("start", new Error("the server did not answer within 10 seconds"))
  }))

/** Returns one reply per node, or a single `undefined` if the user may not run the command. */
const ask = (client: Client, command: ReadonlyArray<string>) =>
  Effect.tryPromise({ try: () => client.sendToAll(command), catch: (error) => error }).pipe(
    Effect.catchIf((error) => /^(?:NOPERM|ERR)\b/.test(messageOf(error)), () => Effect.succeed([undefined])),
    Effect.mapError((error) => storeError("start", error))
  )

/** Reads a setting from a reply of CONFIG GET: a list of names and values, an object, or a map. */
const setting = (reply: unknown, name: string): string | undefined => {
  if (Array.isArray(reply)) return textOf(reply[0]) === name ? textOf(reply[1]) : undefined
  if (reply instanceof Map) {
    return [...reply].flatMap(([key, value]) => textOf(key) === name ? textOf(value) ?? [] : [])[0]
  }
  return Predicate.hasProperty(reply, name) ? textOf(reply[name]) : undefined
}
