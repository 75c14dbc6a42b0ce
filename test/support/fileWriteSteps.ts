/**
 * The writes of a file store, as sequences of file system calls. A test stops a write at each call and checks the files.
 */
import { Deferred, Effect, type Either, Fiber, Option } from "effect"
import type { Stored } from "effect-session/Fixtures"
import {
  aRecord,
  freshId,
  freshKey,
  hour,
  isAlive,
  isDead,
  minute,
  namespace,
  start,
  stored
} from "effect-session/Fixtures"
import type { SessionStoreError, Store } from "effect-session/SessionStore"
import { readdirSync, statSync } from "node:fs"
import * as Path from "node:path"
import { assert } from "vitest"
import { equal } from "../../src/internal/testing/law.js"
import { range } from "./concurrency.js"
import type { Around, Step } from "./interceptedFileSystem.js"
import { interceptedFileStore, openStore } from "./interceptedFileSystem.js"
import { memoryDirectory } from "./temporaryDirectories.js"

/** An expiry beyond every real clock, so that a sweep removes no session. */
const far = 8_000_000_000_000_000

export interface Write {
  readonly run: Effect.Effect<unknown, SessionStoreError>
  /** The records before the write, and those after it. */
  readonly before: ReadonlyArray<Stored>
  readonly after: ReadonlyArray<Stored>
  /** The records after the first of two steps that take effect. Absent: there is one such step. */
  readonly between?: ReadonlyArray<Stored>
}

/** Sorts two sessions that were created at the same time: the older one, by its id, first. */
const byAge = (one: Stored, other: Stored): readonly [Stored, Stored] =>
  one.record.id < other.record.id ? [one, other] : [other, one]

export const writes: ReadonlyArray<
  readonly [name: string, write: (store: Store, one: Stored, other: Stored) => Write]
> = [
  ["create", (store, one, other) => {
    const made = { key: freshKey(), record: { ...one.record, id: freshId() } }
    const before = [one, other]
    return { run: store.create(made.key, made.record, start), before, after: [...before, made] }
  }],
  ["save", (store, one, other) => {
    const saved = { ...one, record: { ...one.record, data: `"saved"`, writeId: "saved", version: 2 } }
    return {
      run: store.save(one.key, saved.record, { expectedVersion: 1, now: start }),
      before: [one, other],
      after: [saved, other]
    }
  }],
  ["touch", (store, one, other) => {
    const expiry = { ...one.record.expiry, at: far + hour }
    const touched = { ...one, record: { ...one.record, lastSeenAt: start + minute, expiry } }
    return {
      run: store.touch(one.key, { lastSeenAt: start + minute, expiresAt: far + hour, now: start }),
      before: [one, other],
      after: [touched, other]
    }
  }],
  ...(["the same id", "another id"] as const).map((id) =>
    [`rotate to ${id}`, (store: Store, one: Stored, other: Stored): Write => {
      const record = { ...one.record, version: 2, subject: "carol", ...id === "another id" ? { id: freshId() } : {} }
      const rotated = { key: freshKey(), record }
      return {
        run: store.rotate(one.key, rotated.key, record, { expectedVersion: 1, now: start }),
        before: [one, other],
        after: [rotated, other]
      }
    }] as const
  ),
  ["create within a limit", (store, one, other) => {
    const made = { key: freshKey(), record: { ...one.record, id: freshId() } }
    const before = [one, other]
    const limit = { max: 3, onFull: "deny" } as const
    return { run: store.create(made.key, made.record, start, limit), before, after: [...before, made] }
  }],
  ["create that a limit denies", (store, one, other) => {
    const both = [one, other]
    const limit = { max: 2, onFull: "deny" } as const
    return { run: store.create(freshKey(), { ...one.record, id: freshId() }, start, limit), before: both, after: both }
  }],
  ["create that ends the oldest", (store, one, other) => {
    const [oldest, newest] = byAge(one, other)
    const made = { key: freshKey(), record: { ...one.record, id: freshId() } }
    const limit = { max: 2, onFull: "oldest" } as const
    return {
      run: store.create(made.key, made.record, start, limit),
      before: [oldest, newest],
      between: [newest],
      after: [newest, made]
    }
  }],
  ["rotate that ends the other", (store, one, other) => {
    const record = { ...one.record, version: 2 }
    const rotated = { key: freshKey(), record }
    const limit = { max: 1, onFull: "oldest" } as const
    return {
      run: store.rotate(one.key, rotated.key, record, { expectedVersion: 1, now: start, limit }),
      before: [one, other],
      between: [one],
      after: [rotated]
    }
  }],
  ["destroy", (store, one, other) => ({ run: store.destroy(one.key), before: [one, other], after: [other] })],
  ["revoke", (store, one, other) => ({
    run: store.revoke(namespace, one.record.id),
    before: [one, other],
    after: [other]
  })],
  ["revokeSubject", (store, one, other) => ({
    run: store.revokeSubject(namespace, "ann"),
    before: [one, other],
    after: []
  })],
  ["revokeSubject with an exception", (store, one, other) => ({
    run: store.revokeSubject(namespace, "ann", other.record.id),
    before: [one, other],
    after: [other]
  })],
  ["revokeAll", (store, one, other) => ({ run: store.revokeAll(namespace), before: [one, other], after: [] })],
  ["removeExpired", (store, one, other) => ({
    run: store.removeExpired({ now: start, limit: 10 }),
    before: [one, other],
    after: [one, other]
  })]
]

