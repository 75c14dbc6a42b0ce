/**
 * A session store of one's own, in less than a hundred lines of code: a list of rows, as a table would hold them. The laws of
 * `effect-session/testing` are run on it by this project's tests.
 */
import { Effect, Layer, Option } from "effect"
import { type SessionRecord, SessionStore, type StoreKey } from "effect-session"
import { applySave, applyTouch, byAge, toInfo } from "effect-session/SessionRecord"
import { byClock, pageSize } from "effect-session/SessionStore"

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
  const isOf = (namespace: string, id?: string) => (row: Row) =>
    row.record.namespace === namespace && row.record.id === id
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
    save: (key, record, expected, now) =>
      change(key, now, (row) => {
        if (row.record.version !== expected) return "conflict"
        put({ ...row, record: applySave(row.record, record) })
        return "saved"
      }),
    touch: (key, seen, end, now) =>
      change(key, now, (row) => {
        put({ ...row, record: applyTouch(row.record, seen, end) })
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
    list: (namespace, subject, now, { after, limit = pageSize } = {}) =>
      Effect.sync(() => {
        const isNext = (one: SessionRecord) => one.subject === subject && (after === undefined || byAge(after, one) < 0)
        return alive(namespace, now).filter(isNext).sort(byAge).slice(0, limit).map(({ key: _, ...record }) =>
          toInfo(record)
        )
      }),
    find: (namespace, id, now) =>
      Effect.sync(() => Option.fromNullable(rows.find((row) => isOf(namespace, id)(row) && isAlive(row, now))?.record)),
    scan: (namespace, after, limit, now) =>
      Effect.sync(() =>
        alive(namespace, now).filter(({ id }) => after === undefined || after < id).sort(byId).slice(0, limit)
      ),
    revoke: (namespace, id) => Effect.sync(() => remove(isOf(namespace, id)) > 0),
    revokeSubject: (namespace, subject, except) =>
      Effect.sync(() => {
        const spared = alive(namespace, 0).filter(({ id, subject: whose }) => id === except && whose === subject)
        raise(scope(namespace, subject))
        for (const { key, ...record } of spared) put({ key, record, stamp: stamp(record) })
      }),
    revokeAll: (namespace) => Effect.sync(() => raise(scope(namespace)))
  }
}

const byId = (a: SessionRecord, b: SessionRecord) => (a.id < b.id ? -1 : 1)

export const layer = Layer.sync(SessionStore, () => byClock(make(), Effect.sync(Date.now)))
