/**
 * The program of child processes that use a file store. Its argument is one task as JSON.
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import { Cause, Effect, Option } from "effect"
import { FileStore } from "effect-session"
import { freshId, freshKey, idOf, isAlive, isDead, keyOf, start, stored } from "effect-session/Fixtures"
import type { SessionRecord } from "effect-session/SessionRecord"
import type { Store, SubjectLimit } from "effect-session/SessionStore"
import { writeSync } from "node:fs"
import type { History } from "./fileHistory.js"
import { dataOf, historyAfter, perform, randomStep, seededRandom } from "./fileHistory.js"

export type Task =
  | { readonly do: "increment"; readonly key: string; readonly times: number }
  | { readonly do: "saveRepeatedly"; readonly key: string }
  | {
    readonly do: "writeRandomly"
    readonly subject: string
    readonly seed: number
    readonly n: number
    readonly sessions: ReadonlyArray<readonly [string, SessionRecord]>
  }
  | {
    readonly do: "logIn"
    readonly records: ReadonlyArray<readonly [string, SessionRecord]>
    readonly limit: SubjectLimit
  }
  | { readonly do: "removeExpired"; readonly now: number; readonly limit: number }
  | { readonly do: "useStore"; readonly umask: number }
  | {
    readonly do: "fill"
    readonly key: string
    readonly id: string
    readonly newKey: string
    readonly record: SessionRecord
  }

export type Job = Task & { readonly directory: string; readonly durability?: "fsync" | "none" }

// Synchronous, so that the line is written even if the process is killed right after.
const say = (what: unknown) => Effect.sync(() => writeSync(1, `${JSON.stringify(what)}\n`))

const loaded = (store: Store, key: string) => Effect.flatMap(store.load(keyOf(key), start), (found) => found)

const increment = (store: Store, key: string): Effect.Effect<void, unknown> =>
  Effect.gen(function*() {
    const record = yield* loaded(store, key)
    const next = { ...record, data: `${Number(record.data) + 1}` }
    const outcome = yield* store.save(keyOf(key), next, { expectedVersion: record.version, now: start })
    if (outcome === "conflict") return yield* increment(store, key)
    if (outcome === "gone") return yield* Effect.dieMessage("the session is gone")
  })

const saveRepeatedly = (store: Store, key: string) =>
  Effect.gen(function*() {
    const first = yield* loaded(store, key)
    yield* say("ready")
    for (let version = first.version;; version++) {
      yield* store.save(keyOf(key), { ...first, data: dataOf(version + 1) }, { expectedVersion: version, now: start })
      yield* store.touch(keyOf(key), { lastSeenAt: start + version, expiresAt: first.expiry.at + version, now: start })
      // A reader retries if the session changes between its two steps.
      yield* Effect.sleep("5 millis")
    }
  })

const writeRandomly = (store: Store, { n, seed, sessions, subject }: Extract<Job, { readonly do: "writeRandomly" }>) =>
  Effect.gen(function*() {
    const random = seededRandom(seed)
    // JSON omits undefined fields.
    let history: History = new Map(sessions.map(([key, record]) => [key, {
      ...record,
      expiry: { at: record.expiry.at, deadline: undefined, lifetime: undefined }
    }]))
    yield* say("ready")
    for (let next = n;; next++) {
      const step = randomStep(history, subject, next, random)
      yield* say({ begun: step })
      yield* perform(store, history, step)
      history = historyAfter(history, step)
      yield* say({ done: step })
    }
  })

/** Runs the life of sessions, so that every kind of file exists. Some sessions stay. */
const useStore = (store: Store) =>
  Effect.gen(function*() {
    const one = yield* stored(store)
    const record = { ...one.record, version: 2 }
    yield* store.save(one.key, record, { expectedVersion: 1, now: start })
    yield* isAlive(store, { ...one, record }, start)
    const rotated = { key: freshKey(), record: { ...record, id: freshId(), version: 3 } }
    yield* store.rotate(one.key, rotated.key, rotated.record, { expectedVersion: 2, now: start })
    yield* isDead(store, one, start)
    const other = yield* stored(store)
    yield* store.revokeSubject(record.namespace, "ann", rotated.record.id)
    yield* isDead(store, other, start)
    yield* isAlive(store, rotated, start)
    yield* say("lived")
  })

/** Writes records above the file size limit, then below it. */
const fill = (store: Store, { id, key, newKey, record }: Extract<Job, { readonly do: "fill" }>) =>
  Effect.gen(function*() {
    const old = yield* loaded(store, key)
    const big = { ...old, data: JSON.stringify("x".repeat(200_000)) }
    const outcomeOf = <A, E extends { readonly reason: string }>(write: Effect.Effect<A, E>) =>
      Effect.flatMap(
        Effect.match(write, { onFailure: ({ reason }) => reason, onSuccess: (outcome) => outcome }),
        say
      )
    yield* outcomeOf(store.save(keyOf(key), big, { expectedVersion: old.version, now: start }))
    yield* outcomeOf(
      store.rotate(keyOf(key), keyOf(newKey), { ...big, id: idOf(id) }, { expectedVersion: old.version, now: start })
    )
    yield* outcomeOf(store.create(keyOf(newKey), { ...big, id: idOf(id) }, start))
    yield* say(yield* loaded(store, key))
    yield* say(Option.isSome(yield* store.load(keyOf(newKey), start)))
    yield* outcomeOf(store.create(keyOf(newKey), { ...record, id: idOf(id) }, start))
    yield* outcomeOf(store.save(keyOf(key), { ...old, data: `"small"` }, { expectedVersion: old.version, now: start }))
  })

const job: Job = JSON.parse(process.argv[2] ?? "")

const main = Effect.gen(function*() {
  if (job.do === "useStore") process.umask(job.umask)
  const store = yield* FileStore.make({ directory: job.directory, durability: job.durability ?? "fsync" })
  switch (job.do) {
    case "increment":
      yield* say("ready")
      return yield* Effect.repeatN(increment(store, job.key), job.times - 1)
    case "saveRepeatedly":
      return yield* saveRepeatedly(store, job.key)
    case "writeRandomly":
      return yield* writeRandomly(store, job)
    case "useStore":
      return yield* useStore(store)
    case "fill":
      return yield* fill(store, job)
    case "logIn":
      return yield* Effect.forEach(job.records, ([key, record]) =>
        Effect.flatMap(
          store.create(keyOf(key), record, start, job.limit),
          (outcome) => say({ id: record.id, outcome })
        ), { concurrency: "unbounded", discard: true })
    case "removeExpired": {
      yield* say("ready")
      let removed = 1
      while (removed > 0) {
        removed = yield* store.removeExpired({ now: job.now, limit: job.limit })
        yield* say(removed)
      }
    }
  }
})

Effect.runPromiseExit(Effect.provide(main, NodeContext.layer)).then((exit) => {
  if (exit._tag === "Failure") {
    writeSync(2, Cause.pretty(exit.cause))
    process.exit(1)
  }
})
