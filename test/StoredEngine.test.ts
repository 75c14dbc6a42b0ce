import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Effect, FastCheck, Fiber, Layer, Option, Redacted, TestClock } from "effect"
import { MemoryStore, SessionToken, StoredEngine } from "effect-session"
import { SessionDirectory } from "effect-session/SessionDirectory"
import { SessionEngine } from "effect-session/SessionEngine"
import type { CookieValue } from "effect-session/SessionEngine"
import { SessionRevocation } from "effect-session/SessionRevocation"
import { SessionStore } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { createHash } from "node:crypto"
import { assert, describe } from "vitest"
import { storeKeys } from "../src/internal/store/keys.js"
import { forAll } from "../src/internal/testing/law.js"
import { start } from "../src/internal/testing/records.js"
import { engineOf, namespace, next, opened, record, seen, withSession, written } from "./support/engines.js"
import { faulty, recorded } from "./support/recordedStore.js"
import { freshPrefix, postgresClient, sqliteClient, sqlStore, stores } from "./support/stores.js"

describe("a value that a visitor sends", () => {
  const valid = Redacted.value(SessionToken.fromBytes(new Uint8Array(SessionToken.byteLength)))
  const malformed = [
    "",
    valid.slice(0, -1),
    `${valid}A`,
    ` ${valid}`,
    `${valid}\n`,
    `"${valid}"`,
    valid.slice(3),
    valid.replace("r1.", "R1."),
    valid.replace("r1.", "r2."),
    valid.replace("A", "%41"),
    valid.replace("A", "+"),
    valid.replace("A", "\u0000"),
    // The same bytes in another spelling: spare bits that are not zero.
    `${valid.slice(0, -1)}B`,
    "r1.".repeat(100_000)
  ]

  const untouched = (text: string) =>
    Effect.gen(function*() {
      const { calls, store } = recorded(MemoryStore.make())
      const engine = yield* engineOf(store)
      const value = Redacted.make(text)
      assert.isTrue(Option.isNone(yield* engine.open(value, start)))
      for (const tag of ["Save", "Rotate", "Touch"] as const) {
        const outcome = yield* engine.write({ _tag: tag, value, record: record(), expectedVersion: 1 }, start)
        assert.deepStrictEqual(outcome, { _tag: "Gone" })
      }
      yield* engine.destroy(value)
      assert.deepStrictEqual(calls, [])
    })

  it.effect("malformed, it is nobody's, and the store is not asked", () => Effect.forEach(malformed, untouched))

  // Any text, and tokens with one place changed.
  const text = FastCheck.oneof(
    FastCheck.string(),
    FastCheck.tuple(FastCheck.nat(45), FastCheck.string({ maxLength: 2 })).map(([at, part]) =>
      valid.slice(0, at) + part + valid.slice(at + 1)
    )
  ).filter((text) => Option.isNone(SessionToken.parse(text)))

  it.effect("whatever it is, only a token leads to the store", () => forAll(text, untouched, 200))

  it.effect("well-formed but unknown, it is nobody's, and never adopted", () =>
    Effect.gen(function*() {
      const { calls, store } = recorded(MemoryStore.make())
      const engine = yield* engineOf(store)
      assert.isTrue(Option.isNone(yield* engine.open(Redacted.make(valid), start)))
      const { value } = yield* written(engine, { _tag: "Create", record: record() })
      assert.notStrictEqual(Redacted.value(value), valid)
      assert.deepStrictEqual(calls.map(({ operation }) => operation), ["load", "create"])
    }))

  it.effect("while the store is down, it is an error, and after a second of silence too", () =>
    Effect.gen(function*() {
      const { engine, value } = yield* withSession(faulty({ load: ["refused", "silent"] }))
      assert.strictEqual((yield* Effect.flip(engine.open(value, start))).reason, "unavailable")
      const waiting = yield* Effect.fork(Effect.flip(engine.open(value, start)))
      yield* TestClock.adjust("999 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(waiting)))
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(waiting)).reason, "timeout")
    }))

  it.effect("the time limit is an option", () =>
    Effect.gen(function*() {
      const { store } = recorded(MemoryStore.make(), faulty({ load: ["silent"] }), true)
      const engine = yield* engineOf(store, { timeout: "20 seconds" })
      const waiting = yield* Effect.fork(Effect.flip(engine.open(Redacted.make(valid), start)))
      yield* TestClock.adjust("19999 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(waiting)))
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(waiting)).reason, "timeout")
    }))
})

