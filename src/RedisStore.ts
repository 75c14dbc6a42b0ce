/**
 * The store on Redis: one node, several with Sentinel, or a Cluster.
 *
 * Each function that changes a session is one script, so compare-and-set is atomic without locks. The record contains its end, which is
 * compared with the caller's time; Redis's own expiry only deletes records one minute after their end. The durability of a confirmed write
 * depends on the settings of Redis: see `durableDestroy` and `docs/redis.md`.
 *
 * @since 0.4.0
 */
import type * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { configError } from "./internal/configError.js"
import { encodeBase64Url, nameBytes } from "./internal/crypto/primitives.js"
import { endReasons } from "./internal/domain/outcomes.js"
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import type { Calls } from "./internal/redis/calls.js"
import { calls as callsOf, outcome } from "./internal/redis/calls.js"
import { directory, recordIn } from "./internal/redis/directory.js"
import { evictedIn, limitsInCluster, limitsOnOneNode } from "./internal/redis/limits.js"
import { encodeMetadata, encodeText } from "./internal/redis/record.js"
import { rotation } from "./internal/redis/rotation.js"
import * as Scripts from "./internal/redis/scripts.js"
import { check } from "./internal/redis/server.js"
import {
  forwarding as forwardingIn,
  idsInCluster,
  idsOnOneNode,
  keptReasonIn,
  qualified,
  qualifiedIdIn,
  scopeOf,
  shards as shardsOf,
  subjectScopeOf
} from "./internal/redis/shards.js"
import type { Client } from "./RedisClient.js"
import { RedisClient } from "./RedisClient.js"
import type { SessionConfigError } from "./SessionConfigError.js"
import type { SessionStoreError, Store } from "./SessionStore.js"
import { SessionStore } from "./SessionStore.js"
import type { StoreKey } from "./StoreKey.js"

/**
 * The options of {@link make} and {@link layerWith}.
 *
 * @since 0.4.0
 * @category models
 */
export interface RedisStoreOptions {
  /** The prefix of the names of all keys, without braces. Default `"effect-session:"`. */
  readonly prefix?: string
  /**
   * Whether a confirmed logout survives a crash and a fail-over. Default: derived from the server's settings (`INFO`, `CONFIG GET`), which must
   * be `appendonly yes`, `appendfsync always` and no replicas. Set `true` if the server does not reveal its settings and is durable by other
   * means; the layer fails if its settings contradict. `false` makes no promise.
   */
  readonly durableDestroy?: boolean
  /** The server's `maxmemory-policy`, used if the server does not reveal it. */
  readonly maxmemoryPolicy?: string
}

/**
 * Makes a store. Fails with `SessionConfigError` if the prefix has braces or the server's settings are not safe for sessions, and with
 * `SessionStoreError` if the server cannot be reached.
 *
 * @since 0.4.0
 * @category constructors
 */
export const make = (
  options: RedisStoreOptions = {}
): Effect.Effect<Store, SessionConfigError | SessionStoreError, RedisClient> =>
  Effect.gen(function*() {
    const prefix = yield* prefixOf(options.prefix)
    const client = yield* RedisClient
    return storeOn(client, prefix, yield* check(client, options))
  })

/**
 * A Redis store with options.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWith = (
  options: RedisStoreOptions
): Layer.Layer<SessionStore, SessionConfigError | SessionStoreError, RedisClient> =>
  Layer.effect(SessionStore, make(options))

/**
 * A Redis store with default options, over the application's own client.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { RedisClient, RedisStore, StoredEngine } from "effect-session"
 * import { Redis } from "ioredis"
 *
 * const client = Layer.scoped(
 *   RedisClient.RedisClient,
 *   Effect.map(
 *     Effect.acquireRelease(
 *       Effect.sync(() => new Redis("redis://localhost")),
 *       (redis) => Effect.promise(() => redis.quit())
 *     ),
 *     RedisClient.ioredis
 *   )
 * )
 *
 * export const engine = StoredEngine.layer.pipe(Layer.provide(RedisStore.layer), Layer.provide(client))
 * ```
 *
 * @since 0.4.0
 * @category layers
 */
