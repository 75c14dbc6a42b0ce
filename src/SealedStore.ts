/**
 * A store that seals the data of another store: an attacker with a copy of the database, or with write access to it, can neither read a session
 * nor replace one by another.
 *
 * The seal is bound to the store key, the version, the attributes, and the fields that only a rotation changes: namespace, id, subject, the
 * times of creation and authentication, and the deadline. A row that was moved to another key, replaced by an earlier version, or edited in
 * one of these fields, is corrupt (503), and is left unchanged. A live row whose deadline has passed is absent. Metadata are not encrypted:
 * lists return the columns, and clean-up reads them.
 *
 * @since 0.5.0
 */
import * as Arr from "effect/Array"
import type * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { LRUCache } from "lru-cache"
import { identityOf, versionsOf } from "./internal/crypto/sealedText.js"
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import { isCorruptEntry, orCorruptEntry } from "./internal/store/corrupt.js"
import type { Sealing } from "./Keyring.js"
import { Keyring } from "./Keyring.js"
import type { SessionConfigError } from "./SessionConfigError.js"
import type { SessionRecord } from "./SessionRecord.js"
import type { Store, WriteOutcome } from "./SessionStore.js"
import { SessionStore, SessionStoreError } from "./SessionStore.js"
import type { StoreKey } from "./StoreKey.js"

/**
 * The options of {@link make} and {@link layerWith}.
 *
 * @since 0.5.0
 * @category models
 */
export interface SealedStoreOptions {
  /** The algorithm, as that of `CookieEngine`. `"e1"`: XChaCha20-Poly1305, the default. `"f1"`: AES-256-GCM. */
  readonly suite?: "e1" | "f1"
  /** The database. Databases that share a secret reject each other's rows if their audiences differ. */
  readonly audience?: string
}

const utf8 = new TextEncoder()
const fromUtf8 = new TextDecoder("utf-8", { ignoreBOM: true })

/**
 * Makes a store that seals the data of another one. Fails with `SessionConfigError` if the audience is too long.
 *
 * @since 0.5.0
 * @category constructors
 */
export const make = (
  store: Store,
  options: SealedStoreOptions = {}
): Effect.Effect<Store, SessionConfigError, Keyring> =>
  Effect.map(
    Effect.flatMap(Keyring, ({ derive }) =>
      derive({ purpose: "rest", suite: options.suite ?? "e1", cookieName: "", audience: options.audience ?? "" })),
    (keys) =>
      sealed(store, keys)
  )

