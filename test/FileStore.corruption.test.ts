import { it } from "@effect/vitest"
import { Effect, Inspectable, Option } from "effect"
import type { Stored } from "effect-session/Fixtures"
import { aRecord, day, hour, isAlive, isDead, namespace, start, stored } from "effect-session/Fixtures"
import { SessionStoreError } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { copyFileSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import * as Path from "node:path"
import { assert, describe } from "vitest"
import { encodeName, isContentName, shardOf } from "../src/internal/file/names.js"
import { openStore } from "./support/interceptedFileSystem.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

const directoryOf = (root: string, key: string) => Path.join(root, "records", shardOf(encodeName(key)), encodeName(key))

/** Returns the path of a session's content file. */
const contentOf = (root: string, key: string) => {
  const name = readdirSync(directoryOf(root, key)).find(isContentName)
  assert.isDefined(name)
  return Path.join(directoryOf(root, key), name ?? "")
}

/** A store with a session whose content file the test corrupts, and another one. */
const furnished = Effect.gen(function*() {
  const root = yield* temporaryDirectory("files")
  const store = yield* openStore(root, { durability: "none" })
  const one = yield* stored(store, { data: `{"secret":"hunter2"}`, subject: "ann", writeId: "w1" })
  const other = yield* stored(store, { subject: "bob" })
  return { root, store, one, other, content: contentOf(root, one.key) }
})

const assertCorrupt = <A>(operation: string, call: Effect.Effect<A, SessionStoreError>) =>
  Effect.map(Effect.flip(call), (error) => {
    assert.instanceOf(error, SessionStoreError)
    assert.deepStrictEqual([error.operation, error.reason], [operation, "corrupt"])
    assert.notInclude(Inspectable.toStringUnknown(error) + String(error) + String(error.cause), "hunter2")
  })

const readsOf = ({ key, record }: Stored, store: Store) =>
  [
    ["load", store.load(key, start)],
    ["save", store.save(key, record, { expectedVersion: 1, now: start })],
    ["touch", store.touch(key, { lastSeenAt: start, expiresAt: start + hour, now: start })],
    ["rotate", store.rotate(key, key, record, { expectedVersion: 1, now: start })],
    ["find", store.find(namespace, record.id, start)]
  ] as const

describe("a corrupt content file", () => {
  it.scopedLive("truncated to any length, every call fails with `corrupt` and leaves the file as it is", () =>
    Effect.gen(function*() {
      const { content, one, other, root, store } = yield* furnished
      const whole = readFileSync(content)
      for (let length = 0; length < whole.length; length++) {
        writeFileSync(content, whole)
        truncateSync(content, length)
        yield* assertCorrupt("load", store.load(one.key, start))
        assert.strictEqual(readFileSync(content).length, length)
      }
      for (const [operation, call] of readsOf(one, store)) {
        yield* assertCorrupt(operation, Effect.asVoid<unknown, SessionStoreError, never>(call))
      }
      assert.strictEqual(contentOf(root, one.key), content)
      assert.strictEqual(Option.getOrUndefined(yield* store.load(other.key, start))?.id, other.record.id)
      writeFileSync(content, whole)
      yield* isAlive(store, one, start)
    }))

  it.scopedLive("with any byte changed, a load fails with `corrupt`", () =>
    Effect.gen(function*() {
      const { content, one, store } = yield* furnished
      const whole = readFileSync(content)
      for (let at = 0; at < whole.length; at++) {
        const changed = Buffer.from(whole)
        changed[at] = (changed[at] ?? 0) ^ 1
        writeFileSync(content, changed)
        yield* assertCorrupt("load", store.load(one.key, start))
      }
    }))

  const corruptions: ReadonlyArray<readonly [string, (content: string, root: string, other: Stored) => void]> = [
    ["missing", (content) => rmSync(content)],
    ["empty", (content) => writeFileSync(content, "")],
    ["all zeros", (content) => writeFileSync(content, Buffer.alloc(300))],
    ["not JSON", (content) => writeFileSync(content, "hunter2")],
    [
      "of another session, at another version",
      (content, root, other) => copyFileSync(contentOf(root, other.key), content)
    ]
  ]

  for (const [name, corrupt] of corruptions) {
    it.scopedLive(`if it is ${name}, a load fails with \`corrupt\`, and destroy and revoke end the session`, () =>
      Effect.gen(function*() {
        const { content, one, other, root, store } = yield* furnished
        yield* store.save(other.key, other.record, { expectedVersion: 1, now: start })
        const second = yield* stored(store, { subject: "ann" })
        for (
          const [{ key, record }, ending] of [
            [one, store.destroy(one.key)],
            [second, Effect.map(store.revoke(namespace, second.record.id), (ended) => assert.isTrue(ended))]
          ] as const
        ) {
          corrupt(key === one.key ? content : contentOf(root, key), root, other)
          yield* assertCorrupt("load", store.load(key, start))
          yield* ending
          yield* isDead(store, { key, record }, start)
        }
        assert.strictEqual(yield* store.create(one.key, aRecord(), start), "created")
      }))
  }

  it.scopedLive("`removeExpired` removes it by the expiry in its marker", () =>
    Effect.gen(function*() {
      const { content, one, other, store } = yield* furnished
      writeFileSync(content, "hunter2")
      assert.deepStrictEqual(yield* store.count(start), { current: 2, expired: 0 })
      assert.strictEqual(yield* store.removeExpired({ now: start + hour - 1, limit: 10 }), 0)
      yield* assertCorrupt("load", store.load(one.key, start))
      assert.strictEqual(yield* store.removeExpired({ now: start + day, limit: 10 }), 2)
      yield* isDead(store, one, start)
      yield* isDead(store, other, start)
    }))

  it.scopedLive("the store neither uses nor removes files of other programs", () =>
    Effect.gen(function*() {
      const { one, root, store } = yield* furnished
      const foreignFiles = ["records", "ids", "subjects", "epochs"].flatMap((family) => [
        Path.join(root, family, "README"),
        ...readdirSync(Path.join(root, family)).slice(0, 1).map((shard) => Path.join(root, family, shard, "README"))
      ]).concat(Path.join(directoryOf(root, one.key), "README"))
      for (const file of foreignFiles) writeFileSync(file, "")
      yield* isAlive(store, one, start)
      assert.deepStrictEqual(yield* store.count(start), { current: 2, expired: 0 })
      yield* store.removeExpired({ now: start, limit: 10 })
      for (const file of foreignFiles) assert.strictEqual(readFileSync(file, "utf8"), "")
      assert.strictEqual(yield* store.removeExpired({ now: Date.now() + day, limit: 10 }), 2)
      assert.isAbove(foreignFiles.length, 6)
    }))
})
