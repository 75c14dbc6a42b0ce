import { it } from "@effect/vitest"
import { Effect, FiberRef, Option } from "effect"
import { MemoryStore } from "effect-session"
import { freshId, freshKey, hour, minute, start, type Stored, stored } from "effect-session/Fixtures"
import * as MigratingStore from "effect-session/MigratingStore"
import { SessionStoreError } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import * as TieredStore from "effect-session/TieredStore"
import { describe } from "vitest"
import { type Scene, someOrders } from "../src/internal/testing/interleave.js"

const lease = 5000
const interception = FiberRef.unsafeMake<FaultyStore.Interception>((_, call) => call)
const withInterception = (store: Store) =>
  FaultyStore.intercept(
    store,
    (operation, call, args) =>
      Effect.flatMap(FiberRef.get(interception), (interception) => interception(operation, call, args))
  )

type Make = Effect.Effect<
  { readonly node: Effect.Effect<Store, unknown>; readonly seed: Store; readonly clear: Effect.Effect<Store, unknown> },
  unknown
>

const migratingOverTiered: Make = Effect.gen(function*() {
  const a = MemoryStore.make(), b = MemoryStore.make()
  const fa = MemoryStore.make(), fb = MemoryStore.make()
  const node = Effect.gen(function*() {
    const from = yield* TieredStore.make(withInterception(fa), withInterception(a), { lease })
    const to = yield* TieredStore.make(withInterception(fb), withInterception(b), { lease })
    return MigratingStore.make(from, to, { phase: "move" })
  })
  return { node, seed: a, clear: node }
})
const tieredOverMigrating: Make = Effect.gen(function*() {
  const a = MemoryStore.make(), b = MemoryStore.make(), f = MemoryStore.make()
  const node = TieredStore.make(
    withInterception(f),
    MigratingStore.make(withInterception(a), withInterception(b), { phase: "move" }),
    { lease }
  )
  return { node, seed: a, clear: node }
})
const migrating = (pa: "move" | "prepare"): Make =>
  Effect.gen(function*() {
    const a = MemoryStore.make(), b = MemoryStore.make()
    let n = 0
    const node = Effect.sync(() =>
      MigratingStore.make(withInterception(a), withInterception(b), { phase: n++ % 2 === 0 ? pa : "move" })
    )
    return { node, seed: a, clear: Effect.sync(() => MigratingStore.make(a, b, { phase: "move" })) }
  })

const saving = (i: number) => (s: Store, { key }: Stored) =>
  Effect.gen(function*() {
    for (let t = 0; t < 6; t++) {
      const found = Option.getOrUndefined(yield* s.load(key, start, "fresh"))
      if (found === undefined) return "gone"
      const { stale: _, ...rest } = found
      const o = yield* s.save(key, { ...rest, data: `${rest.data}+${i}`, writeId: `w${i}` }, {
        expectedVersion: rest.version,
        now: start
      })
      if (o !== "conflict") return o
    }
    return "conflict"
  })

/** Each acknowledged save is stored exactly once. */
const countsSaves = (make: Make, savers: number): Effect.Effect<Scene<unknown>, unknown> =>
  Effect.gen(function*() {
    const { clear, node, seed } = yield* make
    const session = yield* stored(seed)
    const out: Array<unknown> = []
    const nodes = yield* Effect.all([node, node])
    return {
      requests: Array.from({ length: savers }, (_, i) => (parking: FaultyStore.Interception) =>
        Effect.locally(
          Effect.flatMap(Effect.succeed(nodes[i % 2] as Store), (s) => saving(i)(s, session)),
          interception,
          parking
        ).pipe(Effect.map((o) => void (out[i] = o)))),
      check: Effect.gen(function*() {
        const s = yield* clear
        const got = Option.getOrUndefined(yield* s.load(session.key, start))
        if (got === undefined) return yield* Effect.fail(new Error("the session ended"))
        for (const [i, o] of out.entries()) {
          const n = got.data.split(`+${i}`).length - 1
          if (n !== (o === "saved" ? 1 : 0)) return yield* Effect.fail(new Error(`save ${i} ${o}: ${got.data}`))
        }
        if (got.version !== 1 + out.filter((o) => o === "saved").length) return yield* Effect.fail(new Error("version"))
      })
    }
  })

