/**
 * Limits of the sessions of a subject in a file store: in one process, in several, and after the death of a process with the lock.
 */
import { it } from "@effect/vitest"
import { Deferred, Effect, Either, Fiber } from "effect"
import { aRecord, freshId, freshKey, hour, isAlive, isDead, namespace, start, stored } from "effect-session/Fixtures"
import type { CreateOutcome, RotateOutcome, Store, SubjectLimit } from "effect-session/SessionStore"
import { readdirSync, statSync } from "node:fs"
import * as Path from "node:path"
import { assert, describe } from "vitest"
import { bundle, startProgram } from "./support/childProcesses.js"
import { range, together } from "./support/concurrency.js"
import type { Job } from "./support/fileStoreProcess.js"
import type { Step } from "./support/interceptedFileSystem.js"
import { interceptedFileStore, openStore } from "./support/interceptedFileSystem.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

const deny = { max: 3, onFull: "deny" } as const
const oldest = { max: 3, onFull: "oldest" } as const

/** The ids that an outcome names as ended. */
const evicted = (outcome: CreateOutcome | RotateOutcome) => typeof outcome === "object" ? outcome.ids : []

const isWritten = (outcome: CreateOutcome | RotateOutcome) =>
  outcome === "created" || outcome === "saved" || typeof outcome === "object"

const idsOf = (store: Store, subject = "ann") =>
  Effect.map(store.list(namespace, subject, start), (all) => all.map(({ id }) => id))

const logIn = (store: Store, limit: SubjectLimit, createdAt = start) => {
  const record = aRecord({ createdAt })
  return Effect.map(store.create(freshKey(), record, start, limit), (outcome) => ({ id: record.id, outcome }))
}

/** Checks the outcomes of fifty logins at once, and the sessions that they have left. */
const areThree = (
  store: Store,
  { onFull }: SubjectLimit,
  all: ReadonlyArray<{ readonly id: string; readonly outcome: CreateOutcome | RotateOutcome }>
) =>
  Effect.gen(function*() {
    assert.strictEqual(all.length, 50)
    const written = all.filter(({ outcome }) => isWritten(outcome)).map(({ id }) => id)
    const ended = all.flatMap(({ outcome }) => evicted(outcome))
    const live = yield* idsOf(store)
    assert.strictEqual(live.length, 3)
    assert.strictEqual(written.length, onFull === "deny" ? 3 : 50)
    if (onFull === "deny") assert.deepStrictEqual(all.filter(({ outcome }) => outcome === "full").length, 47)
    // Each session was written once, and is alive or was ended by one later login.
    assert.deepStrictEqual([...live, ...ended].sort(), [...written].sort())
    for (const { id, outcome } of all) assert.notInclude(evicted(outcome), id)
  })

const filesOf = (directory: string, family: string) =>
  readdirSync(Path.join(directory, family), { recursive: true, encoding: "utf8" })
    .filter((path) => !statSync(Path.join(directory, family, path)).isDirectory())

