import { it } from "@effect/vitest"
import { Effect, Option, Redacted } from "effect"
import { StoredEngine } from "effect-session"
import { aRecord, freshKey, hour, isAlive, isDead, minute, start, stored } from "effect-session/Fixtures"
import { SessionConfigError } from "effect-session/SessionConfigError"
import { SessionStoreError } from "effect-session/SessionStore"
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import * as Path from "node:path"
import { assert, describe } from "vitest"
import * as Tokens from "../src/internal/crypto/sessionToken.js"
import { encodeName, shardOf } from "../src/internal/file/names.js"
import type { Step } from "./support/interceptedFileSystem.js"
import { interceptedFileStore, openStore } from "./support/interceptedFileSystem.js"
import { reads, storeTwoRecords, works, writes } from "./support/storeCalls.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

/** Lists every file and directory below `root`, with its mode. */
const treeOf = (root: string): ReadonlyArray<readonly [path: string, mode: number]> =>
  readdirSync(root, { recursive: true, encoding: "utf8" })
    .map((path) => [path, statSync(Path.join(root, path)).mode & 0o7777] as const)

describe("the directory of a FileStore", () => {
  it.scopedLive("is created with mode 0700 if it is missing", () =>
    Effect.gen(function*() {
      const directory = Path.join(yield* temporaryDirectory("files"), "var/lib/sessions")
      yield* works(yield* openStore(directory))
      assert.strictEqual(statSync(directory).mode & 0o7777, 0o700)
    }))

  it.scopedLive("contains only directories of mode 0700 and files of mode 0600", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryDirectory("files")
      const store = yield* openStore(directory)
      yield* works(store)
      yield* stored(store)
      const wrong = treeOf(directory).filter(([path, mode]) =>
        mode !== (statSync(Path.join(directory, path)).isDirectory() ? 0o700 : 0o600)
      )
      assert.deepStrictEqual(wrong, [])
      assert.isAbove(treeOf(directory).length, 20)
    }))

  const rejected = (name: string, arrange: (directory: string) => void, problem: RegExp) =>
    it.scopedLive(`is rejected if ${name}`, () =>
      Effect.gen(function*() {
        const directory = Path.join(yield* temporaryDirectory("files"), "sessions")
        mkdirSync(directory)
        arrange(directory)
        const error = yield* Effect.flip(openStore(directory))
        assert.instanceOf(error, SessionConfigError)
        assert.match(error.message, problem)
        assert.include(error.message, directory)
      }))

  rejected("it is a file", (directory) => {
    renameSync(directory, `${directory}.old`)
    writeFileSync(directory, "")
  }, /is not a directory/)
  it.scopedLive("is rejected if it cannot be created", () =>
    Effect.gen(function*() {
      const parent = Path.join(yield* temporaryDirectory("files"), "file")
      writeFileSync(parent, "")
      // Not even root can create a directory below a file.
      const error = yield* Effect.flip(openStore(Path.join(parent, "sessions")))
      assert.instanceOf(error, SessionConfigError)
      assert.match(
        error.message,
        /file\/sessions cannot be used \(.*\)\. Give the store a directory that this process owns and may write/
      )
    }))
  rejected("its group has write permission", (directory) => chmodSync(directory, 0o770), /writable by others/)
  rejected("others have write permission", (directory) => chmodSync(directory, 0o702), /writable by others/)
  // Another user could create the directories below it first, and would own them.
  rejected(
    "it is writable by others and has the sticky bit, like /tmp",
    (directory) => chmodSync(directory, 0o1777),
    /writable by others.*chmod go-w/
  )
  rejected(
    "a directory below it is a file",
    (directory) => writeFileSync(Path.join(directory, "ids"), ""),
    /is not a directory/
  )
  rejected("a directory below it is a symbolic link", (directory) => {
    mkdirSync(`${directory}.elsewhere`)
    symlinkSync(`${directory}.elsewhere`, Path.join(directory, "records"))
  }, /symbolic link/)
  rejected("a directory below it is writable by others", (directory) => {
    mkdirSync(Path.join(directory, "records"))
    chmodSync(Path.join(directory, "records"), 0o777)
  }, /records is writable by others.*chmod go-w/)
  rejected("it is a symbolic link", (directory) => {
    renameSync(directory, `${directory}.elsewhere`)
    symlinkSync(`${directory}.elsewhere`, directory)
  }, /symbolic link.*Name the directory itself/)
  rejected("a directory above it is writable by others and has no sticky bit", (directory) => {
    chmodSync(Path.dirname(directory), 0o777)
  }, /is writable by everyone.*chmod o-w/)

  it.scopedLive("is rejected if it is a dangling symbolic link, and nothing is created at the target", () =>
    Effect.gen(function*() {
      const parent = yield* temporaryDirectory("files")
      const directory = Path.join(parent, "sessions")
      symlinkSync(Path.join(parent, "elsewhere"), directory)
      const error = yield* Effect.flip(openStore(directory))
      assert.instanceOf(error, SessionConfigError)
      assert.match(error.message, /symbolic link/)
      assert.deepStrictEqual(readdirSync(parent), ["sessions"])
    }))

  it.scopedLive("may be below a symbolic link, and below a directory with the sticky bit", () =>
    Effect.gen(function*() {
      const parent = yield* temporaryDirectory("files")
      mkdirSync(Path.join(parent, "shared"))
      chmodSync(Path.join(parent, "shared"), 0o1777)
      symlinkSync(Path.join(parent, "shared"), Path.join(parent, "link"))
      yield* works(yield* openStore(Path.join(parent, "link/sessions")))
    }))

  /** Only root can give a directory to another user. */
  const asRoot = it.scopedLive.skipIf(process.getuid?.() !== 0)

  for (const part of [".", "records"]) {
    asRoot(
      `is rejected for root if ${part === "." ? "it" : "a directory below it"} belongs to another user`,
      () =>
        Effect.gen(function*() {
          const directory = yield* temporaryDirectory("files")
          mkdirSync(Path.join(directory, part), { recursive: true })
          chownSync(Path.join(directory, part), 65534, 65534)
          const error = yield* Effect.flip(openStore(directory))
          assert.instanceOf(error, SessionConfigError)
          assert.include(error.message, Path.join(directory, part))
          assert.match(error.message, /belongs to the user 65534.*runs as the user 0/)
        })
    )
  }

  it.scopedLive("may be readable by others", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryDirectory("files")
      chmodSync(directory, 0o755)
      yield* works(yield* openStore(directory))
    }))

  it.scopedLive("if it disappears, every call fails with `unavailable`: no session is reported as absent", () =>
    Effect.gen(function*() {
      const directory = Path.join(yield* temporaryDirectory("files"), "sessions")
      const store = yield* openStore(directory)
      const one = yield* storeTwoRecords(store)
      const limit = { max: 9, onFull: "oldest" } as const
      const more: typeof writes = [
        ["create within a limit", (store) => store.create(freshKey(), aRecord(), start, limit)],
        [
          "rotate within a limit",
          (store, { key, record }) => store.rotate(key, freshKey(), record, { expectedVersion: 1, now: start, limit })
        ],
        ["revoke of a subject's session", (store, { record }) => store.revoke(record.namespace, record.id, "ann")],
        ["endReason", (store, { key }) => store.endReason(key, start)]
      ]
      for (const [name, away] of [["unmounted", `${directory}.away`], ["emptied", `${directory}.again`]] as const) {
        renameSync(directory, away)
        if (name === "emptied") mkdirSync(directory)
        for (const [call, run] of [...reads, ...writes, ...more]) {
          const error = yield* Effect.flip(run(store, one))
          assert.instanceOf(error, SessionStoreError, `${name}: ${call}`)
          assert.deepStrictEqual([error.operation, error.reason], [call.split(" ")[0], "unavailable"])
        }
        if (name === "emptied") renameSync(directory, `${directory}.empty`)
        renameSync(away, directory)
        yield* isAlive(store, one, start)
      }
    }))
})

