/**
 * Writes of a file store, taken apart into their steps: each can be stopped there, and what is on the disk looked at.
 */
import { Deferred, Effect, type Either, Fiber, Option } from "effect"
import type { SessionStoreError, Store } from "effect-session/SessionStore"
import { readdirSync, statSync } from "node:fs"
import * as Path from "node:path"
import { assert } from "vitest"
import { equal } from "../../src/internal/testing/law.js"
import type { Stored } from "../../src/internal/testing/records.js"
import {
  freshId,
  freshKey,
  hour,
  isAlive,
  isDead,
  minute,
  namespace,
  start,
  stored
} from "../../src/internal/testing/records.js"
import type { Around, Step } from "./interceptedFileSystem.js"
import { interceptedFileStore, openStore } from "./interceptedFileSystem.js"
import { memoryDirectory } from "./temporaryDirectories.js"

/** An end beyond every clock of today, so that sweeping ends no session. */
const far = 8_000_000_000_000_000

export interface Write {
  readonly run: Effect.Effect<unknown, SessionStoreError>
  /** What may be there afterwards: what was there before it, or what is there after it. */
  readonly before: ReadonlyArray<Stored>
  readonly after: ReadonlyArray<Stored>
}

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

/** Every way of asking, and every write, says that these are there and no others are. */
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

/** Nothing is left of sessions that have ended, once it is old enough. */
export const leavesNoFiles = (root: string, store: Store) =>
  Effect.gen(function*() {
    // Twice: entries go after the records that they lead to.
    yield* store.removeExpired({ now: far + 2 * hour, limit: 100 })
    yield* store.removeExpired({ now: far + 2 * hour, limit: 100 })
    const left = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((path) =>
      !path.startsWith("epochs") && (!statSync(Path.join(root, path)).isDirectory() || path.split("/").length > 2)
    )
    assert.deepStrictEqual(left, [])
  })

/** A store with sessions, and a write on it whose steps are watched. */
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

/** The one step from which on a write counts. */
export const isCommitStep = ({ call, paths: [, to = ""] }: Step) =>
  (call === "rename" && /^[mx]/.test(Path.basename(to))) || (call === "link" && to.includes("/epochs/"))

/** Nobody holds anything: each session can be written, and ended. */
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
  /** The steps that were done. */
  readonly done: ReadonlyArray<Step>
  /** Lets it go on where it was stopped, to its end. */
  readonly resumed: Effect.Effect<Either.Either<unknown, SessionStoreError>>
}

/**
 * Plays a write again and again: the first `n` of its steps are done, then `around` has the next one, for every `n` until
 * the write ends before that.
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
    const playTo = (n: number) =>
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
    let steps = 0
    while ((yield* Effect.scoped(playTo(steps))) > steps) steps++
    return steps
  })