describe("a key or an id that is taken", () => {
  /** Creates a record whose id is taken, until just before the given call. */
  const createTaken = (freeAt: number) =>
    Effect.gen(function*() {
      const memory = MemoryStore.make()
      const owner = yield* written(yield* engineOf(memory), { _tag: "Create", record: record() })
      const { id } = owner.record
      let creates = 0
      const { calls, store } = recorded(memory, (operation, call) =>
        operation === "create" && ++creates === freeAt ? Effect.zipRight(memory.revoke(namespace, id), call) : call)
      const engine = yield* engineOf(store)
      const mine = record({ id, data: `"mine"` })
      const outcome = yield* Effect.either(engine.write({ _tag: "Create", record: mine }, start))
      const keys = new Set(calls.map(({ args }) =>
        args[0]
      ))
      return { owner, mine, engine, outcome, calls: calls.length, keys: keys.size }
    })

  it.effect("is never adopted: another token is drawn", () =>
    Effect.gen(function*() {
      const { calls, engine, keys, mine, outcome, owner } = yield* createTaken(3)
      assert.deepStrictEqual([calls, keys], [3, 3])
      const { value } = yield* Effect.flatMap(outcome, (outcome) =>
        outcome._tag === "Written" ? Effect.succeed(outcome) : Effect.dieMessage(outcome._tag))
      assert.deepStrictEqual(yield* opened(engine, value), mine)
      assert.isUndefined(yield* opened(engine, owner.value))
    }))

  it.effect("three times in a row is an error, and its owner keeps it", () =>
    Effect.gen(function*() {
      const { calls, engine, keys, outcome, owner } = yield* createTaken(4)
      assert.deepStrictEqual([calls, keys], [3, 3])
      assert.strictEqual((yield* Effect.flip(outcome)).reason, "corrupt")
      assert.deepStrictEqual(yield* opened(engine, owner.value), owner.record)
    }))
})

