/**
 * A custom session store in fewer than 75 lines of code: a map of rows, like those of a table. The tests of this project run the
 * laws of `effect-session/testing` on it.
 */
import { Effect, Layer, Option } from "effect"
import type { StoreKey } from "effect-session"
import type { SessionRecord } from "effect-session/SessionRecord"
import { applySave, applyTouch, type Epochs, isAlive, toInfo } from "effect-session/SessionRecord"
import { byClock, pageOf, SessionStore, type WriteOutcome } from "effect-session/SessionStore"

/** A record with its key and the epochs at its insertion. */
type Row = Epochs & { readonly key: StoreKey.StoreKey; readonly record: SessionRecord }

const recordOf = ([row]: ReadonlyArray<Row>) => Option.fromNullable(row?.record)
const isOf = (namespace: string, subject?: string, id?: string) => ({ record }: Row) =>
  record.namespace === namespace && record.id === (id ?? record.id) && record.subject === (subject ?? record.subject)
const touched = (outcome: WriteOutcome) => outcome === "gone" ? outcome : "touched"
const isExpired = (now: number) => ({ record }: Row) => record.expiry.at <= now

const make = (): typeof SessionStore.Service => {
  const rows = new Map<StoreKey.StoreKey, Row>()
  const epochs = new Map<string, number>()
  const epoch = (...scope: ReadonlyArray<string>) => epochs.get(JSON.stringify(scope)) ?? 0
  const raise = (...scope: ReadonlyArray<string>) => void epochs.set(JSON.stringify(scope), epoch(...scope) + 1)
  const epochsOf = ({ namespace, subject }: SessionRecord): Epochs => ({
    namespaceEpoch: epoch(namespace),
    subjectEpoch: subject === undefined ? 0 : epoch(namespace, subject)
  })

  const put = <const A>(row: Row, outcome: A) => rows.set(row.key, row) && outcome
  const all = (fits: (row: Row) => boolean) => [...rows.values()].filter(fits)
  const live = (now: number, fits: (row: Row) => boolean) =>
    all((row) => fits(row) && isAlive(row.record, row, epochsOf(row.record), now))
  const remove = (fits: (row: Row) => boolean, limit = Infinity) =>
    all(fits).slice(0, limit).map(({ key }) => rows.delete(key)).length
  const isTaken = (key: StoreKey.StoreKey, { id, namespace }: SessionRecord, own?: Row) =>
    rows.has(key) || all(isOf(namespace, undefined, id)).some((row) => row !== own)
  /** Replaces a live row with `next(row)` atomically. `next` returns `false` on a conflict. */
  const change = (key: StoreKey.StoreKey, now: number, next: (row: Row) => Row | false) =>
    Effect.sync((): WriteOutcome => {
      const [row] = live(now, (row) => row.key === key)
      const replacement = row !== undefined && next(row)
      if (replacement === false) return row === undefined ? "gone" : "conflict"
      rows.delete(key)
      return put(replacement, "saved")
    })

  return {
    capabilities: { durableDestroy: false, remote: false },
    create: (key, record) =>
      Effect.sync(() => isTaken(key, record) ? "exists" : put({ key, record, ...epochsOf(record) }, "created")),
    load: (key, now) => Effect.sync(() => recordOf(live(now, (row) => row.key === key))),
    save: (key, record, { expectedVersion: version, now }) =>
      change(key, now, (row) => row.record.version === version && { ...row, record: applySave(row.record, record) }),
    touch: (key, times) =>
      Effect.map(change(key, times.now, (row) => ({ ...row, record: applyTouch(row.record, times) })), touched),
    rotate: (key, newKey, record, { expectedVersion, now }) =>
      change(key, now, (row) =>
        row.record.version === expectedVersion && !isTaken(newKey, record, row) &&
        { key: newKey, record: { ...record, version: expectedVersion + 1 }, ...epochsOf(record) }),
    destroy: (key) => Effect.sync(() => void rows.delete(key)),
    removeExpired: ({ now, limit }) => Effect.sync(() => remove(isExpired(now), limit)),
    count: (now) =>
      Effect.sync(() => ({ current: rows.size - all(isExpired(now)).length, expired: all(isExpired(now)).length })),
    list: (namespace, subject, now, page = {}) =>
      Effect.sync(() => pageOf(live(now, isOf(namespace, subject)).map(({ record }) => toInfo(record)), page)),
    find: (namespace, id, now) => Effect.sync(() => recordOf(live(now, isOf(namespace, undefined, id)))),
    scan: (namespace, { after = "", limit, now }) =>
      Effect.sync(() =>
        live(now, isOf(namespace)).map(({ key, record }) => ({ ...record, key })).filter(({ id }) => id > after)
          .sort((a, b) => (a.id < b.id ? -1 : 1)).slice(0, limit)
      ),
    revoke: (namespace, id, subject) => Effect.sync(() => remove(isOf(namespace, subject, id)) > 0),
    revokeSubject: (namespace, subject, except) =>
      Effect.sync(() => {
        const spared = live(0, isOf(namespace, subject)).find(({ record }) => record.id === except)
        raise(namespace, subject)
        if (spared !== undefined) put({ ...spared, ...epochsOf(spared.record) }, undefined)
      }),
    revokeAll: (namespace) => Effect.sync(() => raise(namespace)),
    // This store keeps no trace of a session that has ended, so it never knows why.
    endReason: () => Effect.succeedNone
  }
}

export const layer = Layer.sync(SessionStore, () => byClock(make(), Effect.sync(Date.now)))
