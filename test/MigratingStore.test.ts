import { it } from "@effect/vitest"
import { Chunk, Effect, Layer, Option, Stream } from "effect"
import { MemoryStore } from "effect-session"
import {
  aRecord,
  freshKey,
  hour,
  isAlive,
  isDead,
  isKeyDead,
  isThere,
  loaded,
  minute,
  start,
  type Stored,
  stored
} from "effect-session/Fixtures"
import * as MigratingStore from "effect-session/MigratingStore"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import type { EndReason, Store } from "effect-session/SessionStore"
import { FaultyStore, storeLaws } from "effect-session/testing"
import { assert, describe } from "vitest"
import type { Scene } from "../src/internal/testing/interleave.js"
import { equal, holds } from "../src/internal/testing/law.js"
import { range } from "./support/concurrency.js"
import {
  type Act,
  data,
  dyingAfter,
  endingActs,
  farExpiry,
  interceptedPerRequest,
  loadAct,
  randomOrders,
  requestInterception,
  rotateAct,
  saveAct,
  touchAct
} from "./support/migrationRaces.js"

/** `back`: a process of the reversed migration, deployed once no other process is left. */
type Phase = MigratingStore.MigratingStoreOptions["phase"] | "back"

const migrating = (from: Store, to: Store, phase: Phase) =>
  phase === "back"
    ? MigratingStore.make(to, from, { phase: "move" })
    : MigratingStore.make(from, to, { phase })

const memories = () => ({ from: MemoryStore.make(), to: MemoryStore.make() })

describe("the laws, with sessions that are created in the old store and move when they are used", () => {
  // While sessions move, a rotation does not ask the old store whether its key or id is taken there: both are drawn at random.
  const notAsked = /^`rotate` never replaces|^any sequence of commands/
  for (const phase of ["prepare", "move"] as const) {
    for (const { law, name } of storeLaws) {
      if (phase === "move" && notAsked.test(name)) continue
      it.live(`${phase}: ${name}`, () => {
        const { from, to } = memories()
        const create: typeof from.create = (key, record, now) => from.create(key, record, now)
        const store = { ...MigratingStore.make(from, to, { phase }), create }
        return Effect.provide(law, Layer.succeed(SessionStore, store))
      })
    }
  }
})

describe("phases", () => {
  it.live("prepare: moves no session, and finds sessions that other processes have moved", () =>
    Effect.gen(function*() {
      const { from, to } = memories()
      const prepared = MigratingStore.make(from, to, { phase: "prepare" })
      const one = yield* stored(prepared)
      yield* isAlive(prepared, one, start)
      assert.deepStrictEqual([yield* isThere(from, one.key, start), yield* isThere(to, one.key, start)], [true, false])
      yield* MigratingStore.make(from, to, { phase: "move" }).load(one.key, start)
      yield* isAlive(prepared, one, start)
      yield* isAlive(to, one, start)
    }))

  it.live("move: a session that is used moves unchanged; new sessions are created in the new store", () =>
    Effect.gen(function*() {
      const { from, to } = memories()
      const moving = MigratingStore.make(from, to, { phase: "move" })
      const one = yield* stored(from, { data: `{"text":"\u0000\ud800 é"}`, version: 7 })
      const fresh = yield* stored(moving)
      yield* isAlive(moving, one, start)
      for (const session of [one, fresh]) {
        yield* isAlive(to, session, start)
        assert.isFalse(yield* isThere(from, session.key, start))
      }
    }))

  it.live("list, scan and find move no session", () =>
    Effect.gen(function*() {
      const { from, to } = memories()
      const moving = MigratingStore.make(from, to, { phase: "move" })
      const { record } = yield* stored(from)
      yield* moving.list(record.namespace, "ann", start)
      yield* moving.find(record.namespace, record.id, start)
      yield* moving.scan(record.namespace, { limit: 10, now: start })
      assert.deepStrictEqual(yield* to.count(start), { current: 0, expired: 0 })
    }))

  it.live("pages of both stores are merged in the order of ids", () =>
    Effect.gen(function*() {
      const { from, to } = memories()
      const all = yield* Effect.forEach(range(20), (i) => stored(i % 3 === 0 ? to : from))
      const ids = all.map(({ record }) => record.id).sort()
      const store = MigratingStore.make(from, to, { phase: "move" })
      for (const limit of [1, 3, 7, 20, 100]) {
        const found: Array<string> = []
        let after: (typeof ids)[number] | undefined
        do {
          const page = yield* store.scan("laws", { after, limit, now: start })
          found.push(...page.map(({ id }) => id))
          after = page.at(-1)?.id
        } while (after !== undefined)
        assert.deepStrictEqual(found, ids)
      }
    }))
})

