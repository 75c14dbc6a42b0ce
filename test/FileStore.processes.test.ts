/**
 * Several processes that share the directory of a file store.
 */
import { it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { aRecord, freshId, freshKey, isAlive, loaded, minute, start, stored } from "effect-session/Fixtures"
import { chmodSync, chownSync, readdirSync, statSync } from "node:fs"
import * as Path from "node:path"
import { assert, describe } from "vitest"
import { bundle, startProcess, startProgram } from "./support/childProcesses.js"
import { range } from "./support/concurrency.js"
import { dataOf } from "./support/fileHistory.js"
import type { Job } from "./support/fileStoreProcess.js"
import { openStore } from "./support/interceptedFileSystem.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

/** Starts a process with a job. */
const child = (program: string, job: Job) => startProgram(program, job)

const live = (title: string, body: Effect.Effect<void, unknown, Scope.Scope>, timeout?: number) =>
  it.scopedLive(title, () => body, timeout)

describe("processes on one directory", () => {
  live(
    "no update is lost when four processes increment one session",
    Effect.gen(function*() {
      const program = yield* bundle("fileStoreProcess")
      const directory = yield* temporaryDirectory("files")
      const store = yield* openStore(directory)
      const { key } = yield* stored(store, { data: "0" })
      const children = yield* Effect.forEach(
        range(4),
        () => child(program, { do: "increment", directory, key, times: 50 })
      )
      yield* Effect.forEach(children, ({ lines }) => lines)
      const { data, version } = yield* loaded(store, key, start)
      assert.deepStrictEqual({ data, version }, { data: "200", version: 201 })
    })
  )

  live(
    "25,000 reads beside a writer are never torn, and no reader sees an older version after a newer one",
    Effect.gen(function*() {
      const program = yield* bundle("fileStoreProcess")
      const directory = yield* temporaryDirectory("files")
      const store = yield* openStore(directory)
      const { key } = yield* stored(store, { data: dataOf(1) })
      const writer = yield* child(program, { do: "saveRepeatedly", directory, key, durability: "none" })
      yield* writer.printed(1)
      const seen = yield* Effect.forEach(range(20), () =>
        Effect.gen(function*() {
          let last = { version: 0, lastSeenAt: 0 }
          for (let i = 0; i < 1250; i++) {
            const record = yield* loaded(store, key, start)
            assert.strictEqual(record.data, dataOf(record.version))
            assert.isAtLeast(record.version, last.version)
            assert.isAtLeast(record.lastSeenAt, last.lastSeenAt)
            last = record
          }
          return last.version
        }), { concurrency: "unbounded" })
      yield* writer.kill
      assert.isAbove(Math.max(...seen), 200)
    }),
    1_800_000
  )

  live(
    "two concurrent `removeExpired` count each record once",
    Effect.gen(function*() {
      const program = yield* bundle("fileStoreProcess")
      const directory = yield* temporaryDirectory("files")
      const store = yield* openStore(directory, { durability: "none" })
      const expiry = { at: start + minute, deadline: undefined, lifetime: undefined }
      yield* Effect.forEach(range(300), () => stored(store, { expiry }), { concurrency: 16 })
      const living = yield* stored(store)
      const job: Job = { do: "removeExpired", directory, now: start + minute, limit: 10 }
      const children = yield* Effect.forEach(range(2), () => child(program, job))
      const counts = yield* Effect.forEach(
        children,
        ({ lines }) => Effect.map(lines, (lines) => lines.filter((line) => line !== `"ready"`).map(Number))
      )
      assert.strictEqual(counts.flat().reduce((a, b) => a + b, 0), 300)
      assert.isTrue(counts.flat().every((count) => count <= 10))
      yield* isAlive(store, living, start + minute)
      assert.deepStrictEqual(yield* store.count(start + minute), { current: 1, expired: 0 })
      assert.strictEqual(readdirSync(Path.join(directory, "scratch")).length, 0)
    })
  )

  for (const umask of [0, 0o777, 0o022]) {
    live(
      `with umask ${
        umask.toString(8).padStart(3, "0")
      }, directories have mode 0700 and files 0600, and the store works`,
      Effect.gen(function*() {
        const program = yield* bundle("fileStoreProcess")
        const parent = yield* temporaryDirectory("files")
        // Modes do not restrict root, so the test runs as another user.
        const user = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}
        if (user.uid !== undefined) chownSync(parent, user.uid, user.gid)
        chmodSync(parent, 0o755)
        const directory = Path.join(parent, "sessions")
        const job: Job = { do: "useStore", directory, umask }
        const { lines } = yield* startProgram(program, job, user)
        assert.deepStrictEqual(yield* lines, [`"lived"`])
        const all = readdirSync(directory, { recursive: true, encoding: "utf8" }).map((name) =>
          Path.join(directory, name)
        )
        for (const path of [directory, ...all]) {
          const { mode } = statSync(path)
          assert.strictEqual((mode & 0o7777).toString(8), statSync(path).isDirectory() ? "700" : "600", path)
        }
        assert.isAbove(all.filter((path) => !statSync(path).isDirectory()).length, 8)
        // Another process can use the directory.
        assert.deepStrictEqual(yield* Effect.flatMap(startProgram(program, job, user), ({ lines }) => lines), [
          `"lived"`
        ])
      })
    )
  }

  it.scopedLive.skipIf(process.getuid?.() !== 0)(
    "a process of another user fails to open a directory of root, and leaves it as it is",
    () =>
      Effect.gen(function*() {
        const program = yield* bundle("fileStoreProcess")
        const directory = yield* temporaryDirectory("files")
        chmodSync(directory, 0o755)
        const job: Job = { do: "useStore", directory, umask: 0 }
        const { lines } = yield* startProgram(program, job, { uid: 65534, gid: 65534 })
        const problem = yield* Effect.flip(lines)
        assert.match(String(problem), /belongs to the user 0.*runs as the user 65534/)
        assert.deepStrictEqual(readdirSync(directory), [])
      })
  )

  live(
    "writes beyond the file size limit fail and change nothing, and smaller writes succeed",
    Effect.gen(function*() {
      const program = yield* bundle("fileStoreProcess")
      const directory = yield* temporaryDirectory("files")
      const store = yield* openStore(directory)
      const { key, record } = yield* stored(store)
      const [newKey, id] = [freshKey(), freshId()]
      const filesOf = () =>
        readdirSync(directory, { recursive: true, encoding: "utf8" }).filter((path) =>
          !statSync(Path.join(directory, path)).isDirectory() && !path.startsWith("reasons/")
        )
      const before = filesOf().length
      // The limit on the size of a written file needs no root, unlike a full disk.
      const job: Job = { do: "fill", directory, key, newKey, id, record: aRecord() }
      const { lines } = yield* startProcess("sh", [
        "-c",
        `ulimit -f 64; exec "$0" "$@"`,
        process.execPath,
        program,
        JSON.stringify(job)
      ])
      const [saved, rotated, created, old, there, createdThen, savedThen] = (yield* lines).map((line): unknown =>
        JSON.parse(line)
      )
      assert.deepStrictEqual([saved, rotated, created], ["unavailable", "unavailable", "unavailable"])
      assert.deepStrictEqual(old, JSON.parse(JSON.stringify(record)))
      assert.deepStrictEqual([there, createdThen, savedThen], [false, "created", "saved"])
      yield* isAlive(store, { key, record: { ...record, data: `"small"`, version: 2 } }, start)
      yield* store.destroy(newKey)
      // The failed writes left no files.
      assert.strictEqual(filesOf().length, before)
    })
  )
})
