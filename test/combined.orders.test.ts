import { it } from "@effect/vitest"
import { Effect, FiberRef, Option } from "effect"
import { MemoryStore } from "effect-session"
import * as MigratingStore from "effect-session/MigratingStore"
import { SessionStoreError } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import * as TieredStore from "effect-session/TieredStore"
import { describe } from "vitest"
import { intercepted, type Interception } from "../src/internal/store/intercepted.js"
import { type Scene, someOrders } from "../src/internal/testing/interleave.js"
import { freshId, freshKey, hour, minute, start, type Stored, stored } from "../src/internal/testing/records.js"

const lease = 5000
const around = FiberRef.unsafeMake<Interception>((_, call) => call)
const parked = (store: Store) =>
  intercepted(
    store,
    (operation, call, args) => Effect.flatMap(FiberRef.get(around), (around) => around(operation, call, args))
  )

type Make = Effect.Effect<
  { readonly node: Effect.Effect<Store, unknown>; readonly seed: Store; readonly clear: Effect.Effect<Store, unknown> },
  unknown
>

const migratingOverTiered: Make = Effect.gen(function*() {
  const a = MemoryStore.make(), b = MemoryStore.make()
  const fa = MemoryStore.make(), fb = MemoryStore.make()
  const node = Effect.gen(function*() {
    const from = yield* TieredStore.make(parked(fa), parked(a), { lease })
    const to = yield* TieredStore.make(parked(fb), parked(b), { lease })
    return MigratingStore.make(from, to, { phase: "move" })
  })
  return { node, seed: a, clear: node }
})
const tieredOverMigrating: Make = Effect.gen(function*() {
  const a = MemoryStore.make(), b = MemoryStore.make(), f = MemoryStore.make()
  const node = TieredStore.make(parked(f), MigratingStore.make(parked(a), parked(b), { phase: "move" }), { lease })
  return { node, seed: a, clear: node }
})
const migrating = (pa: "move" | "prepare"): Make =>
  Effect.gen(function*() {
    const a = MemoryStore.make(), b = MemoryStore.make()
    let n = 0
    const node = Effect.sync(() => MigratingStore.make(parked(a), parked(b), { phase: n++ % 2 === 0 ? pa : "move" }))
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

/** Counting: every acknowledged save is there, exactly once. */
const lost = (make: Make, savers: number): Effect.Effect<Scene<unknown>, unknown> =>
  Effect.gen(function*() {
    const { clear, node, seed } = yield* make
    const one = yield* stored(seed)
    const out: Array<unknown> = []
    const nodes = yield* Effect.all([node, node])
    return {
      requests: Array.from({ length: savers }, (_, i) => (parking: Interception) =>
        Effect.locally(
          Effect.flatMap(Effect.succeed(nodes[i % 2] as Store), (s) => saving(i)(s, one)),
          around,
          parking
        ).pipe(Effect.map((o) => void (out[i] = o)))),
      check: Effect.gen(function*() {
        const s = yield* clear
        const got = Option.getOrUndefined(yield* s.load(one.key, start))
        if (got === undefined) return yield* Effect.fail(new Error("died"))
        for (const [i, o] of out.entries()) {
          const n = got.data.split(`+${i}`).length - 1
          if (n !== (o === "saved" ? 1 : 0)) return yield* Effect.fail(new Error(`save ${i} ${o}: ${got.data}`))
        }
        if (got.version !== 1 + out.filter((o) => o === "saved").length) return yield* Effect.fail(new Error("version"))
      })
    }
  })

/** Revoking all but this session while it moves, is written, is given another token: it lives. */
const except = (make: Make): Effect.Effect<Scene<unknown>, unknown> =>
  Effect.gen(function*() {
    const { clear, node, seed } = yield* make
    const one = yield* stored(seed)
    const two = yield* stored(seed)
    const newKey = freshKey()
    const out: Array<unknown> = []
    const acts: ReadonlyArray<(s: Store) => Effect.Effect<unknown, SessionStoreError>> = [
      (s) => s.revokeSubject("laws", "ann", one.record.id),
      (s) => s.rotate(one.key, newKey, one.record, { expectedVersion: 1, now: start }),
      (s) => s.load(one.key, start),
      (s) => s.load(two.key, start)
    ]
    return {
      requests: acts.map((act, i) => (parking: Interception) =>
        Effect.locally(Effect.flatMap(node, act), around, parking).pipe(Effect.map((o) => void (out[i] = o)))
      ),
      check: Effect.gen(function*() {
        const s = yield* clear
        const alive = [yield* s.load(one.key, start + lease), yield* s.load(newKey, start + lease)].map(Option.isSome)
        const expected = out[1] === "saved" ? [false, true] : [true, false]
        if (String(alive) !== String(expected)) return yield* Effect.fail(new Error(`${out[1]} ${alive}`))
        if (Option.isSome(yield* s.load(two.key, start + lease))) return yield* Effect.fail(new Error("two alive"))
        if (Option.isSome(yield* s.find("laws", two.record.id, start))) {
          return yield* Effect.fail(new Error("two found"))
        }
      })
    }
  })

/** Ends race everything else; each request may be cut off at any call. */
const ends = (make: Make, which: number, cut: number): Effect.Effect<Scene<unknown>, unknown> =>
  Effect.gen(function*() {
    const { clear, node, seed } = yield* make
    const one = yield* stored(seed)
    const newKey = freshKey(), third = freshKey()
    const end = [
      (s: Store) => s.destroy(one.key),
      (s: Store) => s.revoke("laws", one.record.id),
      (s: Store) => s.revokeSubject("laws", "ann"),
      (s: Store) => s.revokeAll("laws")
    ][which] ?? (() => Effect.die("?"))
    const acts: ReadonlyArray<(s: Store) => Effect.Effect<unknown, SessionStoreError>> = [
      end,
      (s) => saving(1)(s, one),
      (s) => s.touch(one.key, { lastSeenAt: start + minute, expiresAt: start + hour + minute, now: start }),
      (s) =>
        s.rotate(one.key, newKey, which === 0 ? { ...one.record, id: freshId() } : one.record, {
          expectedVersion: 1,
          now: start
        }),
      (s) => s.load(one.key, start)
    ]
    return {
      requests: acts.map((act, i) => (parking: Interception) => {
        let left = i === 0 ? Infinity : cut + i
        const cutting: Interception = (o, call, args) =>
          Effect.suspend(() => left-- <= 0 ? Effect.interrupt : parking(o, call, args))
        return Effect.exit(Effect.locally(Effect.flatMap(node, act), around, cutting))
      }),
      check: Effect.gen(function*() {
        const s = yield* clear
        const keys = which === 0 ? [one.key] : [one.key, newKey, third]
        const now = which >= 2 ? start + lease : start
        for (const k of keys) {
          if (Option.isSome(yield* s.load(k, now))) return yield* Effect.fail(new Error(`alive ${k === one.key}`))
        }
        if (which > 0 && Option.isSome(yield* s.find("laws", one.record.id, now))) {
          return yield* Effect.fail(new Error("found"))
        }
      })
    }
  })

const endNames = ["a logout", "a revocation by id", "a revocation of the subject", "a revocation of everyone"]

const seed = Number(process.env["SEED"] ?? Date.now() % 1e6)
const orders = Number(process.env["ORDERS"] ?? 40)
describe(`requests on stores made of stores, in orders by chance, seed ${seed}`, () => {
  for (
    const [name, make] of [["moving over tiers", migratingOverTiered], ["tiers over a move", tieredOverMigrating], [
      "move",
      migrating("move")
    ], ["prepare and move", migrating("prepare")]] as const
  ) {
    it.live(
      `${name}: every save that was acknowledged is there once`,
      () => someOrders(lost(make, 4), orders, seed)
    )
    it.live(
      `${name}: the session that a revocation spares lives, and the others do not`,
      () => someOrders(except(make), orders, seed)
    )
    for (let w = 0; w < 4; w++) {
      for (const cut of [2, 6, 12, 1000]) {
        it.live(
          `${name}: ${endNames[w]} races everything else, each cut off after ${cut} calls or so`,
          () => someOrders(ends(make, w, cut), orders, seed)
        )
      }
    }
  }
})