describe("paths of a FileStore", () => {
  const name = /^(?:[0-9a-f_]+|p|[mcx][0-9a-f]+(?:_-?[0-9a-f.]+)*|[0-9a-f]{86}_[a-z]+_[0-9]+)$/

  /** A store that records its file system steps. */
  const recording = (directory: string) =>
    Effect.gen(function*() {
      const steps: Array<Step> = []
      const store = yield* interceptedFileStore(directory, (step, run) => {
        steps.push(step)
        return run
      })
      steps.length = 0
      return { steps, store }
    })

  const assertOurs = (directory: string, steps: ReadonlyArray<Step>) => {
    for (const path of steps.flatMap(({ paths }) => paths)) {
      assert.isTrue(path.startsWith(`${directory}/`), path)
      const [family = "", ...names] = path.slice(directory.length + 1).split("/")
      assert.include(["records", "ids", "subjects", "epochs", "reasons", "locks", "scratch"], family)
      assert.isAtMost(names.length, 3, path)
      for (const part of names) assert.match(part, name)
      // The limit of most file systems.
      for (const part of names) assert.isAtMost(part.length, 255)
    }
  }

  const hostile = [
    "../../../etc/passwd",
    "/etc/passwd",
    "..\\..\\windows",
    "C:",
    "CON",
    "%2e%2e%2f",
    "a\u0000b",
    "x".repeat(3000),
    ".",
    "..",
    "",
    "~",
    "a b\n",
    "\ud800",
    "\u{1f600}"
  ]

  it.scopedLive("contain only hashes, hex and numbers, for any namespace and subject", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryDirectory("files")
      const { steps, store } = yield* recording(directory)
      for (const text of hostile) {
        const one = yield* stored(store, { namespace: text, subject: text, writeId: text, data: text })
        yield* isAlive(store, one, start)
        yield* store.revokeSubject(text, text, one.record.id)
        yield* isAlive(store, one, start)
        yield* store.revokeSubject(text, text)
        yield* store.revokeAll(text)
        yield* isDead(store, one, start)
        yield* store.revoke(text, one.record.id)
        const limit = { max: 1, onFull: "oldest" } as const
        const two = { namespace: text, subject: text }
        yield* store.create(freshKey(), aRecord(two), start, limit)
        yield* store.create(freshKey(), aRecord(two), start, limit)
      }
      yield* works(store)
      yield* store.removeExpired({ now: start + hour, limit: 100 })
      assert.isAbove(steps.length, 1000)
      assertOurs(directory, steps)
    }))

  it.scopedLive("contain nothing of a cookie's value", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryDirectory("files")
      const { steps, store } = yield* recording(directory)
      const engine = yield* StoredEngine.make(store).bind({ namespace: "test", cookieName: "session" })
      const values = hostile.flatMap((text) => [text, `r1.${text}`])
      for (const value of values) {
        assert.isTrue(Option.isNone(yield* engine.open(Redacted.make(value), start)))
        yield* engine.destroy(Redacted.make(value))
      }
      assert.deepStrictEqual(steps, [])
      const token = Tokens.fromBytes(new Uint8Array(Tokens.byteLength))
      assert.isTrue(Option.isNone(yield* engine.open(token, start)))
      assert.isAbove(steps.length, 0)
      assertOurs(directory, steps)
      for (const path of steps.flatMap(({ paths }) => paths)) {
        assert.notInclude(path, Redacted.value(token))
        assert.notInclude(path, encodeName(Redacted.value(token)))
      }
    }))

  it.scopedLive("the store does not write through a planted symbolic link", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryDirectory("files")
      const outside = Path.join(yield* temporaryDirectory("outside"), "file")
      writeFileSync(outside, "precious")
      const store = yield* openStore(directory)
      const one = yield* stored(store)
      const { id, key } = { id: aRecord().id, key: freshKey() }
      // The predictable names are those of an id and of a key.
      const reservation = readdirSync(Path.join(directory, "ids", shardOf(encodeName(one.record.id))))
        .find((name) => name.split("_").length === 2)
        ?.replace(encodeName(one.record.id), encodeName(id)) ?? ""
      mkdirSync(Path.join(directory, "ids", shardOf(encodeName(id))), { recursive: true })
      symlinkSync(outside, Path.join(directory, "ids", shardOf(encodeName(id)), reservation))
      assert.strictEqual(yield* store.create(freshKey(), aRecord({ id }), start), "exists")
      mkdirSync(Path.join(directory, "records", shardOf(encodeName(key))), { recursive: true })
      symlinkSync(outside, Path.join(directory, "records", shardOf(encodeName(key)), encodeName(key)))
      assert.strictEqual(yield* store.create(key, aRecord(), start), "exists")
      assert.strictEqual(yield* store.rotate(one.key, key, one.record, { expectedVersion: 1, now: start }), "conflict")
      assert.strictEqual(readFileSync(outside, "utf8"), "precious")
      yield* isAlive(store, one, start)
    }))
})

