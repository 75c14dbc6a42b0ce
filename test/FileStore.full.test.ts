/**
 * A full disk: a small tmpfs, which only root on Linux can mount. For other users, `FileStore.processes.test.ts` limits the file size.
 */
import { it } from "@effect/vitest"
import { Effect } from "effect"
import type { Stored } from "effect-session/Fixtures"
import { aRecord, freshKey, hour, isAlive, isDead, minute, namespace, start, stored } from "effect-session/Fixtures"
import { SessionStoreError } from "effect-session/SessionStore"
import { execFileSync } from "node:child_process"
import { unlinkSync, writeFileSync } from "node:fs"
import * as Path from "node:path"
import { assert } from "vitest"
import { openStore } from "./support/interceptedFileSystem.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

/** A disk of one megabyte, unmounted with the scope. */
const smallDisk = Effect.flatMap(temporaryDirectory("full"), (directory) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "none", directory])
      return directory
    }),
    () => Effect.sync(() => execFileSync("umount", ["-l", directory]))
  ))

const canMount = process.platform === "linux" && process.getuid?.() === 0

const fullDisk = Effect.gen(function*() {
  const disk = yield* smallDisk
  const store = yield* openStore(Path.join(disk, "sessions"))
  const all: Array<Stored> = []
  for (let i = 0; i < 16; i++) all.push(yield* stored(store, { subject: `s${i}` }))
  const ballast = Path.join(disk, "ballast")
  for (let size = 2 ** 20; size >= 1; size /= 2) {
    try {
      writeFileSync(ballast, new Uint8Array(size), { flag: "a" })
    } catch {
      // A smaller file may still fit.
    }
  }
  return { store, all, ballast }
})

const isFull = (call: Effect.Effect<unknown, SessionStoreError>) =>
  Effect.map(Effect.flip(call), (error) => {
    assert.strictEqual(error.reason, "unavailable")
    assert.match(String(error.cause), /ENOSPC/)
  })

it.scopedLive.skipIf(!canMount)(
  "on a full disk, writes of new content fail, all sessions stay, and single sessions can be ended",
  () =>
    Effect.gen(function*() {
      const { all, ballast, store } = yield* fullDisk
      const [saved, rotated, touched, destroyed, revoked, ...others] = all
      if (
        saved === undefined || rotated === undefined || touched === undefined || destroyed === undefined ||
        revoked === undefined
      ) return assert.fail("too few sessions")
      const large = JSON.stringify("x".repeat(9000))
      yield* isFull(store.create(freshKey(), aRecord({ data: large }), start))
      yield* isFull(store.save(saved.key, { ...saved.record, data: large }, { expectedVersion: 1, now: start }))
      yield* isFull(
        store.rotate(rotated.key, freshKey(), { ...rotated.record, data: large }, { expectedVersion: 1, now: start })
      )
      yield* isFull(store.revokeSubject(namespace, "s9"))
      yield* isFull(store.revokeAll(namespace))
      yield* Effect.forEach(all, (one) => isAlive(store, one, start))

      assert.strictEqual(
        yield* store.touch(touched.key, { lastSeenAt: start + minute, expiresAt: start + 2 * hour, now: start }),
        "touched"
      )
      yield* store.destroy(destroyed.key)
      assert.isTrue(yield* store.revoke(namespace, revoked.record.id))
      yield* isDead(store, destroyed, start)
      yield* isDead(store, revoked, start)

      unlinkSync(ballast)
      assert.strictEqual(
        yield* store.save(saved.key, { ...saved.record, data: large }, { expectedVersion: 1, now: start }),
        "saved"
      )
      yield* store.revokeAll(namespace)
      yield* Effect.forEach(others, (one) => isDead(store, one, start))
    })
)
