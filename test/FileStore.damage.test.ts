import { it } from "@effect/vitest"
import { Effect, Inspectable, Option } from "effect"
import { SessionStoreError } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { copyFileSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import * as Path from "node:path"
import { assert, describe } from "vitest"
import { isContentName, shardOf, spell } from "../src/internal/file/names.js"
import type { Stored } from "../src/internal/testing/records.js"
import { aRecord, day, hour, isAlive, isDead, namespace, start, stored } from "../src/internal/testing/records.js"
import { openStore } from "./support/interceptedFileSystem.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

const directoryOf = (root: string, key: string) => Path.join(root, "records", shardOf(spell(key)), spell(key))

/** The file with the content of a session. */
const contentOf = (root: string, key: string) => {
  const name = readdirSync(directoryOf(root, key)).find(isContentName)
  assert.isDefined(name)
  return Path.join(directoryOf(root, key), name ?? "")
}

/** A store with a session that is about to be damaged, and one that is not. */
const furnished = Effect.gen(function*() {
  const root = yield* temporaryDirectory("files")
  const store = yield* openStore(root, { durability: "none" })
  const one = yield* stored(store, { data: `{"secret":"do not tell"}`, subject: "ann", writeId: "w1" })
  const other = yield* stored(store, { subject: "bob" })
  return { root, store, one, other, content: contentOf(root, one.key) }
})

const assertCorrupt = <A>(operation: string, call: Effect.Effect<A, SessionStoreError>) =>
  Effect.map(Effect.flip(call), (error) => {
    assert.instanceOf(error, SessionStoreError)
    assert.deepStrictEqual([error.operation, error.reason], [operation, "corrupt"])
    assert.notInclude(Inspectable.toStringUnknown(error) + String(error) + String(error.cause), "do not tell")
  })

const readsOf = ({ key, record }: Stored, store: Store) =>
  [
    ["load", store.load(key, start)],
    ["save", store.save(key, record, { expectedVersion: 1, now: start })],
    ["touch", store.touch(key, { lastSeenAt: start, expiresAt: start + hour, now: start })],
    ["rotate", store.rotate(key, key, record, { expectedVersion: 1, now: start })],
    ["find", store.find(namespace, record.id, start)]
  ] as const

describe("a file that is damaged", () => {
  it.scopedLive("cut at any length it is an error, never an absent session, and it is left alone", () =>
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
      // Put back, it is as it was.
      writeFileSync(content, whole)
      yield* isAlive(store, one, start)
    }))

  it.scopedLive("changed in any byte it is an error", () =>
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

  const spoilt: ReadonlyArray<readonly [string, (content: string, root: string, other: Stored) => void]> = [
    ["missing", (content) => rmSync(content)],
    ["empty", (content) => writeFileSync(content, "")],
    ["all zeros", (content) => writeFileSync(content, Buffer.alloc(300))],
    ["not JSON", (content) => writeFileSync(content, "do not tell")],
    [
      "of another session, at another version",
      (content, root, other) => copyFileSync(contentOf(root, other.key), content)
    ]
  ]

  for (const [name, spoil] of spoilt) {
    it.scopedLive(`is an error if it is ${name}; destroy and revoke still end its session`, () =>
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
          spoil(key === one.key ? content : contentOf(root, key), root, other)
          yield* assertCorrupt("load", store.load(key, start))
          yield* ending
          yield* isDead(store, { key, record }, start)
        }
        assert.strictEqual(yield* store.create(one.key, aRecord(), start), "created")
      }))
  }

  it.scopedLive("is removed when it has expired, by what its marker says", () =>
    Effect.gen(function*() {
      const { content, one, other, store } = yield* furnished
      writeFileSync(content, "do not tell")
      assert.deepStrictEqual(yield* store.count(start), { current: 2, expired: 0 })
      assert.strictEqual(yield* store.removeExpired({ now: start + hour - 1, limit: 10 }), 0)
      yield* assertCorrupt("load", store.load(one.key, start))
      assert.strictEqual(yield* store.removeExpired({ now: start + day, limit: 10 }), 2)
      yield* isDead(store, one, start)
      yield* isDead(store, other, start)
    }))

  it.scopedLive("files that are not ours are neither used nor removed", () =>
    Effect.gen(function*() {
      const { one, root, store } = yield* furnished
      const strangers = ["records", "ids", "subjects", "epochs"].flatMap((family) => [
        Path.join(root, family, "README"),
        ...readdirSync(Path.join(root, family)).slice(0, 1).map((shard) => Path.join(root, family, shard, "README"))
      ]).concat(Path.join(directoryOf(root, one.key), "README"))
      for (const stranger of strangers) writeFileSync(stranger, "")
      yield* isAlive(store, one, start)
      assert.deepStrictEqual(yield* store.count(start), { current: 2, expired: 0 })
      yield* store.removeExpired({ now: start, limit: 10 })
      for (const stranger of strangers) assert.strictEqual(readFileSync(stranger, "utf8"), "")
      assert.strictEqual(yield* store.removeExpired({ now: Date.now() + day, limit: 10 }), 2)
      assert.isAbove(strangers.length, 6)
    }))
})
