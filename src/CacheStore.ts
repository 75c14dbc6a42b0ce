/**
 * A bounded store in this process's memory. It evicts expired sessions first, then the least recently used ones; the users of evicted
 * sessions are logged out. Listing a session does not count as use.
 *
 * @since 0.4.0
 */
import type * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { LRUCache } from "lru-cache"
import { configError } from "./internal/configError.js"
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import type { Entry } from "./internal/memory/table.js"
import * as MemoryTable from "./internal/memory/table.js"
import type { SessionConfigError } from "./SessionConfigError.js"
import type { SessionRecord } from "./SessionRecord.js"
import type { Store } from "./SessionStore.js"
import { SessionStore, SessionStoreError } from "./SessionStore.js"
import type { StoreKey } from "./StoreKey.js"

/**
 * The options of {@link make} and {@link layerWith}.
 *
 * @since 0.4.0
 * @category models
 */
export interface CacheStoreOptions {
  /** The maximum number of sessions. Default 100,000. */
  readonly maxEntries?: number
  /** The maximum size of all sessions in bytes, as an estimate. Default 134,217,728 (128 MiB). */
  readonly maxBytes?: number
}

/** The size of an entry in bytes besides its texts: the record's fields, the key, and the cache's own lists. */
const overhead = 700

const bytesOf = ({ attributes = "", data, id, namespace, subject = "", writeId }: SessionRecord): number =>
  overhead + 2 * [attributes, data, id, namespace, subject, writeId].reduce((sum, { length }) => sum + length, 0)

/**
 * Makes a store, which evicts entries as a whole in one step. Fails with `SessionConfigError` if a limit is not a positive integer. Writes of a
 * session larger than `maxBytes` fail with the reason `size`.
 *
 * @since 0.4.0
 * @category constructors
 */
export const make = (options: CacheStoreOptions = {}): Effect.Effect<Store, SessionConfigError> =>
  Effect.suspend(() => {
    const { maxBytes = 128 * 1024 * 1024, maxEntries = 100_000 } = options
    if (![maxEntries, maxBytes].every((limit) => Number.isSafeInteger(limit) && limit > 0)) {
      return configError(
        "CacheStore",
        "maxEntries and maxBytes must be whole numbers, 1 or more.",
        "option-out-of-range"
      )
    }
    const table = MemoryTable.make((forget) => {
      const entries = new LRUCache<StoreKey, Entry>({
        max: maxEntries,
        maxSize: maxBytes,
        sizeCalculation: ({ record }) => bytesOf(record),
        dispose: (entry, key, reason) => {
          if (reason === "evict") forget(key, entry)
        }
      })
      return Object.assign(entries, {
        bySize: true,
        isFull: (key: StoreKey, record: SessionRecord) => {
          const old = entries.peek(key)
          const grown = bytesOf(record) - (old === undefined ? 0 : bytesOf(old.record))
          return entries.calculatedSize + grown > maxBytes || (old === undefined && entries.size >= maxEntries)
        }
      })
    })

    /** Fails if the record can never fit: the cache would silently drop both the old and the new entry. */
    const fitting = <A>(operation: string, record: SessionRecord, call: Effect.Effect<A, SessionStoreError>) => {
      const size = bytesOf(record)
      if (size <= maxBytes) return call
      const cause = new RangeError(`A session of ${size} bytes is larger than the whole cache of ${maxBytes}.`)
      return Effect.fail(new SessionStoreError({ operation, reason: "size", cause }))
    }

    return Effect.succeed({
      capabilities: table.capabilities,
      create: (key, record, now, limit) => fitting("create", record, table.create(key, record, now, limit)),
      load: table.load,
      save: (key, record, options) => fitting("save", record, table.save(key, record, options)),
      touch: table.touch,
      rotate: (key, newKey, record, options) => fitting("rotate", record, table.rotate(key, newKey, record, options)),
      destroy: table.destroy,
      removeExpired: table.removeExpired,
      count: table.count,
      list: table.list,
      find: table.find,
      scan: table.scan,
      revoke: table.revoke,
      revokeSubject: table.revokeSubject,
      revokeAll: table.revokeAll,
      endReason: table.endReason
    })
  })

/**
 * A cache with options. Each build of the layer has its own.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { CacheStore, StoredEngine } from "effect-session"
 *
 * export const engine = StoredEngine.layer.pipe(
 *   Layer.provide(CacheStore.layerWith({ maxEntries: 10_000 }))
 * )
 * ```
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWith = (options: CacheStoreOptions): Layer.Layer<SessionStore, SessionConfigError> =>
  Layer.effect(SessionStore, make(options))

/**
 * A cache with default options. A program that mentions the value several times has one cache; each run of a program has its own.
 *
 * @since 0.4.0
 * @category layers
 */
export const layer: Layer.Layer<SessionStore, SessionConfigError> = layerWith({})

/**
 * A cache with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<CacheStoreOptions>
): Layer.Layer<SessionStore, SessionConfigError | ConfigError> => layerConfigOf(options, layerWith)
