/**
 * What the Redis store needs of a client, and how the two usual ones give it.
 *
 * While a client is not connected nothing is given to it: it would keep it, and do it when nobody waits for it any more. The
 * client is the application's own: it is made, connected and closed elsewhere. Nothing of its package is imported
 * here, so that neither is needed by those who use the other.
 *
 * @since 0.4.0
 */
import * as Context from "effect/Context"
import { NotSent } from "./internal/redis/notSent.js"
import { slotOf } from "./internal/redis/slots.js"

/**
 * A client of one node, or of a Cluster. A call that fails rejects with whatever the driver says.
 *
 * @since 0.4.0
 * @category models
 */
export interface Client {
  /** Keys live on several nodes: which one has a key depends on the part of its name in braces. */
  readonly cluster: boolean
  /**
   * Sends a command to the node that has the key, never to a replica of it. Where that cannot be done at once, it rejects
   * and does not keep the command. The store sends scripts only (`evalsha`, `eval`), which clients route to primaries, and which
   * fail with `READONLY` on a replica: then the connection should be made anew, for the server was demoted.
   */
  readonly send: (key: string, command: ReadonlyArray<string>) => Promise<unknown>
  /** Sends a command to every node that keys are written to: one reply each. It may wait for a connection. */
  readonly sendToAll: (command: ReadonlyArray<string>) => Promise<ReadonlyArray<unknown>>
}

/**
 * The tag under which a client is provided.
 *
 * @since 0.4.0
 * @category tags
 */
export class RedisClient extends Context.Tag("effect-session/RedisClient")<RedisClient, Client>() {}

/** Sends if that can be done at once. */
const sentIf = <A>(isReady: boolean, send: () => Promise<A>): Promise<A> =>
  isReady ? send() : Promise.reject(new NotSent())

/** Minimum time between two reconnects of one connection, in milliseconds: the address may lead to the replica a while longer. */
const reconnectPauseMillis = 1000

const reconnectedAt = new WeakMap<object, number>()

/**
 * Passes on a reply of a primary. If the server was demoted to a replica, which refuses every script of the store, reconnects:
 * behind the same address, or by its Sentinel, the client finds the new primary. The refused command has changed nothing.
 */
const fromPrimary = (connection: object, reply: Promise<unknown>, reconnect: () => void): Promise<unknown> =>
  reply.catch((error: unknown) => {
    if (!(error instanceof Error && /\b(?:READONLY|MASTERDOWN)\b/.test(error.message))) throw error
    const now = performance.now()
    if (now - (reconnectedAt.get(connection) ?? -Infinity) >= reconnectPauseMillis) {
      reconnectedAt.set(connection, now)
      reconnect()
    }
    throw new NotSent("the server is a replica and refuses every write: nothing was changed")
  })

/** What is used of a connection of ioredis. */
interface IoredisNode {
  readonly status: string
  /** The connection: it ends a moment before the status says so. */
  readonly stream?: { readonly writable: boolean }
  call(command: string, args: Array<string>): Promise<unknown>
  disconnect(reconnect?: boolean): void
}

/**
 * What is used of ioredis: a `Redis` (with Sentinel too), or a `Cluster`.
 *
 * @since 0.4.0
 * @category models
 */
export interface Ioredis extends IoredisNode {
  readonly isCluster: boolean
  nodes?(role: "master"): ReadonlyArray<IoredisNode>
}

/**
 * A client of the package `ioredis`, version 5 or 6.
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
          // A Cluster knows by itself which of its nodes are replicas.
          if (!client.isCluster) client.disconnect(true)
        })),
    sendToAll: async (command) => {
      // A Cluster knows its nodes once it has answered something.
      if (client.isCluster) await client.call("info", ["server"])
      return Promise.all((client.nodes?.("master") ?? [client]).map((node) => send(node, command)))
    }
  }
}

/** What is used of a client of one node. */
interface NodeRedisNode {
  readonly isReady: boolean
  sendCommand(command: Array<string>): Promise<unknown>
}

/** Closes the connection without closing the client: it connects again when the server has hung up. */
const hangUp = (node: NodeRedisNode) => void node.sendCommand(["QUIT"]).catch(() => {})

const sendTo = (node: NodeRedisNode, command: ReadonlyArray<string>) =>
  fromPrimary(node, node.sendCommand([...command]), () => hangUp(node))

/** What is used of a pool of them. */
interface NodeRedisPool {
  execute(task: (client: NodeRedisNode) => Promise<unknown>): Promise<unknown>
}

/** What is used of a client of a Cluster. */
interface NodeRedisCluster<Node> {
  sendCommand(key: string, isReadonly: boolean, command: Array<string>): Promise<unknown>
  readonly masters: ReadonlyArray<Node>
  readonly slots: ReadonlyArray<{ readonly master: { readonly client?: { readonly isReady: boolean } } }>
  nodeClient(node: Node): Promise<NodeRedisNode>
}

/**
 * What is used of node-redis: a client, a pool, or a cluster. It must be connected.
 *
 * @since 0.4.0
 * @category models
 */
export type NodeRedis<Node> = NodeRedisNode | NodeRedisPool | NodeRedisCluster<Node>

/** How long a command may wait for one of a pool, in milliseconds: then whoever asked may be gone. */
const longestWait = 500

/**
 * A client of the package `redis` (node-redis), version 5 or 6.
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
          // A node that was not needed before has no client yet.
          client.slots[slotOf(key)]?.master.client?.isReady !== false,
          // The cluster knows by itself which of its nodes are replicas.
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