describe("concurrent requests on several nodes while a session moves", () => {
  const scene = (
    acts: ReadonlyArray<readonly [Phase, Act]>,
    check: (
      store: Store,
      one: Stored,
      outcomes: ReadonlyArray<unknown>,
      newKey: Stored["key"]
    ) => Effect.Effect<void, unknown>
  ): Effect.Effect<Scene<unknown>, unknown> =>
    Effect.gen(function*() {
      const { from, to } = memories()
      const one = yield* stored(from)
      const newKey = freshKey()
      const outcomes: Array<unknown> = []
      return {
        requests: acts.map(([phase, { act }], i) => (parking: FaultyStore.Interception) =>
          Effect.locally(
            Effect.suspend(() =>
              act(migrating(interceptedPerRequest(from), interceptedPerRequest(to), phase), one, newKey)
            ),
            requestInterception,
            parking
          ).pipe(Effect.map((outcome) => void (outcomes[i] = outcome)))
        ),
        check: Effect.suspend(() => check(MigratingStore.make(from, to, { phase: "move" }), one, outcomes, newKey))
      }
    })

  const phases: ReadonlyArray<readonly [Phase, Phase]> = [
    ["move", "move"],
    ["prepare", "move"]
  ]

  for (const [phase, other] of phases) {
    for (const end of endingActs) {
      it.live(`${end.name} (${phase}) and a read (${other}): the session stays ended`, () =>
        randomOrders(
          scene([[phase, end], [other, loadAct]], (store, one) => isDead(store, one, start))
        ))

      it.live(`${end.name} (${phase}), a rotation (${other}) and a read: the old token stays invalid`, () =>
        randomOrders(
          scene([[phase, end], [other, rotateAct], ["move", loadAct]], (store, one) => isKeyDead(store, one, start))
        ))

      it.live(`${end.name} (${phase}), a save (${other}) and two reads: the session stays ended`, () =>
        randomOrders(
          scene([[phase, end], [other, saveAct], ["move", loadAct], ["move", loadAct]], (store, one) =>
            isDead(store, one, start))
        ))
    }

    it.live(`a save (${phase}) and a read (${other}): the save is kept or conflicts`, () =>
      randomOrders(
        scene([[phase, saveAct], [other, loadAct]], (store, { key, record }, [outcome]) =>
          Effect.gen(function*() {
            yield* holds("saved or a conflict", outcome === "saved" || outcome === "conflict")
            const expected = outcome === "saved" ? { ...record, data, writeId: "new", version: 2 } : record
            yield* equal("the session", yield* loaded(store, key, start), expected)
          }))
      ))

    it.live(`two saves (${phase}, ${other}) and a read: at most one succeeds, and its data is kept`, () =>
      randomOrders(
        scene(
          [[phase, saveAct], [other, saveAct], ["move", loadAct]],
          (store, { key, record }, outcomes) =>
            Effect.gen(function*() {
              const saved = outcomes.filter((outcome) => outcome === "saved").length
              yield* holds("at most one save succeeds", saved <= 1 && !outcomes.includes("gone"))
              const { version } = yield* loaded(store, key, start)
              yield* equal("the version", version, record.version + saved)
            })
        )
      ))

    it.live(`a touch (${phase}) and a read (${other}): its times are kept`, () =>
      randomOrders(
        scene([[phase, touchAct], [other, loadAct]], (store, { key, record }, [outcome]) =>
          Effect.gen(function*() {
            yield* equal("the outcome", outcome, "touched")
            const times = { lastSeenAt: start + minute, expiry: { ...record.expiry, at: start + hour + minute } }
            yield* equal("the session", yield* loaded(store, key, start), { ...record, ...times })
          }))
      ))

    it.live(`a rotation (${phase}) and a read (${other}): exactly one token is valid`, () =>
      randomOrders(
        scene([[phase, rotateAct], [other, loadAct]], (store, one, [outcome], newKey) =>
          Effect.gen(function*() {
            yield* holds("saved or a conflict", outcome === "saved" || outcome === "conflict")
            yield* equal("the new one", yield* isThere(store, newKey, start), outcome === "saved")
            yield* outcome === "saved" ? isDead(store, one, start) : isAlive(store, one, start)
          }))
      ))

    it.live(`a rotation (${phase}) and two reads (${other}): exactly one token is valid`, () =>
      randomOrders(
        scene([[phase, rotateAct], [other, loadAct], ["move", loadAct]], (store, one, [outcome], newKey) =>
          Effect.gen(function*() {
            yield* equal("the new one", yield* isThere(store, newKey, start), outcome === "saved")
            yield* outcome === "saved" ? isDead(store, one, start) : isAlive(store, one, start)
          }))
      ))
  }

  it.live("three reads: the session moves once, unchanged", () =>
    randomOrders(
      scene(range(3).map(() => ["move", loadAct] as const), (store, one, outcomes) =>
        Effect.zipRight(
          holds("found by each", outcomes.every((found) => Option.isOption(found) && Option.isSome(found))),
          isAlive(store, one, start)
        ))
    ))

  it.live("lists and pages during a move contain the session once, unchanged", () =>
    randomOrders(
      scene([
        ["move", loadAct],
        ["move", { name: "", act: (store) => store.list("laws", "ann", start) }],
        ["prepare", { name: "", act: (store) => store.scan("laws", { limit: 10, now: start }) }],
        ["prepare", {
          name: "",
          act: (store, { record }) => Effect.map(store.find("laws", record.id, start), Option.toArray)
        }]
      ], (_, { key, record }, [, list, scan, find]) => {
        const { data: _data, ...info } = record
        return Effect.all([
          equal("list", list, [info]),
          equal("scan", scan, [{ ...record, key }]),
          equal("find", find, [record])
        ], { discard: true })
      })
    ))
})