const sealed = (store: Store, { open, seal }: Sealing): Store => {
  const { keptAt, note } = memory()

  const closed = (key: StoreKey, record: SessionRecord, version: number, kept: string): SessionRecord => ({
    ...record,
    data: seal(utf8.encode(`${key}\n${versionsOf(version, record)}\n${kept}\n${record.data}`))
  })

  /** Opens a row and compares its fields with the sealed ones. A row that was found by its id has no key to compare. */
  const opened = <A extends SessionRecord>(
    operation: string,
    record: A,
    now: number,
    key?: StoreKey
  ): Effect.Effect<Option.Option<A>, SessionStoreError> =>
    Effect.suspend(() => {
      const kept = identityOf(record)
      const [, sealedKey, versions, sealedKept, data] = Option.match(open(record.data), {
        onNone: () => [],
        onSome: ({ content }) => /^([^\n]*)\n([^\n]*)\n([^\n]*)\n([^]*)$/.exec(fromUtf8.decode(content)) ?? []
      })
      const isWhole = versions === versionsOf(record.version, record) && sealedKept === kept &&
        (key === undefined || sealedKey === key)
      if (data === undefined || !isWhole) return new SessionStoreError({ operation, reason: "corrupt" })
      if (key !== undefined) note(key, record.version, kept)
      // A touch moves the end, so the seal covers the deadline only.
      const { deadline = Infinity } = record.expiry
      return Effect.succeed(deadline > now ? Option.some({ ...record, data }) : Option.none())
    })

  const load: Store["load"] = (key, now, reading) =>
    Effect.flatMap(
      store.load(key, now, reading),
      Option.match({ onNone: () => Effect.succeedNone, onSome: (record) => opened("load", record, now, key) })
    )

  const scan: Store["scan"] = (namespace, options) =>
    Effect.gen(function*() {
      const page = yield* store.scan(namespace, options)
      const found = Arr.getSomes(
        yield* Effect.forEach(page, (one) =>
          isCorruptEntry(one)
            ? Effect.succeedSome(one)
            : orCorruptEntry(one.id)(opened("scan", one, options.now, one.key)))
      )
      const missing = page.length - found.length
      // Absent rows are replaced by the next ones.
      return missing === 0 || page.length < options.limit
        ? found
        : [...found, ...(yield* scan(namespace, { ...options, after: page.at(-1)?.id, limit: missing }))]
    })

  const save = (key: StoreKey, record: SessionRecord, expected: number, now: number, kept: string) =>
    Effect.tap(
      store.save(key, closed(key, record, expected + 1, kept), { expectedVersion: expected, now }),
      (outcome) => {
        if (outcome === "saved") note(key, expected + 1, kept)
      }
    )

  return {
    capabilities: store.capabilities,
    create: (key, record, now, limit) =>
      Effect.suspend(() => {
        const kept = identityOf(record)
        return Effect.tap(store.create(key, closed(key, record, record.version, kept), now, limit), (outcome) => {
          if (outcome === "created" || typeof outcome === "object") note(key, record.version, kept)
        })
      }),
    load,
    save: (key, record, { expectedVersion: expected, now }) =>
      Effect.suspend(() => {
        const kept = keptAt(key, expected)
        if (kept !== undefined) return save(key, record, expected, now, kept)
        return Effect.flatMap(
          load(key, now, "fresh"),
          Option.match({
            onNone: () => Effect.succeed<WriteOutcome>("gone"),
            onSome: (found) =>
              found.version === expected
                ? save(key, record, expected, now, identityOf(found))
                : Effect.succeed<WriteOutcome>("conflict")
          })
        )
      }),
    touch: (...args) => store.touch(...args),
    rotate: (key, newKey, record, { expectedVersion: expected, limit, now }) =>
      Effect.suspend(() => {
        const kept = identityOf(record)
        const sealed = closed(newKey, record, expected + 1, kept)
        return Effect.tap(store.rotate(key, newKey, sealed, { expectedVersion: expected, limit, now }), (outcome) => {
          if (outcome === "saved" || typeof outcome === "object") note(newKey, expected + 1, kept)
        })
      }),
    destroy: (...args) => store.destroy(...args),
    removeExpired: (...args) => store.removeExpired(...args),
    count: (...args) => store.count(...args),
    list: (...args) => store.list(...args),
    find: (namespace, id, now) =>
      Effect.flatMap(
        store.find(namespace, id, now),
        Option.match({ onNone: () => Effect.succeedNone, onSome: (record) => opened("find", record, now) })
      ),
    scan,
    revoke: (...args) => store.revoke(...args),
    revokeSubject: (...args) => store.revokeSubject(...args),
    revokeAll: (...args) => store.revokeAll(...args),
    endReason: (...args) => store.endReason(...args)
  }
}

const mostNoted = 4096

/**
 * LRU cache of the immutable columns of recently loaded rows. A save does not write them but must seal them; the caller has usually just
 * loaded the row, so it is not read again.
 */
const memory = () => {
  const noted = new LRUCache<StoreKey, { readonly version: number; readonly kept: string }>({ max: mostNoted })
  return {
    keptAt: (key: StoreKey, version: number): string | undefined => {
      const note = noted.get(key)
      return note?.version === version ? note.kept : undefined
    },
    note: (key: StoreKey, version: number, kept: string): void => void noted.set(key, { version, kept })
  }
}

/**
 * A sealed store over another store, with options.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWith = (
  options: SealedStoreOptions
): Layer.Layer<SessionStore, SessionConfigError, SessionStore | Keyring> =>
  Layer.effect(SessionStore, Effect.flatMap(SessionStore, (store) => make(store, options)))

/**
 * A sealed store over another store.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { MemoryStore, StoredEngine } from "effect-session"
 * import * as Keyring from "effect-session/Keyring"
 * import * as SealedStore from "effect-session/SealedStore"
 *
 * export const engine = StoredEngine.layer.pipe(
 *   Layer.provide(SealedStore.layer),
 *   Layer.provide(MemoryStore.layer), // ← any store
 *   Layer.provide(Keyring.layerConfig())
 * )
 * ```
 *
 * @since 0.5.0
 * @category layers
 */
export const layer: Layer.Layer<SessionStore, SessionConfigError, SessionStore | Keyring> = Layer.fresh(layerWith({}))

/**
 * A sealed store over another store, with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<SealedStoreOptions>
): Layer.Layer<SessionStore, SessionConfigError | ConfigError, SessionStore | Keyring> =>
  layerConfigOf(options, layerWith)