describe("what a copy of the store tells", () => {
  /** Every way in which the bytes of a token could have been written down. */
  const spellings = (value: CookieValue): ReadonlyArray<string> => {
    const wire = Redacted.value(value)
    const bytes = Buffer.from(wire.slice(3), "base64url")
    const hex = bytes.toString("hex")
    return [
      wire,
      wire.slice(3),
      bytes.toString("base64").replace("=", ""),
      hex,
      hex.toUpperCase(),
      bytes.toString("latin1"),
      bytes.toString("utf8"),
      [...bytes].join(",")
    ]
  }

  /** The life of a session, up to a dump of what the store was given or holds; each token that was ever valid. */
  const life = (store: Store) =>
    Effect.gen(function*() {
      const engine = yield* engineOf(store, { timeout: "20 seconds" })
      const data = `"to be found in every dump"`
      const first = yield* written(engine, { _tag: "Create", record: record({ data }) })
      const saved = { ...first.record, version: 2 }
      yield* written(engine, { _tag: "Save", value: first.value, record: saved, expectedVersion: 1 })
      yield* written(engine, { _tag: "Touch", value: first.value, record: seen(saved) })
      const second = yield* written(engine, {
        _tag: "Rotate",
        value: first.value,
        record: { ...saved, version: 3 },
        expectedVersion: 2
      })
      const third = yield* written(engine, { _tag: "Create", record: record() })
      yield* engine.destroy(third.value)
      yield* store.revokeSubject(namespace, "somebody")
      assert.isDefined(yield* opened(engine, second.value))
      return [first.value, second.value, third.value]
    })

  const tellsNothing = (dump: string, values: ReadonlyArray<CookieValue>) => {
    // The dump is one: the data is in it, and so is the key.
    assert.include(dump, "to be found in every dump")
    const [, current] = values
    const token = Option.getOrThrow(SessionToken.parse(current === undefined ? "" : Redacted.value(current)))
    assert.include(dump, storeKeys(namespace)(token))
    for (const value of values) {
      for (const spelling of spellings(value)) assert.notInclude(dump, spelling)
    }
  }

  it.effect("memory: no token is in any call", () =>
    Effect.gen(function*() {
      const { calls, store } = recorded(MemoryStore.make())
      const values = yield* life(store)
      tellsNothing(calls.map(({ args }) => textOf(args)).join("\n"), values)
    }))

  for (const [name, client] of [["sqlite", () => sqliteClient], ["postgres", () => postgresClient()]] as const) {
    it.live(`${name}: no token is in any table`, () => {
      const prefix = freshPrefix()
      return Effect.gen(function*() {
        const values = yield* life(yield* SessionStore)
        const sql = yield* SqlClient
        const tables = yield* Effect.forEach(
          ["sessions", "session_epochs", "session_migrations"],
          (table) => sql.unsafe(`SELECT * FROM ${prefix}${table}`)
        )
        tellsNothing(textOf(tables), values)
      }).pipe(Effect.provide(sqlStore<unknown>(client(), prefix)))
    })
  }

  it("the key of a token is its hash, with purpose and namespace in front", () => {
    const bytes = Uint8Array.from({ length: 32 }, (_, i) => i * 7)
    const part = (text: string) => {
      const length = Buffer.alloc(2)
      length.writeUInt16BE(Buffer.byteLength(text))
      return Buffer.concat([length, Buffer.from(text)])
    }
    for (const namespace of ["test/Engine", "", "名前", "n".repeat(300)]) {
      const hash = createHash("sha256").update(part("effect-session/r1")).update(part(namespace)).update(bytes)
      assert.strictEqual(storeKeys(namespace)(SessionToken.fromBytes(bytes)), hash.digest("base64url"))
    }
  })
})

describe("namespaces", () => {
  for (const [name, layer] of stores) {
    it.live(`${name}: a token of one session tag means nothing to another`, () =>
      Effect.gen(function*() {
        const store = yield* SessionStore
        const users = yield* engineOf(store, { timeout: "20 seconds" }, "users")
        const admins = yield* engineOf(store, { timeout: "20 seconds" }, "admins")
        const { record: user, value } = yield* written(users, {
          _tag: "Create",
          record: record({ namespace: "users" })
        })
        assert.isUndefined(yield* opened(admins, value))
        for (const tag of ["Save", "Rotate", "Touch"] as const) {
          const outcome = yield* admins.write({ _tag: tag, value, record: next(user), expectedVersion: 1 }, start)
          assert.deepStrictEqual(outcome, { _tag: "Gone" })
        }
        yield* admins.destroy(value)
        assert.deepStrictEqual(yield* opened(users, value), user)
      }).pipe(Effect.provide(layer())))
  }
})

it.effect("the layer gives an engine, a directory and a revocation of one store", () =>
  Effect.gen(function*() {
    const engine = yield* Effect.flatMap(SessionEngine, ({ bind }) => bind({ namespace, cookieName: "session" }))
    const { record: made, value } = yield* written(engine, { _tag: "Create", record: record() })
    const list = yield* Effect.flatMap(SessionDirectory, ({ list }) => list(namespace, "ann", start))
    assert.deepStrictEqual(list.map(({ id }) => id), [made.id])
    assert.isTrue(yield* Effect.flatMap(SessionRevocation, ({ revoke }) => revoke(namespace, made.id)))
    assert.isUndefined(yield* opened(engine, value))
  }).pipe(Effect.provide(Layer.provide(StoredEngine.layer, MemoryStore.layer))))

/** Everything in a value as it is, nothing escaped. */
const textOf = (value: unknown): string =>
  typeof value === "object" && value !== null ? Object.values(value).map(textOf).join("\n") : String(value)