describe("a process that dies in the middle of a move", () => {
  for (const done of range(6)) {
    const half = Effect.gen(function*() {
      const { from, to } = memories()
      const one = yield* stored(from, { expiry: farExpiry })
      yield* Effect.exit(dyingAfter(from, to, done).load(one.key, start))
      return { from, one, store: MigratingStore.make(from, to, { phase: "move" }), to }
    })

    it.live(`after ${done} writes: the next process completes the migration, and nothing is lost`, () =>
      Effect.gen(function*() {
        const { one, store } = yield* half
        yield* isAlive(store, one, start)
      }))

    it.live(`after ${done} writes: lists contain the session once`, () =>
      Effect.gen(function*() {
        const { one: { key, record }, store } = yield* half
        assert.deepStrictEqual(yield* store.scan("laws", { limit: 10, now: start }), [{ ...record, key }])
        assert.lengthOf(yield* store.list("laws", "ann", start), 1)
      }))

    for (const { act, name } of endingActs) {
      it.live(`after ${done} writes: ${name} ends the session`, () =>
        Effect.gen(function*() {
          const { one, store } = yield* half
          yield* act(store, one, freshKey())
          yield* isDead(store, one, start)
        }))
    }

    it.live(`after ${done} writes: a reversed migration finds the session, and lists contain it once`, () =>
      Effect.gen(function*() {
        const { from, one, to } = yield* half
        const back = migrating(from, to, "back")
        assert.deepStrictEqual(yield* back.scan("laws", { limit: 10, now: start }), [{ ...one.record, key: one.key }])
        yield* isAlive(back, one, start)
      }))

    for (const { act, name } of endingActs) {
      it.live(`after ${done} writes: ${name} in a reversed migration ends the session`, () =>
        Effect.gen(function*() {
          const { from, one, store, to } = yield* half
          yield* act(migrating(from, to, "back"), one, freshKey())
          yield* isDead(store, one, start)
        }))
    }

    it.live(`after ${done} writes: a rotation leaves one valid token, and copy removes what is left`, () =>
      Effect.gen(function*() {
        const { from, one, store, to } = yield* half
        const newKey = freshKey()
        assert.strictEqual(yield* rotateAct.act(store, one, newKey), "saved")
        yield* Stream.runDrain(MigratingStore.copy(from, to, { namespace: "laws" }))
        yield* isDead(store, one, start)
        assert.isTrue(yield* isThere(store, newKey, start))
        assert.deepStrictEqual(yield* from.count(start), { current: 0, expired: 0 })
      }))
  }
})

describe("limits", () => {
  it.live("are ignored, and the capability is absent, although both stores enforce them", () =>
    Effect.gen(function*() {
      const { from, to } = memories()
      const limit = { max: 1, onFull: "oldest" } as const
      for (const phase of ["prepare", "move"] as const) {
        const store = MigratingStore.make(from, to, { phase })
        assert.isUndefined(store.capabilities.limitsSubjects)
        const one = yield* stored(store, { subject: phase })
        const login = aRecord({ subject: phase, createdAt: start + 1 })
        assert.strictEqual(yield* store.create(freshKey(), login, start, limit), "created")
        const anonymous = yield* stored(store, { subject: undefined })
        const rotated = { ...anonymous.record, subject: phase }
        assert.strictEqual(
          yield* store.rotate(anonymous.key, freshKey(), rotated, { expectedVersion: 1, now: start, limit }),
          "saved"
        )
        yield* isAlive(store, one, start)
      }
    }))
})