/** Checks with every read and write that the store contains these records and no others. */
export const containsExactly = (store: Store, { after, before }: Write, expected: ReadonlyArray<Stored>) =>
  Effect.gen(function*() {
    for (const one of expected) yield* isAlive(store, one, start)
    const keys = new Set(expected.map(({ key }) => key))
    const ids = new Set(expected.map(({ record }) => record.id))
    for (const one of [...before, ...after]) {
      if (!keys.has(one.key)) yield* equal("load", Option.isSome(yield* store.load(one.key, start)), false)
      if (!ids.has(one.record.id)) yield* isDead(store, one, start)
    }
  })

/** Checks that ended sessions leave no files once they are old enough. */
export const leavesNoFiles = (root: string, store: Store) =>
  Effect.gen(function*() {
    // Twice: index entries go after the records that they point to.
    yield* store.removeExpired({ now: far + 2 * hour, limit: 100 })
    yield* store.removeExpired({ now: far + 2 * hour, limit: 100 })
    const left = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((path) =>
      !path.startsWith("epochs") && (!statSync(Path.join(root, path)).isDirectory() || path.split("/").length > 2)
    )
    assert.deepStrictEqual(left, [])
  })

/** A store with sessions, and a write on it whose file system calls are intercepted. */
const scene = (around: Around, write: typeof writes[number][1]) =>
  Effect.gen(function*() {
    const root = yield* memoryDirectory("files")
    const healthy = yield* openStore(root, { durability: "none" })
    yield* stored(healthy, { expiry: { at: start, deadline: undefined, lifetime: undefined } })
    const store = yield* interceptedFileStore(root, around)
    const expiry = { at: far, deadline: undefined, lifetime: undefined }
    const one = yield* stored(healthy, { expiry })
    return { root, healthy, written: write(store, one, yield* stored(healthy, { expiry })) }
  })

/** Whether a file system call commits the write. */
export const isCommitStep = ({ call, paths: [, to = ""] }: Step) =>
  (call === "rename" && /^[mx]/.test(Path.basename(to))) || (call === "link" && to.includes("/epochs/"))

/** The records that exist after these steps of a write. */
export const recordsAfter = ({ after, before, between }: Write, done: ReadonlyArray<Step>): ReadonlyArray<Stored> => {
  const commits = done.filter(isCommitStep).length
  return commits === 0 ? before : commits === 1 && between !== undefined ? between : after
}

/** Checks that a subject can log in within a limit. */
export const canLogIn = (store: Store) =>
  Effect.gen(function*() {
    const limit = { max: 100, onFull: "deny" } as const
    yield* equal("create within a limit", yield* store.create(freshKey(), aRecord(), start, limit), "created")
  })

/** Checks that no lock is left: each session can be saved, rotated and destroyed. */
export const isWritable = (store: Store, there: ReadonlyArray<Stored>) =>
  Effect.forEach(there, ({ key, record }) =>
    Effect.gen(function*() {
      yield* equal("save", yield* store.save(key, record, { expectedVersion: record.version, now: start }), "saved")
      const newKey = freshKey()
      yield* equal(
        "rotate",
        yield* store.rotate(key, newKey, record, { expectedVersion: record.version + 1, now: start }),
        "saved"
      )
      yield* store.destroy(newKey)
      yield* stored(store)
    }))

export interface Played {
  readonly healthy: Store
  readonly root: string
  readonly written: Write
  /** The completed steps. */
  readonly done: ReadonlyArray<Step>
  /** Resumes the write, and returns its result. */
  readonly resumed: Effect.Effect<Either.Either<unknown, SessionStoreError>>
}

/**
 * Runs a write for every `n`: its first `n` steps run, then `around` intercepts the next one. Ends when the write has no more steps.
 */
export const atEachStep = (
  write: typeof writes[number][1],
  around: (stop: Effect.Effect<void>) => Around,
  check: (
    played: Played,
    outcome: Either.Either<unknown, SessionStoreError> | undefined
  ) => Effect.Effect<void, unknown>
) =>
  Effect.gen(function*() {
    const runTo = (n: number) =>
      Effect.gen(function*() {
        const done: Array<Step> = []
        let steps = 0
        let begun = false
        const stopped = yield* Deferred.make<void>()
        const go = yield* Deferred.make<void>()
        const then = around(Effect.zipRight(Deferred.succeed(stopped, undefined), Deferred.await(go)))
        const { healthy, root, written } = yield* scene((step, run) =>
          Effect.suspend(() => {
            if (!begun) return run
            const counted = Effect.tap(run, () => done.push(step))
            return ++steps === n + 1 ? then(step, counted) : counted
          }), write)
        begun = true
        const fiber = yield* Effect.forkDaemon(Effect.either(written.run))
        const outcome = yield* Effect.race(
          Effect.asSome(Fiber.join(fiber)),
          Effect.as(Deferred.await(stopped), Option.none())
        )
        const resumed = Effect.zipRight(Deferred.succeed(go, undefined), Fiber.join(fiber))
        yield* check({ healthy, root, written, done, resumed }, Option.getOrUndefined(outcome))
        return steps
      })
    // Each run has a directory of its own, and mostly waits for the disk.
    for (let first = 0;; first += together) {
      const runs = range(together).map((at) => first + at)
      const counts = yield* Effect.forEach(runs, (n) => Effect.scoped(runTo(n)), { concurrency: together })
      const last = runs.find((n, at) => (counts[at] ?? 0) <= n)
      if (last !== undefined) return last
    }
  })

/** The number of runs at the same time. */
const together = 4
