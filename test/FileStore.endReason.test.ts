/**
 * Why sessions of a file store have ended: from the record and the revocations, or from a small file.
 */
import { SystemError } from "@effect/platform/Error"
import { it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { freshKey, hour, isDead, minute, namespace, start, stored } from "effect-session/Fixtures"
import { readdirSync, statSync, utimesSync, writeFileSync } from "node:fs"
import * as Path from "node:path"
import { assert, describe } from "vitest"
import { interceptedFileStore, openStore } from "./support/interceptedFileSystem.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

const scene = Effect.gen(function*() {
  const directory = yield* temporaryDirectory("files")
  const store = yield* openStore(directory, { durability: "none" })
  return {
    directory,
    store,
    files: (family: string) =>
      readdirSync(Path.join(directory, family), { recursive: true, encoding: "utf8" })
        .map((path) => Path.join(directory, family, path))
        .filter((path) => !statSync(path).isDirectory())
  }
})

describe("`endReason` of a FileStore", () => {
  it.scopedLive("is none for a live session, and for a key that was never used", () =>
    Effect.gen(function*() {
      const { store } = yield* scene
      const { key } = yield* stored(store)
      assert.deepStrictEqual(yield* store.endReason(key, start), Option.none())
      assert.deepStrictEqual(yield* store.endReason(freshKey(), start), Option.none())
    }))

  it.scopedLive("is `expired` from the end of the session until the clean-up", () =>
    Effect.gen(function*() {
      const { store } = yield* scene
      const { key } = yield* stored(store)
      assert.deepStrictEqual(yield* store.endReason(key, start + hour - 1), Option.none())
      assert.deepStrictEqual(yield* store.endReason(key, start + hour), Option.some("expired"))
      yield* store.removeExpired({ now: start + hour, limit: 10 })
      assert.deepStrictEqual(yield* store.endReason(key, start + hour), Option.none())
    }))

  it.scopedLive("names a logout, a rotation, a revocation by id, and a limit, to every process", () =>
    Effect.gen(function*() {
      const { directory, store } = yield* scene
      const rotated = yield* stored(store)
      const newKey = freshKey()
      yield* store.rotate(rotated.key, newKey, rotated.record, { expectedVersion: 1, now: start })
      yield* store.revoke(namespace, rotated.record.id)
      const replaced = yield* stored(store)
      const last = freshKey()
      const limit = { max: 1, onFull: "oldest" } as const
      const { key, record } = yield* stored(store, { subject: undefined })
      yield* store.rotate(key, last, { ...record, subject: "ann" }, { expectedVersion: 1, now: start, limit })
      yield* store.destroy(last)
      const another = yield* openStore(directory)
      const reasons = yield* Effect.forEach(
        [rotated.key, newKey, replaced.key, key, last],
        (key) => Effect.map(another.endReason(key, start + hour - 1), Option.getOrNull)
      )
      assert.deepStrictEqual(reasons, ["rotated", "revoked", "limit", "rotated", "loggedOut"])
      assert.deepStrictEqual(yield* another.endReason(last, start + hour), Option.none())
    }))

  it.scopedLive("names a revocation of the subject or of all, also after a later logout", () =>
    Effect.gen(function*() {
      const { store } = yield* scene
      const [ann, spared, bob] = [
        yield* stored(store),
        yield* stored(store),
        yield* stored(store, { subject: "bob" })
      ]
      const visitor = yield* stored(store, { subject: undefined })
      yield* store.revokeSubject(namespace, "ann", spared.record.id)
      assert.deepStrictEqual(yield* store.endReason(ann.key, start), Option.some("subjectRevoked"))
      assert.deepStrictEqual(yield* store.endReason(spared.key, start), Option.none())
      yield* store.destroy(ann.key)
      assert.deepStrictEqual(yield* store.endReason(ann.key, start), Option.some("subjectRevoked"))
      yield* store.destroy(spared.key)
      assert.deepStrictEqual(yield* store.endReason(spared.key, start), Option.some("loggedOut"))
      yield* store.revokeAll(namespace)
      assert.deepStrictEqual(yield* store.endReason(bob.key, start), Option.some("allRevoked"))
      yield* store.revoke(namespace, visitor.record.id)
      assert.deepStrictEqual(yield* store.endReason(visitor.key, start), Option.some("allRevoked"))
    }))

  it.scopedLive("of a key that is used again is that of the last session", () =>
    Effect.gen(function*() {
      const { files, store } = yield* scene
      const { key, record } = yield* stored(store)
      yield* store.destroy(key)
      assert.strictEqual(yield* store.create(key, record, start), "created")
      assert.deepStrictEqual(yield* store.endReason(key, start), Option.none())
      // The clock of a file system may be as coarse as two seconds.
      for (const path of files("reasons")) utimesSync(path, start / 1000, start / 1000)
      yield* store.revoke(namespace, record.id)
      assert.deepStrictEqual(yield* store.endReason(key, start), Option.some("revoked"))
    }))

  it.scopedLive("of a key that is used again is none after the clean-up of the last session", () =>
    Effect.gen(function*() {
      const { files, store } = yield* scene
      const { key, record } = yield* stored(store)
      yield* store.destroy(key)
      const shorter = { ...record, expiry: { at: start + minute, deadline: undefined, lifetime: undefined } }
      assert.strictEqual(yield* store.create(key, shorter, start), "created")
      yield* store.removeExpired({ now: start + minute, limit: 10 })
      assert.deepStrictEqual(yield* store.endReason(key, start + minute), Option.none())
      assert.deepStrictEqual(files("reasons"), [])
    }))

  it.scopedLive("is none for a corrupt session: it has not ended, and a revocation by its subject removes it", () =>
    Effect.gen(function*() {
      const { files, store } = yield* scene
      const { key, record } = yield* stored(store)
      for (const path of files("records")) if (Path.basename(path).startsWith("c")) writeFileSync(path, "corrupt")
      assert.deepStrictEqual(yield* store.endReason(key, start), Option.none())
      assert.isFalse(yield* store.revoke(namespace, record.id, "bob"))
      assert.isTrue(yield* store.revoke(namespace, record.id, "ann"))
      yield* isDead(store, { key, record }, start)
      // Whether a revocation had ended it before is not known.
      assert.deepStrictEqual(yield* store.endReason(key, start), Option.none())
    }))

  it.scopedLive("a session ends although its reason cannot be written", () =>
    Effect.gen(function*() {
      const { directory, store } = yield* scene
      const full = yield* interceptedFileStore(directory, ({ call, paths }, run) =>
        paths.some((path) =>
            path.includes("/reasons")
          ) && call === "make"
          ? Effect.fail(
            new SystemError({ module: "FileSystem", method: call, reason: "Unknown", description: "no space left" })
          )
          : run)
      const one = yield* stored(store)
      yield* full.destroy(one.key)
      yield* isDead(store, one, start)
      assert.deepStrictEqual(yield* store.endReason(one.key, start), Option.none())
    }))

  it.scopedLive("the clean-up removes the reasons of sessions that would have expired, and no others", () =>
    Effect.gen(function*() {
      const { files, store } = yield* scene
      const one = yield* stored(store)
      const longer = yield* stored(store, {
        expiry: { at: start + 2 * hour, deadline: undefined, lifetime: undefined }
      })
      for (const { key } of [one, longer]) yield* store.destroy(key)
      yield* store.removeExpired({ now: start + hour - minute, limit: 10 })
      assert.strictEqual(files("reasons").length, 2)
      yield* store.removeExpired({ now: start + hour, limit: 10 })
      assert.strictEqual(files("reasons").length, 1)
      assert.deepStrictEqual(yield* store.endReason(longer.key, start), Option.some("loggedOut"))
      yield* store.removeExpired({ now: start + 2 * hour, limit: 10 })
      assert.deepStrictEqual(files("reasons"), [])
    }))
})
