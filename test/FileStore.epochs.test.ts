/**
 * Revocations in a file store: those of subjects without sessions are removed, which revives no session.
 */
import { it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { hour, isAlive, isDead, minute, namespace, start, stored } from "effect-session/Fixtures"
import { readdirSync, renameSync, statSync, utimesSync } from "node:fs"
import * as Path from "node:path"
import { assert } from "vitest"
import { interceptedFileStore, openStore } from "./support/interceptedFileSystem.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

const scene = Effect.gen(function*() {
  const root = yield* temporaryDirectory("files")
  const store = yield* openStore(root, { durability: "none" })
  const files = () =>
    readdirSync(Path.join(root, "epochs"), { recursive: true, encoding: "utf8" })
      .map((name) => Path.join(root, "epochs", name))
      .filter((path) => !statSync(path).isDirectory())
  return {
    root,
    store,
    rename: (f: (name: string) => string) => {
      for (const path of files()) renameSync(path, f(path))
    },
    count: () => files().length,
    /** Sets the age of every revocation. */
    age: (millis: number) => {
      const time = (Date.now() - millis) / 1000
      for (const path of files()) utimesSync(path, time, time)
    }
  }
})

/** Alive by the clock of this machine, which determines the age of revocations. */
const live = { expiry: { at: Date.now() + hour, deadline: undefined, lifetime: undefined } }

it.scopedLive("`removeExpired` removes revocations of subjects without sessions after an hour, and keeps the others", () =>
  Effect.gen(function*() {
    const { age, count, store } = yield* scene
    const ann = yield* stored(store, { subject: "ann", ...live })
    for (const subject of ["ann", "ann", "bob", "carl"]) yield* store.revokeSubject(namespace, subject)
    yield* store.revokeAll(namespace)
    age(59 * minute)
    yield* store.removeExpired({ now: Date.now(), limit: 100 })
    assert.strictEqual(count(), 5)
    age(61 * minute)
    yield* store.removeExpired({ now: Date.now(), limit: 100 })
    assert.strictEqual(count(), 3)
    yield* isDead(store, ann, start)
    yield* store.destroy(ann.key)
    yield* store.removeExpired({ now: Date.now(), limit: 100 })
    assert.strictEqual(count(), 1)
  }))

it.scopedLive("a revocation after that ends sessions whose write began before the removal, and later ones", () =>
  Effect.gen(function*() {
    const { age, count, root, store } = yield* scene
    yield* store.revokeSubject(namespace, "ann")
    // Suspended after it has read the revocations.
    const suspended = yield* Deferred.make<void>()
    const resume = yield* Deferred.make<void>()
    const slow = yield* interceptedFileStore(
      root,
      ({ call, paths: [path = ""] }, run) =>
        call === "makeDirectory" && path.includes("/scratch/")
          ? Effect.zipRight(Deferred.succeed(suspended, undefined), Effect.zipRight(Deferred.await(resume), run))
          : run,
      { durability: "none" }
    )
    const fiber = yield* Effect.fork(stored(slow, { subject: "ann", ...live }))
    yield* Deferred.await(suspended)
    age(61 * minute)
    yield* store.removeExpired({ now: Date.now(), limit: 100 })
    assert.strictEqual(count(), 0)
    yield* Deferred.succeed(resume, undefined)
    const late = yield* Fiber.join(fiber)
    const since = yield* stored(store, { subject: "ann", ...live })
    yield* isAlive(store, late, start)
    yield* store.revokeSubject(namespace, "ann", since.record.id)
    yield* isDead(store, late, start)
    yield* isAlive(store, since, start)
    yield* store.revokeSubject(namespace, "ann")
    yield* isDead(store, since, start)
  }))

it.scopedLive("revocations of an earlier version, numbered from one, still hold, and so do later ones", () =>
  Effect.gen(function*() {
    const { count, rename, store } = yield* scene
    const one = yield* stored(store, { subject: "ann", ...live })
    const other = yield* stored(store, { subject: "bob", ...live })
    yield* store.revokeSubject(namespace, "ann")
    rename((name) => name.replace(/_\d+_1$/, "_1"))
    yield* isDead(store, one, start)
    const two = yield* stored(store, { subject: "ann", ...live })
    yield* store.revokeSubject(namespace, "ann", two.record.id)
    yield* isAlive(store, two, start)
    yield* isAlive(store, other, start)
    yield* store.revokeSubject(namespace, "ann")
    yield* isDead(store, two, start)
    assert.strictEqual(count(), 3)
  }))
