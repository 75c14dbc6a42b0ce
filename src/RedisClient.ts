/**
 * The Redis client that the Redis store needs, and adapters for `ioredis` and `redis`.
 *
 * The store sends no commands to a client that is not connected, because the client would queue them and run them after the caller has
 * given up. The application creates, connects and closes the client. This module imports neither package, so only the one in use must be
 * installed.
 *
 * @since 0.4.0
 */
import * as Context from "effect/Context"
import { NotSent } from "./internal/redis/notSent.js"
import { slotOf } from "./internal/redis/slots.js"

/**
 * A client of one node, or of a Cluster. A failed call rejects with the error of the driver.
 *
 * @since 0.4.0
 * @category models
 */
export interface Client {
  /** Keys are distributed over several nodes, by the part of their name in braces. */
  readonly cluster: boolean
  /**
   * Sends a command to the primary node of the key, never to a replica. Rejects, and does not queue the command, if it cannot be sent at once.
   * The store sends scripts only (`evalsha`, `eval`), which clients route to primaries. They fail with `READONLY` on a replica: then the
   * server was demoted, and the client should reconnect.
   */
  readonly send: (key: string, command: ReadonlyArray<string>) => Promise<unknown>
  /** Sends a command to every primary node, and returns one reply for each. May wait for a connection. */
  readonly sendToAll: (command: ReadonlyArray<string>) => Promise<ReadonlyArray<unknown>>
}

/**
 * The service tag of the client.
 *
 * @since 0.4.0
 * @category tags
 */
export class RedisClient extends Context.Tag("effect-session/RedisClient")<RedisClient, Client>() {}

/** Sends if the client is ready, and rejects otherwise. */
const sentIf = <A>(isReady: boolean, send: () => Promise<A>): Promise<A> =>
  isReady ? send() : Promise.reject(new NotSent())

/** Minimum time between two reconnects of one connection, in milliseconds: the address may point to the replica for a while. */
const reconnectPauseMillis = 1000

const reconnectedAt = new WeakMap<object, number>()

/**
 * Returns the reply of a primary. Reconnects if the server was demoted to a replica, which rejects every script of the store: at the same
 * address, or through its Sentinel, the client finds the new primary. The rejected command has changed nothing.
 */
const fromPrimary = (connection: object, reply: Promise<unknown>, reconnect: () => void): Promise<unknown> =>
  reply.catch((error: unknown) => {
    if (!(error instanceof Error && /\b(?:READONLY|MASTERDOWN)\b/.test(error.message))) throw error
    const now = performance.now()
    if (now - (reconnectedAt.get(connection) ?? -Infinity) >= reconnectPauseMillis) {
      reconnectedAt.set(connection, now)
      reconnect()
    }
    throw new NotSent("the server is a replica and rejects every write: nothing was changed")
  })

/** The part of a connection of ioredis that is used. */
interface IoredisNode {
  readonly status: string
  /** The socket, which ends slightly before `status` changes. */
  readonly stream?: { readonly writable: boolean }
  call(command: string, args: Array<string>): Promise<unknown>
  disconnect(reconnect?: boolean): void
}

/**
 * The part of an `ioredis` client that is used: a `Redis` (also with Sentinel), or a `Cluster`.
 *
 * @since 0.4.0
 * @category models
 */
export interface Ioredis extends IoredisNode {
  readonly isCluster: boolean
  nodes?(role: "master"): ReadonlyArray<IoredisNode>
}

/**
 * Adapts a client of the package `ioredis`, version 5 or 6.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import * as RedisClient from "effect-session/RedisClient"
 * import { Redis } from "ioredis"
 *
 * export const client = Layer.sync(
 *   RedisClient.RedisClient,
 *   () => RedisClient.ioredis(new Redis("redis://localhost"))
 * )
 * ```
 *
 * @since 0.4.0
 * @category constructors
 */
export const ioredis = (client: Ioredis): Client => {
  const send = (node: IoredisNode, command: ReadonlyArray<string>) => node.call(command[0] ?? "", command.slice(1))
  const isReady = () => client.status === "ready" && client.stream?.writable !== false
  return {
    cluster: client.isCluster,
    send: (_, command) =>
      sentIf(isReady(), () =>
        fromPrimary(client, send(client, command), () => {
          // A Cluster client tracks replicas itself.
          if (!client.isCluster) client.disconnect(true)
        })),
    sendToAll: async (command) => {
      // A Cluster client has its list of nodes after its first reply.
      if (client.isCluster) await client.call("info", ["server"])
      return Promise.all((client.nodes?.("master") ?? [client]).map((node) => send(node, command)))
    }
  }
}

/** The part of a node-redis client of one node that is used. */
interface NodeRedisNode {
  readonly isReady: boolean
  sendCommand(command: Array<string>): Promise<unknown>
}

/** Makes the server close the connection. The client stays open, and reconnects. */
const hangUp = (node: NodeRedisNode) => void node.sendCommand(["QUIT"]).catch(() => {})

const sendTo = (node: NodeRedisNode, command: ReadonlyArray<string>) =>
  fromPrimary(node, node.sendCommand([...command]), () => hangUp(node))

/** The part of a node-redis pool that is used. */
interface NodeRedisPool {
  execute(task: (client: NodeRedisNode) => Promise<unknown>): Promise<unknown>
}

/** The part of a node-redis Cluster client that is used. */
interface NodeRedisCluster<Node> {
  sendCommand(key: string, isReadonly: boolean, command: Array<string>): Promise<unknown>
  readonly masters: ReadonlyArray<Node>
  readonly slots: ReadonlyArray<{ readonly master: { readonly client?: { readonly isReady: boolean } } }>
  nodeClient(node: Node): Promise<NodeRedisNode>
}

/**
 * The part of node-redis that is used: a client, a pool, or a cluster. It must be connected.
 *
 * @since 0.4.0
 * @category models
 */
export type NodeRedis<Node> = NodeRedisNode | NodeRedisPool | NodeRedisCluster<Node>

/** The maximum time in milliseconds that a command waits for a client of the pool: after it, the caller may have given up. */
const longestWait = 500

/**
 * Adapts a connected client of the package `redis` (node-redis), version 5 or 6.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import * as RedisClient from "effect-session/RedisClient"
 * import { createClient } from "redis"
 *
 * export const client = Layer.effect(
 *   RedisClient.RedisClient,
 *   Effect.promise(async () => RedisClient.nodeRedis(await createClient().connect()))
 * )
 * ```
 *
 * @since 0.4.0
 * @category constructors
 */
export const nodeRedis = <Node>(client: NodeRedis<Node>): Client =>
  "nodeClient" in client
    ? {
      cluster: true,
      send: (key, command) =>
        sentIf(
          // A node has no client before its first use.
          client.slots[slotOf(key)]?.master.client?.isReady !== false,
          // A Cluster client tracks replicas itself.
          () => fromPrimary(client, client.sendCommand(key, false, [...command]), () => {})
        ),
      sendToAll: (command) =>
        Promise.all(
          client.masters.map((master) => client.nodeClient(master).then((node) => node.sendCommand([...command])))
        )
    }
    : "execute" in client
    ? {
      cluster: false,
      send: (_, command) => {
        const askedAt = performance.now()
        return client.execute((one) =>
          sentIf(one.isReady && performance.now() - askedAt < longestWait, () => sendTo(one, command))
        )
      },
      sendToAll: async (command) => [await client.execute((one) => one.sendCommand([...command]))]
    }
    : {
      cluster: false,
      send: (_, command) => sentIf(client.isReady, () => sendTo(client, command)),
      sendToAll: async (command) => [await client.sendCommand([...command])]
    }
