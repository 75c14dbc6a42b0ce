/**
 * An acknowledged write is on disk, according to the file system calls of the store.
 */
import { SystemError } from "@effect/platform/Error"
import { it } from "@effect/vitest"
import { Effect } from "effect"
import { isAlive, namespace, start, stored } from "effect-session/Fixtures"
import type { Store } from "effect-session/SessionStore"
import * as Path from "node:path"
import { assert, describe } from "vitest"
import { writes } from "./support/fileWriteSteps.js"
import type { Around, Step } from "./support/interceptedFileSystem.js"
import { interceptedFileStore, openStore } from "./support/interceptedFileSystem.js"
import { works } from "./support/storeCalls.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

/** Tracks what a power failure would undo: file contents, and names in directories. */
const ledger = (root: string) => {
  // A file that is moved to scratch to be removed need not be synced, but earlier unsynced changes of it still count.
  const isDiscarded = (path: string) => Path.dirname(path) === Path.join(root, "scratch")
  const contents = new Set<string>()
  const names = new Map<string, string>()
  const syncs: Array<string> = []
  const track = ({ call, paths: [path = "", to = ""] }: Step) => {
    switch (call) {
      case "writeAll":
        return void contents.add(path)
      case "sync":
        syncs.push(path)
        names.delete(path)
        return void contents.delete(path)
      case "make":
      case "makeDirectory":
        return void names.set(Path.dirname(path), path)
      case "link":
        return void names.set(Path.dirname(to), to)
      case "rename":
        if (isDiscarded(to)) return
        for (const open of [...contents].filter((other) => other.startsWith(`${path}/`))) {
          contents.delete(open)
          contents.add(to + open.slice(path.length))
        }
        if (names.has(path)) names.set(to, names.get(path) ?? "")
        names.delete(path)
        names.set(Path.dirname(path), path)
        return void names.set(Path.dirname(to), to)
    }
  }
  const around: Around = (step, run) => Effect.tap(run, () => track(step))
  return { around, contents, names, syncs }
}

/** Directories whose names need not be on disk: a lock need not survive its holder, and a reason of an end is kept as far as possible. */
const transient = ["scratch", "locks", "reasons"]

const relevant = (root: string, names: ReadonlyMap<string, string>) =>
  [...names].filter(([directory]) => !transient.some((name) => directory.startsWith(Path.join(root, name))))

const furnished = (store: Store) =>
  Effect.gen(function*() {
    yield* stored(store, { expiry: { at: start, deadline: undefined, lifetime: undefined } })
    return [yield* stored(store), yield* stored(store)] as const
  })

/**
 * These need not survive: a lost touch only ends a session early, an expired session is dead anyway, and a denied session has nothing that
 * could be lost.
 */
const volatile = ["touch", "removeExpired", "create that a limit denies"]

describe("durability", () => {
  for (const [name, write] of writes.filter(([name]) => !volatile.includes(name))) {
    it.scopedLive(`${name}: the change is on disk before it is acknowledged, and a content file before the marker that names it`, () =>
      Effect.gen(function*() {
        const root = yield* temporaryDirectory("files")
        const { around, contents, names, syncs } = ledger(root)
        const store = yield* interceptedFileStore(root, (step, run) => {
          const target = Path.basename(step.paths[1] ?? "")
          if (step.call === "rename" && target.startsWith("m")) assert.deepStrictEqual([...contents], [])
          return around(step, run)
        })
        assert.deepStrictEqual(store.capabilities, { durableDestroy: true, remote: false, limitsSubjects: true })
        const healthy = yield* openStore(root)
        const [one, other] = yield* furnished(healthy)
        contents.clear()
        names.clear()
        syncs.length = 0
        yield* write(store, one, other).run
        assert.isAbove(syncs.length, 0)
        assert.deepStrictEqual([[...contents], relevant(root, names)], [[], []])
      }))
  }

  it.scopedLive("`durability: \"none\"`: the store syncs nothing, and does not claim durableDestroy", () =>
    Effect.gen(function*() {
      const root = yield* temporaryDirectory("files")
      const { around, syncs } = ledger(root)
      const store = yield* interceptedFileStore(root, around, { durability: "none" })
      assert.deepStrictEqual(store.capabilities, { durableDestroy: false, remote: false, limitsSubjects: true })
      yield* works(store)
      assert.deepStrictEqual(syncs, [])
    }))

  it.scopedLive("if directories cannot be synced, the store works, and does not claim durableDestroy", () =>
    Effect.gen(function*() {
      const synced: Array<string> = []
      const store = yield* interceptedFileStore(yield* temporaryDirectory("files"), (step, run) => {
        // The error on Windows.
        if (step.call === "open") {
          return Effect.fail(new SystemError({ module: "FileSystem", method: "open", reason: "PermissionDenied" }))
        }
        if (step.call === "sync") synced.push(...step.paths)
        return run
      })
      assert.deepStrictEqual(store.capabilities, { durableDestroy: false, remote: false, limitsSubjects: true })
      yield* works(store)
      // Contents are still synced.
      assert.isAbove(synced.length, 0)
      for (const path of synced) assert.match(Path.basename(path), /^(?:c\d+_)?[0-9a-f]{32}$/)
    }))

  it.scopedLive("a new process finds the acknowledged writes of an earlier one", () =>
    Effect.gen(function*() {
      const root = yield* temporaryDirectory("files")
      const store = yield* openStore(root)
      const [one, other] = yield* furnished(store)
      yield* store.destroy(other.key)
      const third = yield* stored(store, { subject: "bob" })
      yield* store.revokeSubject(namespace, "bob")
      const next = yield* openStore(root)
      yield* isAlive(next, one, start)
      for (const { key } of [other, third]) assert.strictEqual((yield* next.load(key, start))._tag, "None")
    }))
})