describe("a limit of the sessions of a subject", () => {
  for (const limit of [deny, oldest]) {
    it.scopedLive(`50 concurrent logins with limit 3 (${limit.onFull}) leave 3 sessions, and no other files`, () =>
      Effect.gen(function*() {
        const directory = yield* temporaryDirectory("files")
        const store = yield* openStore(directory)
        yield* areThree(store, limit, yield* together(range(50).map((i) => logIn(store, limit, start + i))))
        assert.strictEqual(filesOf(directory, "records").length, 6)
        assert.strictEqual(filesOf(directory, "subjects").length, 3)
        for (const family of ["locks", "scratch"]) assert.deepStrictEqual(filesOf(directory, family), [])
      }))

    it.scopedLive(`50 concurrent rotations of visitors to one subject with limit 3 (${limit.onFull}) leave 3 sessions`, () =>
      Effect.gen(function*() {
        const store = yield* openStore(yield* temporaryDirectory("files"), { durability: "none" })
        const visitors = yield* Effect.forEach(range(50), () => stored(store, { subject: undefined }))
        const all = yield* together(visitors.map(({ key, record }) =>
          Effect.map(
            store.rotate(key, freshKey(), { ...record, subject: "ann" }, { expectedVersion: 1, now: start, limit }),
            (outcome) => ({ id: record.id, outcome })
          )
        ))
        yield* areThree(store, limit, all)
        // A visitor whose login was denied is still there.
        assert.deepStrictEqual(yield* store.count(start), {
          current: limit.onFull === "deny" ? 50 : 3,
          expired: 0
        })
      }))

    it.scopedLive(
      `50 logins in five processes with limit 3 (${limit.onFull}) leave 3 sessions`,
      () =>
        Effect.gen(function*() {
          const program = yield* bundle("fileStoreProcess")
          const directory = yield* temporaryDirectory("files")
          const store = yield* openStore(directory)
          const children = yield* Effect.forEach(range(5), () => {
            const records = range(10).map(() => [freshKey(), aRecord()] as const)
            const job: Job = { do: "logIn", directory, records, limit }
            return startProgram(program, job)
          })
          const lines = yield* Effect.forEach(children, (child) => child.lines)
          const all = lines.flat().map((line): { id: string; outcome: CreateOutcome } => JSON.parse(line))
          yield* areThree(store, limit, all)
        }),
      240_000
    )
  }

  it.scopedLive("ends the oldest sessions first, and returns their ids", () =>
    Effect.gen(function*() {
      const store = yield* openStore(yield* temporaryDirectory("files"))
      const third = yield* stored(store, { createdAt: start + 3 })
      const first = yield* stored(store, { createdAt: start + 1 })
      const second = yield* stored(store, { createdAt: start + 2 })
      const fourth = { key: freshKey(), record: aRecord({ createdAt: start }) }
      const login = store.create(fourth.key, fourth.record, start, { max: 2, onFull: "oldest" })
      assert.deepStrictEqual(yield* login, { _tag: "Evicted", ids: [first.record.id, second.record.id] })
      for (const one of [first, second]) yield* isDead(store, one, start)
      for (const one of [third, fourth]) yield* isAlive(store, one, start)
      // The same effect, run again, returns no ids of the first run.
      assert.strictEqual(yield* login, "exists")
      yield* store.destroy(fourth.key)
      assert.strictEqual(yield* login, "created")
    }))

  it.scopedLive("counts neither expired and revoked sessions, nor those of other subjects and namespaces", () =>
    Effect.gen(function*() {
      const store = yield* openStore(yield* temporaryDirectory("files"))
      yield* stored(store, { expiry: { at: start, deadline: undefined, lifetime: undefined } })
      yield* stored(store)
      yield* store.revokeSubject(namespace, "ann")
      yield* stored(store, { subject: "bob" })
      yield* stored(store, { namespace: "other" })
      yield* stored(store, { subject: undefined })
      const one = { max: 1, onFull: "deny" } as const
      assert.strictEqual((yield* logIn(store, one)).outcome, "created")
      assert.strictEqual((yield* logIn(store, one)).outcome, "full")
      // A session without a subject has no limit.
      for (const _ of range(2)) {
        assert.strictEqual(yield* store.create(freshKey(), aRecord({ subject: undefined }), start, one), "created")
      }
    }))

  it.scopedLive("a login that is denied or has a taken key, and a rotation of another version, end no session", () =>
    Effect.gen(function*() {
      const store = yield* openStore(yield* temporaryDirectory("files"))
      const [one, two] = [yield* stored(store), yield* stored(store)]
      const visitor = yield* stored(store, { subject: undefined })
      const only = { max: 1, onFull: "oldest" } as const
      const login = { ...visitor.record, subject: "ann" }
      assert.strictEqual((yield* logIn(store, { max: 2, onFull: "deny" })).outcome, "full")
      assert.strictEqual(yield* store.create(one.key, aRecord(), start, only), "exists")
      assert.strictEqual(yield* store.create(freshKey(), aRecord({ id: two.record.id }), start, only), "exists")
      const conflict = { expectedVersion: 2, now: start, limit: only }
      assert.strictEqual(yield* store.rotate(visitor.key, freshKey(), login, conflict), "conflict")
      assert.strictEqual(yield* store.rotate(freshKey(), freshKey(), login, conflict), "gone")
      for (const each of [one, two, visitor]) yield* isAlive(store, each, start)
    }))

  it.scopedLive("a rotation counts itself once, also to another id, and a lower limit ends others or denies it", () =>
    Effect.gen(function*() {
      const store = yield* openStore(yield* temporaryDirectory("files"))
      const one = yield* stored(store, { createdAt: start })
      const other = yield* stored(store, { createdAt: start + 1 })
      const [two, three] = [freshKey(), freshKey()]
      const id = freshId()
      const rotate = (from: typeof two, to: typeof two, expectedVersion: number, limit: SubjectLimit) =>
        store.rotate(from, to, { ...one.record, id }, { expectedVersion, now: start, limit })
      assert.strictEqual(yield* rotate(one.key, two, 1, { max: 2, onFull: "deny" }), "saved")
      assert.strictEqual(yield* rotate(two, three, 2, { max: 2, onFull: "oldest" }), "saved")
      assert.strictEqual(yield* rotate(three, one.key, 3, { max: 1, onFull: "deny" }), "full")
      yield* isAlive(store, other, start)
      assert.deepStrictEqual(yield* rotate(three, one.key, 3, { max: 1, onFull: "oldest" }), {
        _tag: "Evicted",
        ids: [other.record.id]
      })
      yield* isDead(store, other, start)
      assert.deepStrictEqual(yield* idsOf(store), [id])
    }))
})

