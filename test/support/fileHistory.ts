/**
 * Random writes of a process, and the records that must exist after each, so that another process can check them after a crash.
 */
import { Effect, Option } from "effect"
import { aRecord, freshId, freshKey, idOf, keyOf, start } from "effect-session/Fixtures"
import type { SessionRecord } from "effect-session/SessionRecord"
import type { Store } from "effect-session/SessionStore"

/** One write. Its content is derived from `n`. */
export type Step =
  | { readonly op: "create"; readonly key: string; readonly id: string; readonly subject: string; readonly n: number }
  | { readonly op: "save" | "touch"; readonly key: string; readonly n: number }
  | { readonly op: "rotate"; readonly key: string; readonly newKey: string; readonly n: number }
  | { readonly op: "destroy" | "revoke" | "revokeOthers"; readonly key: string }

/** The live records, by key. */
export type History = ReadonlyMap<string, SessionRecord>

/** A random generator with a seed (mulberry32). Returns numbers from 0 to below 1. */
export const seededRandom = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
}

const end = 8_000_000_000_000_000

/** Data of very different lengths that reveals torn writes. */
export const dataOf = (n: number): string => JSON.stringify({ n, filler: `${n},`.repeat((n * 37) % 3000) })

const contentOf = (n: number) => ({
  data: dataOf(n),
  schemaVersion: n,
  writeId: `w${n}`,
  modifiedAt: start + n,
  lastSeenAt: start + n
})

const withTimes = (record: SessionRecord, n: number): SessionRecord => ({
  ...record,
  lastSeenAt: start + n,
  expiry: { ...record.expiry, at: end + n }
})

/** The record after a step. `n` grows, so that all its times do. */
const after = (record: SessionRecord, step: Step): SessionRecord =>
  step.op === "touch"
    ? withTimes(record, step.n)
    : "n" in step
    ? { ...withTimes(record, step.n), ...contentOf(step.n), version: record.version + 1 }
    : record

const createdRecord = ({ id, n, subject }: Extract<Step, { readonly op: "create" }>): SessionRecord =>
  aRecord({ ...contentOf(n), id: idOf(id), subject, expiry: { at: end + n, deadline: undefined, lifetime: undefined } })

/** The live records after a step. */
export const historyAfter = (history: History, step: Step): History => {
  const next = new Map(history)
  if (step.op === "create") return next.set(step.key, createdRecord(step))
  const record = history.get(step.key)
  if (record === undefined) throw new Error(`${step.op} of what is not there`)
  if (step.op === "revokeOthers") return new Map([[step.key, record]])
  if (step.op === "rotate" || step.op === "destroy" || step.op === "revoke") next.delete(step.key)
  if (step.op === "rotate") return next.set(step.newKey, after(record, step))
  return step.op === "save" || step.op === "touch" ? next.set(step.key, after(record, step)) : next
}

/** Runs a step. Dies if it is not successful: no other process uses these sessions. */
export const perform = (store: Store, history: History, step: Step) =>
  Effect.gen(function*() {
    const key = keyOf(step.key)
    if (step.op === "create") return yield* expecting("created", store.create(key, createdRecord(step), start))
    const record = history.get(step.key)
    if (record === undefined) return yield* Effect.dieMessage(`${step.op} of what is not there`)
    const next = after(record, step)
    switch (step.op) {
      case "save":
        return yield* expecting("saved", store.save(key, next, { expectedVersion: record.version, now: start }))
      case "touch":
        return yield* expecting(
          "touched",
          store.touch(key, { lastSeenAt: next.lastSeenAt, expiresAt: next.expiry.at, now: start })
        )
      case "rotate":
        return yield* expecting(
          "saved",
          store.rotate(key, keyOf(step.newKey), next, { expectedVersion: record.version, now: start })
        )
      case "destroy":
        return yield* store.destroy(key)
      case "revoke":
        return yield* expecting(true, store.revoke(record.namespace, record.id))
      case "revokeOthers":
        return yield* store.revokeSubject(record.namespace, record.subject ?? "", record.id)
    }
  })

const expecting = <A, E>(expected: A, write: Effect.Effect<A, E>) =>
  Effect.flatMap(
    write,
    (outcome) => outcome === expected ? Effect.void : Effect.dieMessage(`expected ${expected} but it is ${outcome}`)
  )

/** Draws a random step. */
export const randomStep = (history: History, subject: string, n: number, random: () => number): Step => {
  const keys = [...history.keys()]
  const key = keys[Math.floor(random() * keys.length)]
  const chosen = random()
  if (key === undefined || (chosen < 0.12 && keys.length < 6)) {
    return { op: "create", key: freshKey(), id: freshId(), subject, n }
  }
  if (chosen < 0.27) return { op: "rotate", key, newKey: freshKey(), n }
  if (chosen < 0.45) return { op: "touch", key, n }
  if (chosen < 0.5) return { op: "destroy", key }
  if (chosen < 0.55) return { op: "revoke", key }
  return chosen < 0.58 ? { op: "revokeOthers", key } : { op: "save", key, n }
}

/** Loads the records under these keys. */
export const recordsUnder = (store: Store, keys: Iterable<string>) =>
  Effect.map(
    Effect.forEach(keys, (key) =>
      Effect.map(store.load(keyOf(key), start), Option.map((record) => [key, record] as const))),
    (all): History =>
      new Map(all.flatMap(Option.toArray))
  )