describe("a revocation by id and subject", () => {
  for (const phase of ["prepare", "move", "back"] as const) {
    it.live(`${phase}: ends a session in either store if it belongs to the subject, and no other`, () =>
      Effect.gen(function*() {
        const { from, to } = memories()
        const store = migrating(from, to, phase)
        for (const place of [from, to]) {
          const one = yield* stored(place, { expiry: farExpiry })
          assert.isFalse(yield* store.revoke("laws", one.record.id, "bob"))
          assert.isTrue(yield* isThere(store, one.key, start))
          assert.isTrue(yield* store.revoke("laws", one.record.id, "ann"))
          yield* isDead(store, one, start)
        }
      }))
  }
})

describe("the reason why a session ended", () => {
  const reasonIn = (store: Store, { key }: Stored, now = start) =>
    Effect.map(store.endReason(key, now), Option.getOrUndefined)

  const endings: ReadonlyArray<
    readonly [string, EndReason | undefined, (store: Store, one: Stored) => Effect.Effect<unknown, SessionStoreError>]
  > = [
    ["a revocation by id", "revoked", (store, { record }) => store.revoke("laws", record.id)],
    ["a revocation of the subject", "subjectRevoked", (store) => store.revokeSubject("laws", "ann")],
    ["a revocation of all sessions", "allRevoked", (store) => store.revokeAll("laws")],
    ["a rotation", "rotated", (store, one) => rotateAct.act(store, one, freshKey())],
    // A move leaves the same reason in the old store.
    ["a logout", undefined, (store, { key }) => store.destroy(key)]
  ]

  for (const [name, reason, end] of endings) {
    for (const phase of ["prepare", "move"] as const) {
      for (const moved of [false, true]) {
        it.live(`${phase}: after ${name} of a session that was${moved ? "" : " not"} moved before it is ${reason ?? "absent"}`, () =>
          Effect.gen(function*() {
            const { from, to } = memories()
            const one = yield* stored(from, { expiry: farExpiry })
            if (moved) assert.isTrue(yield* isThere(migrating(from, to, "move"), one.key, start))
            const store = migrating(from, to, phase)
            assert.isUndefined(yield* reasonIn(store, one))
            yield* end(store, one)
            assert.strictEqual(yield* reasonIn(store, one), reason)
          }))
      }
    }

    it.live(`after ${name} of a session that was moved, in a reversed migration, it is ${reason ?? "absent"}`, () =>
      Effect.gen(function*() {
        const { from, to } = memories()
        const one = yield* stored(from, { expiry: farExpiry })
        const [there, back] = [migrating(from, to, "move"), migrating(from, to, "back")]
        yield* there.load(one.key, start)
        assert.isUndefined(yield* reasonIn(back, one))
        yield* end(back, one)
        assert.strictEqual(yield* reasonIn(back, one), reason)
      }))
  }

  for (const done of range(6)) {
    it.live(`is absent while the session is alive, after a process died in the middle of its move (${done} writes)`, () =>
      Effect.gen(function*() {
        const { from, to } = memories()
        const one = yield* stored(from, { expiry: farExpiry })
        yield* Effect.exit(dyingAfter(from, to, done).load(one.key, start))
        for (const phase of ["prepare", "back", "move"] as const) {
          assert.isUndefined(yield* reasonIn(migrating(from, to, phase), one))
          assert.isTrue(yield* isThere(migrating(from, to, phase), one.key, start))
        }
      }))
  }

  it.live("is not that of a marker that a dead process left in the old store", () =>
    Effect.gen(function*() {
      const { from, to } = memories()
      const one = yield* stored(from, { expiry: farExpiry })
      // The process dies before it removes the marker, which expires with the times that the session had then.
      yield* Effect.exit(dyingAfter(from, to, 4).load(one.key, start))
      const store = migrating(from, to, "move")
      yield* store.touch(one.key, { lastSeenAt: start, expiresAt: farExpiry.at + 2 * hour, now: start })
      const now = farExpiry.at + hour
      assert.strictEqual(yield* reasonIn(from, one, now), "expired")
      assert.isUndefined(yield* reasonIn(store, one, now))
      yield* to.destroy(one.key)
      assert.isUndefined(yield* reasonIn(store, one, now))
    }))

  it.live("fails with the error of either store", () =>
    Effect.gen(function*() {
      const key = freshKey()
      for (const failing of ["from", "to"] as const) {
        const stores = memories()
        const { controls, store } = FaultyStore.controlled(stores[failing])
        controls.fault = "failBefore"
        const error = yield* Effect.flip(
          migrating(...failing === "from" ? [store, stores.to] as const : [stores.from, store] as const, "move")
            .endReason(key, start)
        )
        assert.strictEqual(error.reason, "unavailable")
      }
    }))
})

