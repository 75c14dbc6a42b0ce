/**
 * A store that keeps sealed data: who copies the database, or writes to it, can neither read a session nor put one in the
 * place of another.
 *
 * The seal is bound to the store key and the version, so a row that was moved to another key, or brought back from an
 * earlier moment under a later version, does not open: it counts as corrupt (503), and is left as it is. Metadata (ids,
 * subjects, times) stay readable, for lists and for clean-up.
 *
 * @since 0.5.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { Sealing } from "./Keyring.js"
import { Keyring } from "./Keyring.js"
import type { SessionConfigError } from "./SessionConfigError.js"
import type { SessionRecord } from "./SessionRecord.js"
import type { Shape } from "./SessionStore.js"
import { SessionStore, SessionStoreError } from "./SessionStore.js"
import type { StoreKey } from "./StoreKey.js"

/**
 * @since 0.5.0
 * @category models
 */
export interface Options {
  /** As that of `CookieEngine`. */
  readonly suite?: "e1" | "f1"
  /** Keeps databases apart that share a secret. */
  readonly audience?: string
}

const utf8 = new TextEncoder()
const fromUtf8 = new TextDecoder("utf-8", { ignoreBOM: true })

/**
 * Seals what a store keeps.
 *
 * @since 0.5.0
 * @category constructors
 */
export const make = (
  store: Shape,
  options: Options = {}
): Effect.Effect<Shape, SessionConfigError, Keyring> =>
  Effect.map(
    Effect.flatMap(Keyring, ({ derive }) =>
      derive({ purpose: "rest", suite: options.suite ?? "e1", cookieName: "", audience: options.audience ?? "" })),
    (keys) =>
      sealed(store, keys)
  )

const sealed = (store: Shape, { open, seal }: Sealing): Shape => {
  const closed = (key: StoreKey, record: SessionRecord, version: number): SessionRecord => ({
    ...record,
    data: seal(utf8.encode(`${key}\n${version}\n${record.data}`))
  })

  /** What is found by its id has no key to compare, but the version. */
  const opened = <A extends SessionRecord>(
    operation: string,
    record: A,
    key?: StoreKey
  ): Effect.Effect<A, SessionStoreError> =>
    Effect.suspend(() => {
      const [, sealedKey, version, data] = Option.match(open(record.data), {
        onNone: () => [],
        onSome: ({ content }) => /^([^\n]*)\n(\d+)\n([\s\S]*)$/.exec(fromUtf8.decode(content)) ?? []
      })
      return data === undefined || version !== String(record.version) || (key !== undefined && sealedKey !== key)
        ? new SessionStoreError({ operation, reason: "corrupt" })
        : Effect.succeed({ ...record, data })
    })

  return {
    ...store,
    create: (key, record, now) => store.create(key, closed(key, record, record.version), now),
    load: (key, now, reading) =>
      Effect.flatMap(store.load(key, now, reading), Effect.transposeMapOption((record) => opened("load", record, key))),
    save: (key, record, expected, now) => store.save(key, closed(key, record, expected + 1), expected, now),
    rotate: (key, newKey, record, expected, now) =>
      store.rotate(key, newKey, closed(newKey, record, expected + 1), expected, now),
    find: (namespace, id, now) =>
      Effect.flatMap(
        store.find(namespace, id, now),
        Effect.transposeMapOption((record) => opened("find", record))
      ),
    scan: (namespace, after, limit, now) =>
      Effect.flatMap(
        store.scan(namespace, after, limit, now),
        Effect.forEach((record) => opened("scan", record, record.key))
      )
  }
}

/**
 * The same as a layer over another store.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { MemoryStore, StoredEngine } from "effect-session"
 * import * as Keyring from "effect-session/Keyring"
 * import * as SealedStore from "effect-session/SealedStore"
 *
 * export const engine = StoredEngine.layer().pipe(
 *   Layer.provide(SealedStore.layer()),
 *   Layer.provide(MemoryStore.layer()), // ← any store
 *   Layer.provide(Keyring.layerConfig())
 * )
 * ```
 *
 * @since 0.5.0
 * @category layers
 */
export const layer = (
  options: Options = {}
): Layer.Layer<SessionStore, SessionConfigError, SessionStore | Keyring> =>
  Layer.effect(SessionStore, Effect.flatMap(SessionStore, (store) => make(store, options)))