describe("the files of a session", () => {
  const filesOf = (directory: string) =>
    treeOf(directory).map(([path]) => path).filter((path) =>
      !statSync(Path.join(directory, path)).isDirectory() && !path.startsWith("reasons/")
    )

  it.scopedLive("do not grow in number with writes, and are gone but for the reasons after the session has ended", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryDirectory("files")
      const store = yield* openStore(directory, { durability: "none" })
      const { key, record } = yield* stored(store)
      const before = filesOf(directory).length
      for (let version = 1; version <= 500; version++) {
        yield* store.save(key, record, { expectedVersion: version, now: start })
        yield* store.touch(key, { lastSeenAt: start + version, expiresAt: start + hour + version, now: start })
      }
      assert.strictEqual(filesOf(directory).length, before)
      const newKey = freshKey()
      assert.strictEqual(yield* store.rotate(key, newKey, record, { expectedVersion: 501, now: start }), "saved")
      assert.strictEqual(filesOf(directory).length, before)
      yield* store.destroy(newKey)
      assert.deepStrictEqual(filesOf(directory), [])
    }))

  it.scopedLive("an earlier touch does not prolong a lifetime that a save shortens", () =>
    Effect.gen(function*() {
      const store = yield* openStore(yield* temporaryDirectory("files"))
      const { key, record } = yield* stored(store)
      yield* store.touch(key, { lastSeenAt: start + minute, expiresAt: start + 3 * hour, now: start })
      const lifetime = { _tag: "Until", at: start + 2 * minute } as const
      const expiry = { ...record.expiry, at: start + 2 * minute, lifetime }
      assert.strictEqual(yield* store.save(key, { ...record, expiry }, { expectedVersion: 1, now: start }), "saved")
      const saved = { key, record: { ...record, expiry, version: 2, lastSeenAt: start + minute } }
      yield* isAlive(store, saved, start + 2 * minute - 1)
      yield* isDead(store, saved, start + 2 * minute)
    }))
})
