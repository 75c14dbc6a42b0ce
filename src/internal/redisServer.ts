/**
 * What a Redis server says of itself before it is trusted with sessions: whether it forgets what it has confirmed, and
 * what it throws away when its memory is full.
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type { Shape as Client } from "../RedisClient.js"
import { SessionConfigError } from "../SessionConfigError.js"
import type { SessionStoreError } from "../SessionStore.js"
import { messageOf, storeError, textOf } from "./redisCalls.js"

/** What the application says of its servers. */
export interface Stated {
  readonly durableDestroy?: boolean
  readonly maxmemoryPolicy?: string
}

/** One node's own words; what it does not tell is absent. */
interface Node {
  readonly info: ReadonlyMap<string, string>
  readonly appendfsync: string | undefined
  readonly maxmemoryPolicy: string | undefined
}

const configError = (problem: string) => new SessionConfigError({ subject: "RedisStore", problem })

/** Whether a confirmed `destroy` survives. Fails where sessions that were revoked could come back. */
export const check = (client: Client, stated: Stated): Effect.Effect<boolean, SessionConfigError | SessionStoreError> =>
  Effect.gen(function*() {
    const nodes = yield* nodesOf(client)
    const policies = nodes.map(({ maxmemoryPolicy }) => maxmemoryPolicy ?? stated.maxmemoryPolicy)
    const forgetting = policies.find((policy) => policy?.startsWith("allkeys-"))
    if (forgetting !== undefined) {
      return yield* configError(
        `The server's maxmemory-policy is "${forgetting}": when its memory is full it drops keys of any kind, also ` +
          `those that say which sessions were revoked, and these would come back. Set it to noeviction, or to a ` +
          `volatile one if some users may be logged out then.`
      )
    }
    if (policies.includes(undefined)) {
      yield* Effect.logWarning(
        "RedisStore: the server does not tell its maxmemory-policy. With one that begins with allkeys-, revoked " +
          "sessions could come back. State it in the option maxmemoryPolicy."
      )
    }
    const evicting = policies.find((policy) => policy?.startsWith("volatile-"))
    if (evicting !== undefined) {
      yield* Effect.logWarning(
        `RedisStore: the server's maxmemory-policy is "${evicting}": when its memory is full it drops sessions, and ` +
          `their users are logged out.`
      )
    }
    return yield* durability(nodes, stated)
  })

/** Every write on the disk before it is confirmed, and no replica that could take over without it. */
const durability = (nodes: ReadonlyArray<Node>, { durableDestroy }: Stated) => {
  const known = nodes.every(({ appendfsync, info }) => appendfsync !== undefined && info.has("aof_enabled"))
  if (!known) return Effect.succeed(durableDestroy === true)
  const durable = nodes.every(({ appendfsync, info }) =>
    info.get("aof_enabled") === "1" && appendfsync === "always" && info.get("role") === "master" &&
    info.get("connected_slaves") === "0"
  )
  return durableDestroy === true && !durable
    ? configError(
      "The option durableDestroy is true, but the server says otherwise: it takes appendonly yes, appendfsync " +
        "always, and no replicas, which take over without the last writes."
    )
    : Effect.succeed(durable && durableDestroy !== false)
}

const nodesOf = (client: Client): Effect.Effect<ReadonlyArray<Node>, SessionStoreError> =>
  Effect.gen(function*() {
    const infos = yield* ask(client, ["info"])
    const appendfsync = yield* ask(client, ["config", "get", "appendfsync"])
    const policies = yield* ask(client, ["config", "get", "maxmemory-policy"])
    // Who may not give a command has one answer to it, whatever the number of nodes.
    const count = Math.max(infos.length, appendfsync.length, policies.length)
    return Array.from({ length: count }, (_, i) => {
      const told = new Map(
        (textOf(infos[i]) ?? "").split("\r\n").flatMap((line): ReadonlyArray<readonly [string, string]> => {
          const colon = line.indexOf(":")
          return colon < 0 ? [] : [[line.slice(0, colon), line.slice(colon + 1)]]
        })
      )
      return {
        info: told,
        appendfsync: setting(appendfsync[i], "appendfsync"),
        maxmemoryPolicy: setting(policies[i], "maxmemory-policy") ?? told.get("maxmemory_policy")
      }
    })
  }).pipe(Effect.timeoutFail({
    duration: "10 seconds",
    onTimeout: () => storeError("start", new Error("the server did not answer within 10 seconds"))
  }))

/** One answer per node; none of a command that the application may not give. */
const ask = (client: Client, command: ReadonlyArray<string>) =>
  Effect.tryPromise({ try: () => client.sendToAll(command), catch: (error) => error }).pipe(
    Effect.catchIf((error) => /^(?:NOPERM|ERR)\b/.test(messageOf(error)), () => Effect.succeed([undefined])),
    Effect.mapError((error) => storeError("start", error))
  )

/** A reply of CONFIG GET: a list of names and values, or an object or a map of them. */
const setting = (reply: unknown, name: string): string | undefined => {
  if (Array.isArray(reply)) return textOf(reply[0]) === name ? textOf(reply[1]) : undefined
  if (reply instanceof Map) {
    return [...reply].flatMap(([key, value]) => textOf(key) === name ? textOf(value) ?? [] : [])[0]
  }
  return Predicate.hasProperty(reply, name) ? textOf(reply[name]) : undefined
}
