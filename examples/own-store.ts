/**
 * A session store of one's own, in less than a hundred lines of code: a list of rows, as a table would hold them. The laws of
 * `effect-session/testing` are run on it by this project's tests.
 */
import { Effect, Layer, Option } from "effect"
import { type SessionRecord, SessionStore, type StoreKey } from "effect-session"

/** `stamp` is how many revocations there were, of everyone and of its subject, when the record was made. */
type Row = { readonly key: StoreKey.StoreKey; readonly record: SessionRecord; readonly stamp: string }

const make = (): typeof SessionStore.Service => {
  let rows: ReadonlyArray<Row> = []
  const epochs = new Map<string, number>()
  const scope = (namespace: string, subject?: string) => JSON.stringify([namespace, subject])
  const raise = (scope: string) => void epochs.set(scope, (epochs.get(scope) ?? 0) + 1)
  const stamp = ({ namespace, subject }: SessionRecord) =>
    `${epochs.get(scope(namespace))} ${subject === undefined ? "" : epochs.get(scope(namespace, subject))}`

  const isAlive = (row: Row, now: number) => row.record.expiry.at > now && row.stamp === stamp(row.record)
  const isOf = (namespace: string, id?: string) => ({ record }: Row) =>
    record.namespace === namespace && record.id === id
  const alive = (namespace: string, now: number) =>
    rows.filter((row) => row.record.namespace === namespace && isAlive(row, now))
      .map(({ key, record }) => ({ ...record, key }))
  const put = (row: Row) => void (rows = [...rows.filter(({ key }) => key !== row.key), row])
  const remove = (fits: (row: Row) => boolean, limit = Infinity) => {
    const doomed = new Set(rows.filter(fits).slice(0, limit))
    rows = rows.filter((row) => !doomed.has(row))
    return doomed.size
  }
  const live = (key: StoreKey.StoreKey, now: number) => rows.find((row) => row.key === key && isAlive(row, now))
  /** One step on a live row: nothing comes between what it reads and what it writes. */
  const change = <A>(key: StoreKey.StoreKey, now: number, f: (row: Row) => A) =>
    Effect.sync((): A | "gone" =>
      Option.match(Option.fromNullable(live(key, now)), { onNone: () => "gone", onSome: f })
    )

  return {
    capabilities: { durableDestroy: false, remote: false },
    create: (key, record) =>
      Effect.sync(() => {
        if (rows.some((row) => row.key === key || isOf(record.namespace, record.id)(row))) return "exists"
        put({ key, record, stamp: stamp(record) })
        return "created"
      }),
    load: (key, now) => Effect.sync(() => Option.map(Option.fromNullable(live(key, now)), (row) => row.record)),
    save: (key, { data, expiry, lastSeenAt, modifiedAt, schemaVersion, writeId }, expected, now) =>
      change(key, now, (row) => {
        const old = row.record
        if (old.version !== expected) return "conflict"
        const sameLifetime = JSON.stringify(old.expiry.lifetime) === JSON.stringify(expiry.lifetime)
        const at = sameLifetime ? Math.max(old.expiry.at, expiry.at) : expiry.at
        const end = { ...old.expiry, at, lifetime: expiry.lifetime }
        const times = {
          modifiedAt: Math.max(old.modifiedAt, modifiedAt),
          lastSeenAt: Math.max(old.lastSeenAt, lastSeenAt)
        }
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
          other.key === newKey || (other.key !== key && isOf(record.namespace, record.id)(other))
        if (row.record.version !== expected || rows.some(taken)) return "conflict"
        const kept = row.record.subject === record.subject ? row.stamp : stamp(record)
        remove((other) => other.key === key)
        put({ key: newKey, stamp: kept, record: { ...record, version: expected + 1 } })
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
      Effect.sync(() => alive(namespace, now).filter((record) => record.subject === subject).sort(byAge).map(info)),
    find: (namespace, id, now) =>
      Effect.sync(() => Option.fromNullable(rows.find((row) => isOf(namespace, id)(row) && isAlive(row, now))?.record)),
    scan: (namespace, after, limit, now) =>
      Effect.sync(() =>
        alive(namespace, now).filter(({ id }) => after === undefined || after < id).sort(byId).slice(0, limit)
      ),
    revoke: (namespace, id) => Effect.sync(() => remove(isOf(namespace, id)) > 0),
    revokeSubject: (namespace, subject, except) =>
      Effect.sync(() => {
        const spared = rows.filter((row) => isOf(namespace, except)(row) && row.record.subject === subject)
        const untouched = spared.filter((row) => row.stamp === stamp(row.record))
        raise(scope(namespace, subject))
        for (const row of untouched) put({ ...row, stamp: stamp(row.record) })
      }),
    revokeAll: (namespace) => Effect.sync(() => raise(scope(namespace)))
  }
}

const info = ({ data: _, key: __, ...rest }: SessionRecord & { key: string }) => rest
const byId = (a: SessionRecord, b: SessionRecord) => (a.id < b.id ? -1 : 1)
const byAge = (a: SessionRecord, b: SessionRecord) => a.createdAt - b.createdAt || byId(a, b)

export const layer = Layer.sync(SessionStore, make)
