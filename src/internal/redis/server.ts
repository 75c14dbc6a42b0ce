/**
 * What a Redis server says of itself before it is trusted with sessions: whether it forgets what it has confirmed, and
 * what it throws away when its memory is full.
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type { Client as Client } from "../../RedisClient.js"
import { SessionConfigError } from "../../SessionConfigError.js"
import type { SessionStoreError } from "../../SessionStore.js"
import { messageOf, storeError, textOf } from "./calls.js"

/** What the application says of its servers. */
interface Stated {
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
    if (nodes.some(isReplica)) {
      return yield* configError(
        "The server is a replica: it refuses every write, and what it answers may be out of date. Connect to the primary " +
          `(with Sentinel: the role "master").`
      )
    }
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

/** What a replica answers may be out of date, and it refuses every write. */
const isReplica = ({ info }: Node) => info.get("role") === "slave"

/** Settings, as they are, with which a write that was confirmed can be undone. `undefined` if a server does not tell them. */
const doubts = (nodes: ReadonlyArray<Node>): ReadonlyArray<string> | undefined => {
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

/** Every write on the disk before it is confirmed, and no replica that could take over without it. */
const durability = (
  nodes: ReadonlyArray<Node>,
  { durableDestroy }: Stated
): Effect.Effect<boolean, SessionConfigError> => {
  if (durableDestroy === false) return Effect.succeed(false)
  const found = doubts(nodes)
  if (found?.length === 0) return Effect.succeed(true)
  if (found === undefined) {
    return durableDestroy === true ? Effect.succeed(true) : Effect.as(Effect.logWarning(untold), false)
  }
  const said =
    `the server has ${found.join(" and ")}: a logout that it has confirmed can be undone by a crash, a loss of ` +
    "power or a fail-over, and its session lives on"
  return durableDestroy === true
    ? configError(
      `The option durableDestroy is true, but ${said}. It takes appendonly yes, appendfsync always, and no replicas.`
    )
    : Effect.as(
      Effect.logWarning(
        `RedisStore: ${said}. Set appendonly yes and appendfsync always, or the option durableDestroy to false if that ` +
          "may be."
      ),
      false
    )
}

const untold =
  "RedisStore: the server does not tell whether it writes a change to the disk before it confirms it (CONFIG GET " +
  "appendfsync, INFO). A logout that it has confirmed may be undone by a crash. State it in the option durableDestroy."

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