describe("copy", () => {
  it.live("moves the remaining sessions page by page, reports progress, and leaves no record behind", () =>
    Effect.gen(function*() {
      const { from, to } = memories()
      const all = yield* Effect.forEach(range(25), () => stored(from, { expiry: farExpiry }))
      const reports = Chunk.toReadonlyArray(
        yield* Stream.runCollect(MigratingStore.copy(from, to, { namespace: "laws", batch: 10 }))
      )
      assert.deepStrictEqual(reports.map(({ moved }) => moved), [10, 20, 25, 25])
      assert.deepStrictEqual(yield* from.count(start), { current: 0, expired: 0 })
      yield* Effect.forEach(all, (one) => isAlive(to, one, start))
    }))

  it.live("makes seven calls for each session", () =>
    Effect.gen(function*() {
      const { from, to } = memories()
      const one = yield* stored(from, { expiry: farExpiry })
      const calls: Array<string> = []
      const watched = (name: string, store: Store) =>
        FaultyStore.intercept(store, (operation, call) =>
          Effect.suspend(() => {
            if (operation !== "scan") calls.push(`${name} ${operation}`)
            return call
          }))
      yield* Stream.runDrain(MigratingStore.copy(watched("old", from), watched("new", to), { namespace: "laws" }))
      assert.deepStrictEqual(calls, [
        "new find",
        "old save",
        "new create",
        "old save",
        "old load",
        "new rotate",
        "old destroy"
      ])
      yield* isAlive(to, one, start)
    }))

  for (
    const [name, act, expected] of [
      ["a touch", touchAct, { lastSeenAt: start + minute }],
      ["a save", saveAct, { data, version: 2 }]
    ] as const
  ) {
    it.live(`${name} after the scan of a page and before the move of its session is kept`, () =>
      Effect.gen(function*() {
        const { from, to } = memories()
        const one = yield* stored(from, { expiry: farExpiry })
        const moving = MigratingStore.make(from, to, { phase: "prepare" })
        let isFirst = true
        const paging = FaultyStore.intercept(from, (operation, call) => {
          if (operation !== "scan" || !isFirst) return call
          isFirst = false
          return Effect.tap(call, () => act.act(moving, one, freshKey()))
        })
        yield* Stream.runDrain(MigratingStore.copy(paging, to, { namespace: "laws" }))
        const found = yield* loaded(to, one.key, start)
        assert.deepStrictEqual({ ...found, ...expected }, found)
        assert.deepStrictEqual(yield* from.count(start), { current: 0, expired: 0 })
      }))
  }

  it.live("continues after it was stopped", () =>
    Effect.gen(function*() {
      const { from, to } = memories()
      const all = yield* Effect.forEach(range(25), () => stored(from, { expiry: farExpiry }))
      const copying = MigratingStore.copy(from, to, { namespace: "laws", batch: 10 })
      yield* Stream.runDrain(Stream.take(copying, 1))
      assert.strictEqual((yield* from.count(start)).current, 15)
      yield* Stream.runDrain(copying)
      yield* Effect.forEach(all, (one) => isAlive(to, one, start))
      assert.deepStrictEqual(yield* from.count(start), { current: 0, expired: 0 })
    }))

  it.live("fails with the error of a store, and loses nothing", () =>
    Effect.gen(function*() {
      const { from, to } = memories()
      const all = yield* Effect.forEach(range(10), () => stored(from, { expiry: farExpiry }))
      let calls = 0
      const failing = FaultyStore.intercept(to, (operation, call) =>
        Effect.suspend(() =>
          ++calls % 7 === 0 ? Effect.fail(new SessionStoreError({ operation, reason: "unavailable" })) : call
        ))
      const failed = yield* Effect.flip(
        Stream.runDrain(MigratingStore.copy(from, failing, { namespace: "laws", concurrency: 1 }))
      )
      assert.strictEqual(failed.reason, "unavailable")
      yield* Effect.forEach(all, (one) =>
        isAlive(MigratingStore.make(from, to, { phase: "prepare" }), one, start))
    }))
})
