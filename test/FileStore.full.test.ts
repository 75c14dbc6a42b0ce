/**
 * A disk that is really full: a small one in memory, where this user may mount it. Who is not root on Linux has the limit of
 * `FileStore.processes.test.ts`.
 */
import { it } from "@effect/vitest"
import { Effect } from "effect"
import { SessionStoreError } from "effect-session/SessionStore"
import { execFileSync } from "node:child_process"
import { unlinkSync, writeFileSync } from "node:fs"
import * as Path from "node:path"
import { assert } from "vitest"
import type { Stored } from "../src/internal/testing/records.js"
import {
  aRecord,
  freshKey,
  hour,
  isAlive,
  isDead,
  minute,
  namespace,
  start,
  stored
} from "../src/internal/testing/records.js"
import { openStore } from "./support/interceptedFileSystem.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

/** A disk of one megabyte that goes with the scope. */
const smallDisk = Effect.flatMap(temporaryDirectory("full"), (directory) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "none", directory])
      return directory
    }),
    () => Effect.sync(() => execFileSync("umount", ["-l", directory]))
  ))

const mountsAre = process.platform === "linux" && process.getuid?.() === 0

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
      // Half of it may still fit.
    }
  }
  return { store, all, ballast }
})

const isFull = (call: Effect.Effect<unknown, SessionStoreError>) =>
  Effect.map(Effect.flip(call), (error) => {
    assert.strictEqual(error.reason, "unavailable")
    assert.match(String(error.cause), /ENOSPC/)
  })

// The report says that it was left out.
it.scopedLive.skipIf(!mountsAre)(
  "a full disk keeps every session; single ones can be ended, and no more begun",
  () =>
    Effect.gen(function*() {
      const { all, ballast, store } = yield* fullDisk
      const [saved, rotated, touched, destroyed, revoked, ...others] = all
      if (
        saved === undefined || rotated === undefined || touched === undefined || destroyed === undefined ||
        revoked === undefined
      ) return assert.fail("there are too few")
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