/** A store that stops before a step until it is resumed, or for ever. */
const stopping = (directory: string, at: (step: Step) => boolean) =>
  Effect.gen(function*() {
    const stopped = yield* Deferred.make<void>()
    const resume = yield* Deferred.make<void>()
    let isFirst = true
    const store = yield* interceptedFileStore(directory, (step, run) =>
      Effect.suspend(() => {
        if (!isFirst || !at(step)) return run
        isFirst = false
        return Effect.zipRight(Deferred.succeed(stopped, undefined), Effect.zipRight(Deferred.await(resume), run))
      }))
    return { store, stopped: Deferred.await(stopped), resume: Deferred.succeed(resume, undefined) }
  })

const isPublication = ({ call, paths: [, to = ""] }: Step) => call === "rename" && Path.basename(to).startsWith("m")

describe("the lock of a subject", () => {
  it.scopedLive("a process that has died with the lock blocks no login for ever, and its login is undone", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryDirectory("files")
      const store = yield* openStore(directory)
      const dying = yield* stopping(directory, isPublication)
      yield* Effect.forkDaemon(logIn(dying.store, deny))
      yield* dying.stopped
      assert.strictEqual(filesOf(directory, "locks").length, 1)
      const { id, outcome } = yield* logIn(store, { max: 1, onFull: "deny" })
      assert.strictEqual(outcome, "created")
      assert.deepStrictEqual(yield* idsOf(store), [id])
      assert.deepStrictEqual(filesOf(directory, "locks"), [])
    }))

  for (const max of [1, 2]) {
    it.scopedLive(`a login that was suspended with the lock until others broke it counts again (limit ${max})`, () =>
      Effect.gen(function*() {
        const directory = yield* temporaryDirectory("files")
        const store = yield* openStore(directory)
        const slow = yield* stopping(directory, isPublication)
        const limit = { max, onFull: "deny" } as const
        const fiber = yield* Effect.fork(logIn(slow.store, limit))
        yield* slow.stopped
        const second = yield* logIn(store, limit)
        assert.strictEqual(second.outcome, "created")
        yield* slow.resume
        const first = yield* Fiber.join(fiber)
        assert.strictEqual(first.outcome, max === 1 ? "full" : "created")
        const expected = max === 1 ? [second.id] : [first.id, second.id]
        assert.deepStrictEqual([...yield* idsOf(store)].sort(), expected.sort())
      }))
  }

  it.scopedLive("a rotation that was suspended with the lock until others broke it counts again", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryDirectory("files")
      const store = yield* openStore(directory)
      const visitor = yield* stored(store, { subject: undefined })
      const slow = yield* stopping(directory, isPublication)
      const limit = { max: 1, onFull: "oldest" } as const
      const login = { ...visitor.record, subject: "ann" }
      const fiber = yield* Effect.fork(
        slow.store.rotate(visitor.key, freshKey(), login, { expectedVersion: 1, now: start, limit })
      )
      yield* slow.stopped
      const second = yield* logIn(store, limit)
      assert.strictEqual(second.outcome, "created")
      yield* slow.resume
      assert.deepStrictEqual(yield* Fiber.join(fiber), { _tag: "Evicted", ids: [second.id] })
      assert.deepStrictEqual(yield* idsOf(store), [visitor.record.id])
    }))

  it.scopedLive("a login that was suspended before it ends the oldest ends none after others broke its lock", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryDirectory("files")
      const store = yield* openStore(directory)
      const old = yield* stored(store)
      const holdsLock = ({ call, paths: [path = ""] }: Step) => call === "exists" && path.includes("/locks/")
      const slow = yield* stopping(directory, holdsLock)
      const limit = { max: 1, onFull: "oldest" } as const
      const fiber = yield* Effect.fork(logIn(slow.store, limit))
      yield* slow.stopped
      assert.strictEqual((yield* logIn(store, { max: 2, onFull: "deny" })).outcome, "created")
      yield* store.revokeAll(namespace)
      yield* slow.resume
      // It counts again, and finds no live session.
      assert.strictEqual((yield* Fiber.join(fiber)).outcome, "created")
      assert.isTrue((yield* store.endReason(old.key, start))._tag === "Some")
      assert.deepStrictEqual(yield* store.endReason(old.key, start), yield* Effect.succeedSome("allRevoked" as const))
    }))

  it.scopedLive("the clean-up breaks the lock of a dead process after an hour, and not before", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryDirectory("files")
      const store = yield* openStore(directory)
      const dying = yield* stopping(directory, isPublication)
      yield* Effect.forkDaemon(logIn(dying.store, deny))
      yield* dying.stopped
      yield* store.removeExpired({ now: Date.now() + hour - 60_000, limit: 10 })
      assert.strictEqual(filesOf(directory, "locks").length, 1)
      yield* store.removeExpired({ now: Date.now() + hour + 60_000, limit: 10 })
      assert.deepStrictEqual(filesOf(directory, "locks"), [])
      assert.deepStrictEqual(filesOf(directory, "records"), [])
    }))
})

