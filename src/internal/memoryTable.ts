/**
 * The store in memory, apart from what keeps its entries: a map, or a cache.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { isExpired } from "../Expiry.js"
import * as Lifetime from "../Lifetime.js"
import type { SessionRecord } from "../SessionRecord.js"
import type { Located, Shape } from "../SessionStore.js"
import type { StoreKey } from "../StoreKey.js"

export interface Entry {
  readonly record: SessionRecord
  /** The revocations that had happened when the record was made; a later one ends it. */
  readonly subjectEpoch: number
  readonly namespaceEpoch: number
}

/** What keeps the entries. It may forget some, and says so. */
export interface Table {
  readonly get: (key: StoreKey) => Entry | undefined
  readonly has: (key: StoreKey) => boolean
  readonly set: (key: StoreKey, entry: Entry) => void
  readonly delete: (key: StoreKey) => void
  readonly entries: () => IterableIterator<[StoreKey, Entry]>
  /** Called before an entry is added. */
  readonly makeRoom?: (now: number, removeExpired: (now: number, limit: number) => number) => void
}

/**
 * What the store in memory means, whatever keeps its entries. Every function is one synchronous step, so it is atomic.
 */
export const make = (makeTable: (forget: (entry: Entry) => void) => Table): Shape => {
  const entries = makeTable(({ record }) => keys.delete(scopeOf(record.namespace, record.id)))
  const keys = new Map<string, StoreKey>() // by namespace and id
  const epochs = new Map<string, number>() // by namespace, and by namespace and subject

  const epoch = (namespace: string, subject?: string) => epochs.get(scopeOf(namespace, subject)) ?? 0
  const subjectEpoch = (record: SessionRecord) =>
    record.subject === undefined ? 0 : epoch(record.namespace, record.subject)

  const alive = (key: StoreKey | undefined, now: number): Entry | undefined => {
    const entry = key === undefined ? undefined : entries.get(key)
    return entry !== undefined && !isExpired(entry.record.expiry, now) &&
        entry.subjectEpoch === subjectEpoch(entry.record) && entry.namespaceEpoch === epoch(entry.record.namespace)
      ? entry
      : undefined
  }

  const allAlive = (namespace: string, now: number): Array<Located> =>
    [...entries.entries()].flatMap(([key, { record }]) =>
      record.namespace === namespace && alive(key, now) ? [{ ...record, key }] : []
    )

  const put = (key: StoreKey, entry: Entry) => {
    keys.set(scopeOf(entry.record.namespace, entry.record.id), key)
    entries.set(key, entry)
  }

  const remove = (key: StoreKey) => {
    const entry = entries.get(key)
    if (entry === undefined) return false
    entries.delete(key)
    keys.delete(scopeOf(entry.record.namespace, entry.record.id))
    return true
  }

  const removeExpired = (now: number, limit: number) => {
    let removed = 0
    for (const [key, { record }] of entries.entries()) {
      if (removed >= limit) break
      if (isExpired(record.expiry, now) && remove(key)) removed++
    }
    forgetEpochs()
    return removed
  }

  /** A revocation matters while there is a record that it might have ended. */
  const forgetEpochs = () => {
    const subjects = new Set([...entries.entries()].map(([, { record }]) => scopeOf(record.namespace, record.subject)))
    for (const scope of epochs.keys()) {
      if (!scope.startsWith(":") && !subjects.has(scope)) epochs.delete(scope)
    }
  }

  return {
    capabilities: { durableDestroy: false, remote: false },

    create: (key, record, now) =>
      Effect.sync(() => {
        if (entries.has(key) || keys.has(scopeOf(record.namespace, record.id))) return "exists"
        entries.makeRoom?.(now, removeExpired)
        put(key, { record, subjectEpoch: subjectEpoch(record), namespaceEpoch: epoch(record.namespace) })
        return "created"
      }),

    load: (key, now) => Effect.sync(() => Option.map(Option.fromNullable(alive(key, now)), (entry) => entry.record)),

    save: (key, record, expectedVersion, now) =>
      Effect.sync(() => {
        const entry = alive(key, now)
        if (entry === undefined) return "gone"
        if (entry.record.version !== expectedVersion) return "conflict"
        put(key, { ...entry, record: saved(entry.record, record) })
        return "saved"
      }),

    touch: (key, lastSeenAt, expiresAt, now) =>
      Effect.sync(() => {
        const entry = alive(key, now)
        if (entry === undefined) return "gone"
        const { record } = entry
        const end = Math.max(record.expiry.at, Math.min(expiresAt, record.expiry.deadline ?? Infinity))
        put(key, {
          ...entry,
          record: {
            ...record,
            lastSeenAt: Math.max(record.lastSeenAt, lastSeenAt),
            expiry: { ...record.expiry, at: end }
          }
        })
        return "touched"
      }),

    rotate: (key, newKey, record, expectedVersion, now) =>
      Effect.sync(() => {
        const entry = alive(key, now)
        if (entry === undefined) return "gone"
        const idOwner = keys.get(scopeOf(record.namespace, record.id))
        if (entry.record.version !== expectedVersion || entries.has(newKey) || (idOwner ?? key) !== key) {
          return "conflict"
        }
        const sameSubject = entry.record.subject === record.subject
        remove(key)
        put(newKey, {
          record: { ...record, version: expectedVersion + 1 },
          subjectEpoch: sameSubject ? entry.subjectEpoch : subjectEpoch(record),
          namespaceEpoch: entry.namespaceEpoch
        })
        return "saved"
      }),

    destroy: (key) => Effect.sync(() => void remove(key)),

    removeExpired: (now, limit) => Effect.sync(() => removeExpired(now, limit)),

    count: (now) =>
      Effect.sync(() => {
        const all = [...entries.entries()]
        const expired = all.filter(([, { record }]) => isExpired(record.expiry, now)).length
        return { current: all.length - expired, expired }
      }),

    list: (namespace, subject, now) =>
      Effect.sync(() =>
        allAlive(namespace, now)
          .filter((record) => record.subject === subject)
          .sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1))
          .map(({ data: _, key: __, ...info }) => info)
      ),

    find: (namespace, id, now) =>
      Effect.sync(() =>
        Option.map(Option.fromNullable(alive(keys.get(scopeOf(namespace, id)), now)), (entry) => entry.record)
      ),

    scan: (namespace, after, limit, now) =>
      Effect.sync(() =>
        allAlive(namespace, now)
          .filter((record) => after === undefined || record.id > after)
          .sort((a, b) => (a.id < b.id ? -1 : 1))
          .slice(0, limit)
      ),

    revoke: (namespace, id) =>
      Effect.sync(() => {
        const key = keys.get(scopeOf(namespace, id))
        return key !== undefined && remove(key)
      }),

    revokeSubject: (namespace, subject, except) =>
      Effect.sync(() => {
        const next = epoch(namespace, subject) + 1
        const key = except === undefined ? undefined : keys.get(scopeOf(namespace, except))
        const spared = key === undefined ? undefined : entries.get(key)
        epochs.set(scopeOf(namespace, subject), next)
        if (key !== undefined && spared?.record.subject === subject && spared.subjectEpoch === next - 1) {
          put(key, { ...spared, subjectEpoch: next })
        }
      }),

    revokeAll: (namespace) => Effect.sync(() => void epochs.set(scopeOf(namespace), epoch(namespace) + 1))
  }
}

// The length keeps the two parts apart, whatever they contain.
const scopeOf = (namespace: string, name?: string): string =>
  name === undefined ? `:${namespace}` : `${namespace.length}:${namespace}${name}`

/** What a save leaves: the new data and lifetime, times that only moved forward, and identity as it was. */
const saved = (old: SessionRecord, record: SessionRecord): SessionRecord => ({
  ...old,
  data: record.data,
  schemaVersion: record.schemaVersion,
  version: old.version + 1,
  writeId: record.writeId,
  modifiedAt: Math.max(old.modifiedAt, record.modifiedAt),
  lastSeenAt: Math.max(old.lastSeenAt, record.lastSeenAt),
  expiry: {
    at: Lifetime.equals(old.expiry.lifetime, record.expiry.lifetime)
      ? Math.max(old.expiry.at, record.expiry.at)
      : record.expiry.at,
    deadline: old.expiry.deadline,
    lifetime: record.expiry.lifetime
  }
})