/** A revocation of all sessions but one spares that one while it is moved, read and rotated concurrently. */
const spared = (make: Make): Effect.Effect<Scene<unknown>, unknown> =>
  Effect.gen(function*() {
    const { clear, node, seed } = yield* make
    const session = yield* stored(seed)
    const two = yield* stored(seed)
    const newKey = freshKey()
    const out: Array<unknown> = []
    const acts: ReadonlyArray<(s: Store) => Effect.Effect<unknown, SessionStoreError>> = [
      (s) => s.revokeSubject("laws", "ann", session.record.id),
      (s) => s.rotate(session.key, newKey, session.record, { expectedVersion: 1, now: start }),
      (s) => s.load(session.key, start),
      (s) => s.load(two.key, start)
    ]
    return {
      requests: acts.map((act, i) => (parking: FaultyStore.Interception) =>
        Effect.locally(Effect.flatMap(node, act), interception, parking).pipe(Effect.map((o) => void (out[i] = o)))
      ),
      check: Effect.gen(function*() {
        const s = yield* clear
        const alive = [yield* s.load(session.key, start + lease), yield* s.load(newKey, start + lease)].map(
          Option.isSome
        )
        const expected = out[1] === "saved" ? [false, true] : [true, false]
        if (String(alive) !== String(expected)) return yield* Effect.fail(new Error(`${out[1]} ${alive}`))
        if (Option.isSome(yield* s.load(two.key, start + lease))) {
          return yield* Effect.fail(new Error("the revoked session is alive"))
        }
        if (Option.isSome(yield* s.find("laws", two.record.id, start))) {
          return yield* Effect.fail(new Error("the revoked session is found"))
        }
      })
    }
  })

/** Ends of a session race with all other operations, each of which is interrupted after some calls. */
const endsRace = (make: Make, which: number, cut: number): Effect.Effect<Scene<unknown>, unknown> =>
  Effect.gen(function*() {
    const { clear, node, seed } = yield* make
    const session = yield* stored(seed)
    const newKey = freshKey(), third = freshKey()
    const end = [
      (s: Store) => s.destroy(session.key),
      (s: Store) => s.revoke("laws", session.record.id),
      (s: Store) => s.revokeSubject("laws", "ann"),
      (s: Store) => s.revokeAll("laws")
    ][which] ?? (() => Effect.die("?"))
    const acts: ReadonlyArray<(s: Store) => Effect.Effect<unknown, SessionStoreError>> = [
      end,
      (s) => saving(1)(s, session),
      (s) => s.touch(session.key, { lastSeenAt: start + minute, expiresAt: start + hour + minute, now: start }),
      (s) =>
        s.rotate(session.key, newKey, which === 0 ? { ...session.record, id: freshId() } : session.record, {
          expectedVersion: 1,
          now: start
        }),
      (s) => s.load(session.key, start)
    ]
    return {
      requests: acts.map((act, i) => (parking: FaultyStore.Interception) => {
        let left = i === 0 ? Infinity : cut + i
        const cutting: FaultyStore.Interception = (o, call, args) =>
          Effect.suspend(() => left-- <= 0 ? Effect.interrupt : parking(o, call, args))
        return Effect.exit(Effect.locally(Effect.flatMap(node, act), interception, cutting))
      }),
      check: Effect.gen(function*() {
        const s = yield* clear
        const keys = which === 0 ? [session.key] : [session.key, newKey, third]
        const now = which >= 2 ? start + lease : start
        for (const k of keys) {
          if (Option.isSome(yield* s.load(k, now))) return yield* Effect.fail(new Error(`alive ${k === session.key}`))
        }
        if (which > 0 && Option.isSome(yield* s.find("laws", session.record.id, now))) {
          return yield* Effect.fail(new Error("found"))
        }
      })
    }
  })

const endNames = ["a logout", "a revocation by id", "a revocation of the subject", "a revocation of all sessions"]

const seed = Number(process.env["SEED"] ?? Date.now() % 1e6)
const orders = Number(process.env["ORDERS"] ?? 40)
describe(`combined stores: requests in random orders, seed ${seed}`, () => {
  for (
    const [name, make] of [["migrating over tiered", migratingOverTiered], [
      "tiered over migrating",
      tieredOverMigrating
    ], [
      "move",
      migrating("move")
    ], ["prepare and move", migrating("prepare")]] as const
  ) {
    it.live(
      `${name}: every acknowledged save is stored once`,
      () => someOrders(countsSaves(make, 4), orders, seed)
    )
    it.live(
      `${name}: the session that a revocation spares stays alive, and the others end`,
      () => someOrders(spared(make), orders, seed)
    )
    for (let w = 0; w < 4; w++) {
      for (const cut of [2, 6, 12, 1000]) {
        it.live(
          `${name}: ${endNames[w]} wins over all other operations, each interrupted after about ${cut} calls`,
          () => someOrders(endsRace(make, w, cut), orders, seed)
        )
      }
    }
  }
})