export const layer: Layer.Layer<SessionStore, SessionConfigError | SessionStoreError, RedisClient> = Layer.fresh(
  layerWith({})
)

/**
 * A Redis store with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<RedisStoreOptions>
): Layer.Layer<SessionStore, SessionConfigError | SessionStoreError | ConfigError, RedisClient> =>
  layerConfigOf(options, layerWith)

const prefixOf = (prefix = "effect-session:"): Effect.Effect<string, SessionConfigError> =>
  /[{}]/.test(prefix)
    ? Effect.fail(
      configError(
        "RedisStore",
        "The prefix must not contain braces: the text in braces decides which node of a Cluster has a key.",
        "redis-prefix-invalid"
      )
    )
    : Effect.succeed(prefix)

const storeOn = (client: Client, prefix: string, durableDestroy: boolean): Store => {
  const shards = shardsOf(prefix, client.cluster)
  const ids = client.cluster ? idsInCluster(shards) : idsOnOneNode(shards)
  const forwarding = forwardingIn(shards)
  const { find, list, prune, removeExpired, revoke, revokeScope, scan } = directory(shards, ids, forwarding)
  const limits = client.cluster
    ? limitsInCluster(
      shards,
      (calls, namespace, subject, now) => list(calls, namespace, subject, now, { limit: Infinity }),
      (calls, { id, namespace, subject }) => revoke(calls, qualified(namespace, id), "limit", { namespace, subject })
    )
    : limitsOnOneNode
  const calls = callsOf(client)
  const colocated = (key: StoreKey, newKey: StoreKey) => shards.of(key) === shards.of(newKey)

  const loaded = (calls: Calls, key: StoreKey, now: number) =>
    forwarding.runAtRecord(key, ({ epochs, record }) => calls.run(Scripts.load, [record(key), epochs], [now]))
  const load = (calls: Calls, key: StoreKey, now: number) =>
    Effect.flatMap(
      loaded(calls, key, now),
      ({ reply, shard }) => Effect.map(recordIn(calls, reply), (found) => ({ found, shard }))
    )
  let creations = 0
  const rotate = rotation(shards, ids, forwarding, limits, load)

  return {
    capabilities: { durableDestroy, remote: true, limitsSubjects: true, ...(client.cluster ? { colocated } : {}) },

    create: (key, record, now, limit) =>
      Effect.gen(function*() {
        const made = calls("create")
        const shard = shards.of(key)
        const own = qualified(record.namespace, record.id)
        const reserved = yield* ids.reserve(made, shard, own, record.expiry.at)
        if (reserved === "taken") return "exists"
        const call = callName()
        const reply = yield* limits.within(made, {
          shard,
          call,
          record,
          limit,
          now,
          run: (input) =>
            made.run(
              Scripts.create,
              [
                shard.record(key),
                shard.epochs,
                shard.ids,
                shard.subjects,
                shard.expiryIndex,
                shard.ended(key),
                ...input.keys
              ],
              [key, now, call, encodeMetadata(record), encodeText(record.data), ...input.args]
            )
        })
        const word = yield* outcome(made, "created", "evicted", "exists", "full")(reply)
        const isIdFree = word === "full" || (word === "exists" && reply[1] === "key")
        if (isIdFree && reserved === "new") yield* ids.release(made, shard, [own])
        if (++creations % creationsPerPrune === 0) yield* Effect.ignore(prune(made, shard))
        return word === "evicted" ? evictedIn(reply) : word
      }),

    load: (key, now) => {
      const made = calls("load")
      return Effect.flatMap(loaded(made, key, now), ({ reply }) => recordIn(made, reply))
    },

    save: (key, record, { expectedVersion: expected, now }) =>
      Effect.suspend(() => {
        const made = calls("save")
        const args = [key, now, callName(), encodeMetadata(record), encodeText(record.data), expected]
        return Effect.flatMap(
          forwarding.runAtRecord(key, (shard) =>
            made.run(Scripts.save, [shard.record(key), shard.epochs, shard.expiryIndex], args)),
          ({ reply }) =>
            outcome(made, "saved", "conflict", "gone")(reply)
        )
      }),

    touch: (key, { lastSeenAt, expiresAt, now }) => {
      const made = calls("touch")
      const args = [key, now, lastSeenAt, expiresAt]
      return Effect.flatMap(
        forwarding.runAtRecord(
          key,
          (shard) => made.run(Scripts.touch, [shard.record(key), shard.epochs, shard.expiryIndex], args)
        ),
        ({ reply }) => outcome(made, "touched", "gone")(reply)
      )
    },

    rotate: (key, newKey, record, { expectedVersion: expected, limit, now }) =>
      Effect.suspend(() => rotate(calls("rotate"), { key, newKey, record, expected, limit, now, call: callName() })),

    destroy: (key) =>
      Effect.gen(function*() {
        const made = calls("destroy")
        const { reply, shard } = yield* forwarding.runAtRecord(key, (shard) =>
          made.run(
            Scripts.destroy,
            [shard.record(key), shard.epochs, shard.ids, shard.subjects, shard.expiryIndex, shard.ended(key)],
            [key]
          ))
        yield* ids.release(made, shard, qualifiedIdIn(reply))
        yield* forwarding.remove(made, key, shard, keptReasonIn(reply, 3))
      }),

    removeExpired: ({ now, limit }) => removeExpired(calls("removeExpired"), now, limit),

    count: (now) => {
      const made = calls("count")
      return Effect.map(
        Effect.forEach(
          shards.all,
          ({ expiryIndex }) =>
            Effect.all([
              made.command("zcount", expiryIndex, `(${now}`, "+inf"),
              made.command("zcount", expiryIndex, "-inf", now)
            ], {
              concurrency: 2
            }),
          { concurrency: "unbounded" }
        ),
        (counts) => ({
          current: counts.reduce((sum, [[current]]) => sum + Number(current), 0),
          expired: counts.reduce((sum, [, [expired]]) => sum + Number(expired), 0)
        })
      )
    },

    list: (namespace, subject, now, page = {}) => list(calls("list"), namespace, subject, now, page),
    find: (namespace, id, now) => find(calls("find"), qualified(namespace, id), now),
    scan: (namespace, { after, limit, now }) => scan(calls("scan"), namespace, after, limit, now),
    revoke: (namespace, id, subject) =>
      revoke(
        calls("revoke"),
        qualified(namespace, id),
        "revoked",
        subject === undefined ? undefined : { namespace, subject }
      ),

    revokeSubject: (namespace, subject, except) =>
      revokeScope(
        calls("revokeSubject"),
        subjectScopeOf(namespace, subject),
        except === undefined ? undefined : qualified(namespace, except)
      ),

    revokeAll: (namespace) => revokeScope(calls("revokeAll"), scopeOf(namespace)),

    endReason: (key, now) =>
      Effect.suspend(() => {
        const made = calls("endReason")
        return Effect.flatMap(
          forwarding.runAtRecord(key, (shard) =>
            made.run(Scripts.endReason, [shard.record(key), shard.epochs, shard.ended(key)], [now])),
          ({ reply }) =>
            Effect.map(outcome(made, ...endReasons, "none", "relocated")(reply), (word) =>
              word === "none" || word === "relocated" ? Option.none() : Option.some(word))
        )
      })
  }
}

/** The number of creations per pruning. Four index entries are checked for each that is created, so at most one in four is outdated. */
const creationsPerPrune = 8

/**
 * Makes the idempotency key of one call: if the driver resends the command, the script returns the recorded outcome. A second call has
 * another key: the engine resolves the outcome of the first. All keys have the same length.
 */
const callName = (): string => encodeBase64Url(nameBytes(9))
