/**
 * Operations on a session that is being migrated, in random orders, and processes that die during a migration.
 */
import { Effect, FiberRef } from "effect"
import { freshId, hour, minute, start, type Stored } from "effect-session/Fixtures"
import * as MigratingStore from "effect-session/MigratingStore"
import type { SessionStoreError, Store } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import { type Scene, someOrders } from "../../src/internal/testing/interleave.js"
import type { Operation } from "../../src/SessionStore.js"

/** Later than the real time, too. */
export const farExpiry = { at: start * 2, deadline: undefined, lifetime: undefined }

const writes: ReadonlyArray<Operation> = ["create", "save", "destroy", "touch", "rotate"]

/** A migrating store of a process that dies after this number of writes. */
export const dyingAfter = (from: Store, to: Store, count: number): Store => {
  let left = count
  const wrap: FaultyStore.Interception = (operation, call) =>
    Effect.suspend(() => writes.includes(operation) && left-- <= 0 ? Effect.interrupt : call)
  return MigratingStore.make(FaultyStore.intercept(from, wrap), FaultyStore.intercept(to, wrap), { phase: "move" })
}

/** The interception of the calls of the request that a fiber runs. */
export const requestInterception = FiberRef.unsafeMake<FaultyStore.Interception>((_, call) => call)

export const interceptedPerRequest = (store: Store): Store =>
  FaultyStore.intercept(
    store,
    (operation, call, args) =>
      Effect.flatMap(FiberRef.get(requestInterception), (intercept) => intercept(operation, call, args))
  )

/** Runs a scene in this number of random orders: there are millions. */
export const randomOrders = (
  scene: Effect.Effect<Scene<unknown>, unknown>,
  orders = 200
): Effect.Effect<void, unknown> => {
  const seed = Number(process.env["SEED"] ?? Date.now())
  return Effect.mapError(
    someOrders(scene, orders, seed),
    (cause) => new Error(`with seed ${seed}: ${String(cause)}`, { cause })
  )
}

/** An operation of a request. */
export interface Act {
  readonly name: string
  readonly act: (store: Store, one: Stored, newKey: Stored["key"]) => Effect.Effect<unknown, SessionStoreError>
}

export const loadAct: Act = { name: "a read", act: (store, { key }) => store.load(key, start) }
export const data = `"new"`
export const saveAct: Act = {
  name: "a save",
  act: (store, { key, record }) =>
    store.save(key, { ...record, data, writeId: "new" }, { expectedVersion: 1, now: start })
}
export const touchAct: Act = {
  name: "a touch",
  act: (store, { key }) =>
    store.touch(key, { lastSeenAt: start + minute, expiresAt: start + hour + minute, now: start })
}
export const rotateAct: Act = {
  name: "a rotation",
  act: (store, { key, record }, newKey) =>
    store.rotate(key, newKey, { ...record, id: freshId(), data, subject: "bob" }, { expectedVersion: 1, now: start })
}
export const rotateKeepingIdAct: Act = {
  name: "a rotation that keeps the id",
  act: (store, { key, record }, newKey) =>
    store.rotate(key, newKey, { ...record, data }, { expectedVersion: 1, now: start })
}
export const destroyAct: Act = { name: "a logout", act: (store, { key }) => store.destroy(key) }
export const revocationActs: ReadonlyArray<Act> = [
  { name: "a revocation by id", act: (store, { record }) => store.revoke("laws", record.id) },
  { name: "a revocation of the subject", act: (store) => store.revokeSubject("laws", "ann") },
  { name: "a revocation of everyone", act: (store) => store.revokeAll("laws") }
]
export const endingActs = [destroyAct, ...revocationActs]