describe("`revoke` of a subject's session", () => {
  it.scopedLive("ends only a session of that subject", () =>
    Effect.gen(function*() {
      const store = yield* openStore(yield* temporaryDirectory("files"))
      const [ann, visitor] = [yield* stored(store), yield* stored(store, { subject: undefined })]
      assert.isFalse(yield* store.revoke(namespace, ann.record.id, "bob"))
      assert.isFalse(yield* store.revoke(namespace, visitor.record.id, "ann"))
      for (const one of [ann, visitor]) yield* isAlive(store, one, start)
      assert.isTrue(yield* store.revoke(namespace, ann.record.id, "ann"))
      yield* isDead(store, ann, start)
    }))

  it.scopedLive("does not end a session that moves to another subject at that moment", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryDirectory("files")
      const store = yield* openStore(directory)
      const { key, record } = yield* stored(store)
      const slow = yield* stopping(
        directory,
        ({ call, paths: [, to = ""] }) => call === "rename" && Path.basename(to).startsWith("x")
      )
      const fiber = yield* Effect.fork(Effect.either(slow.store.revoke(namespace, record.id, "ann")))
      yield* slow.stopped
      const moved = { key: freshKey(), record: { ...record, subject: "bob", version: 2 } }
      yield* store.rotate(key, moved.key, moved.record, { expectedVersion: 1, now: start })
      yield* slow.resume
      assert.deepStrictEqual(yield* Fiber.join(fiber), Either.right(false))
      yield* isAlive(store, moved, start)
    }))
})
