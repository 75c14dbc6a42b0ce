/**
 * A session store of one's own, in less than a hundred lines: a list of rows, as a table would hold them. The laws of
 * `effect-session/testing` are run on it by this project's tests.
 */
import { Effect, Layer, Option } from "effect"
import { type SessionRecord, SessionStore, type StoreKey } from "effect-session"

interface Row {
  readonly key: StoreKey.StoreKey
  readonly record: SessionRecord
  /** How many revocations of its subject, and of everyone, there were when it was made. */
  readonly ofSubject: number
  readonly ofAll: number
}

const make = (): typeof SessionStore.Service => {
  let rows: ReadonlyArray<Row> = []
  const epochs = new Map<string, number>()

  const epoch = (...scope: ReadonlyArray<string>) => epochs.get(JSON.stringify(scope)) ?? 0
  const raise = (...scope: ReadonlyArray<string>) => void epochs.set(JSON.stringify(scope), epoch(...scope) + 1)
  const stamp = ({ namespace, subject }: SessionRecord) => ({
    ofSubject: subject === undefined ? 0 : epoch(namespace, subject),
    ofAll: epoch(namespace)
  })
  const isAlive = ({ ofAll, ofSubject, record }: Row, now: number) =>
    record.expiry.at > now && ofAll === stamp(record).ofAll && ofSubject === stamp(record).ofSubject
  const alive = (namespace: string, now: number) =>
    rows.filter((row) => row.record.namespace === namespace && isAlive(row, now)).map(({ record }) => record)
  const put = (row: Row) => void (rows = [...rows.filter(({ key }) => key !== row.key), row])
  /** Removes the first so many that fit, and says how many they were. */
  const remove = (fits: (row: Row) => boolean, limit = Infinity) => {
    const doomed = new Set(rows.filter(fits).slice(0, limit))
    rows = rows.filter((row) => !doomed.has(row))
    return doomed.size
  }
  /** One step on a live row: nothing comes between what it reads and what it writes. */
  const change = <A>(key: StoreKey.StoreKey, now: number, f: (row: Row) => A) =>
    Effect.sync((): A | "gone" => {
      const row = rows.find((row) => row.key === key && isAlive(row, now))
      return row === undefined ? "gone" : f(row)
    })

  return {
    capabilities: { durableDestroy: false, remote: false },
    create: (key, record) =>
      Effect.sync(() => {
        const same = (row: Row) => row.record.namespace === record.namespace && row.record.id === record.id
        if (rows.some((row) => row.key === key || same(row))) return "exists"
        put({ key, record, ...stamp(record) })
        return "created"
      }),
    load: (key, now) =>
      Effect.sync(() =>
        Option.map(
          Option.fromNullable(rows.find((row) => row.key === key && isAlive(row, now))),
          ({ record }) => record
        )
      ),
    save: (key, { data, expiry, lastSeenAt, modifiedAt, schemaVersion, writeId }, expected, now) =>
      change(key, now, (row) => {
        const old = row.record
        if (old.version !== expected) return "conflict"
        const sameLifetime = JSON.stringify(old.expiry.lifetime) === JSON.stringify(expiry.lifetime)
        const at = sameLifetime ? Math.max(old.expiry.at, expiry.at) : expiry.at
        const times = {
          modifiedAt: Math.max(old.modifiedAt, modifiedAt),
          lastSeenAt: Math.max(old.lastSeenAt, lastSeenAt)
        }
        const end = { ...old.expiry, at, lifetime: expiry.lifetime }
        put({ ...row, record: { ...old, data, schemaVersion, writeId, ...times, version: expected + 1, expiry: end } })
        return "saved"
      }),
    touch: (key, seen, end, now) =>
      change(key, now, (row) => {
        const { expiry, lastSeenAt } = row.record
        const at = Math.max(expiry.at, Math.min(end, expiry.deadline ?? Infinity))
        put({ ...row, record: { ...row.record, lastSeenAt: Math.max(lastSeenAt, seen), expiry: { ...expiry, at } } })
        return "touched"
      }),
    rotate: (key, newKey, record, expected, now) =>
      change(key, now, (row) => {
        const taken = (other: Row) =>
          other.key === newKey ||
          other.key !== key && other.record.namespace === record.namespace && other.record.id === record.id
        if (row.record.version !== expected || rows.some(taken)) return "conflict"
        const ofSubject = row.record.subject === record.subject ? row.ofSubject : stamp(record).ofSubject
        remove((other) => other.key === key)
        put({ ...row, key: newKey, ofSubject, record: { ...record, version: expected + 1 } })
        return "saved"
      }),
    destroy: (key) => Effect.sync(() => void remove((row) => row.key === key)),
    removeExpired: (now, limit) => Effect.sync(() => remove(({ record }) => record.expiry.at <= now, limit)),
    count: (now) =>
      Effect.sync(() => {
        const current = rows.filter(({ record }) => record.expiry.at > now).length
        return { current, expired: rows.length - current }
      }),
    list: (namespace, subject, now) =>
      Effect.sync(() =>
        alive(namespace, now).filter((record) => record.subject === subject)
          .sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1)).map(({ data: _, ...info }) => info)
      ),
    find: (namespace, id, now) =>
      Effect.sync(() => Option.fromNullable(alive(namespace, now).find((record) => record.id === id))),
    scan: (namespace, after, limit, now) =>
      Effect.sync(() =>
        alive(namespace, now).filter(({ id }) => after === undefined || id > after).sort((
          a,
          b
        ) => (a.id < b.id ? -1 : 1)).slice(0, limit)
      ),
    revoke: (namespace, id) =>
      Effect.sync(() => remove(({ record }) => record.namespace === namespace && record.id === id) > 0),
    revokeSubject: (namespace, subject, except) =>
      Effect.sync(() => {
        const before = epoch(namespace, subject)
        raise(namespace, subject)
        const isSpared = ({ ofSubject, record }: Row) =>
          record.namespace === namespace && record.id === except && record.subject === subject && ofSubject === before
        rows = rows.map((row) => isSpared(row) ? { ...row, ofSubject: before + 1 } : row)
      }),
    revokeAll: (namespace) => Effect.sync(() => raise(namespace))
  }
}

export const layer = Layer.sync(SessionStore, make)
