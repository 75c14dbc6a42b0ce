import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Effect, FastCheck, Fiber, Layer, Option, Redacted, TestClock } from "effect"
import { MemoryStore, SessionToken, StoredEngine } from "effect-session"
import { start } from "effect-session/Fixtures"
import { SessionDirectory } from "effect-session/SessionDirectory"
import { SessionEngine } from "effect-session/SessionEngine"
import type { CookieValue } from "effect-session/SessionEngine"
import { SessionRevocation } from "effect-session/SessionRevocation"
import { SessionStore } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import { createHash } from "node:crypto"
import { assert, describe } from "vitest"
import * as Tokens from "../src/internal/crypto/sessionToken.js"
import { storeKeys } from "../src/internal/crypto/sessionToken.js"
import { forAll } from "../src/internal/testing/law.js"
import { engineOf, namespace, next, opened, record, seen, withSession, written } from "./support/engines.js"
import { freshPrefix, sqliteClient, sqlStore } from "./support/localStores.js"
import { postgresClient } from "./support/serverClients.js"
import { stores } from "./support/stores.js"

describe("a cookie value", () => {
  const valid = Redacted.value(Tokens.fromBytes(new Uint8Array(Tokens.byteLength)))
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
    // Another encoding of the same bytes: spare bits that are not zero.
    `${valid.slice(0, -1)}B`,
    "r1.".repeat(100_000)
  ]

  const untouched = (text: string) =>
    Effect.gen(function*() {
      const { calls, store } = FaultyStore.recorded(MemoryStore.make())
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

  it.effect("that is malformed opens nothing, without a store call", () => Effect.forEach(malformed, untouched))

  // Any text, and tokens with one character replaced.
  const text = FastCheck.oneof(
    FastCheck.string(),
    FastCheck.tuple(FastCheck.nat(45), FastCheck.string({ maxLength: 2 })).map(([at, part]) =>
      valid.slice(0, at) + part + valid.slice(at + 1)
    )
  ).filter((text) => Option.isNone(SessionToken.parse(text)))

  it.effect("that is not a token causes no store call", () => forAll(text, untouched, 200))

  it.effect("that is well-formed but unknown opens nothing and is never adopted", () =>
    Effect.gen(function*() {
      const { calls, store } = FaultyStore.recorded(MemoryStore.make())
      const engine = yield* engineOf(store)
      assert.isTrue(Option.isNone(yield* engine.open(Redacted.make(valid), start)))
      const { value } = yield* written(engine, { _tag: "Create", record: record() })
      assert.notStrictEqual(Redacted.value(value), valid)
      assert.deepStrictEqual(calls.map(({ operation }) => operation), ["load", "create"])
    }))

  it.effect("fails to open while the store is down, or after 1 second without a response", () =>
    Effect.gen(function*() {
      const { engine, value } = yield* withSession(
        FaultyStore.injecting(FaultyStore.schedule({ load: ["failBefore", "hang"] }))
      )
      assert.strictEqual((yield* Effect.flip(engine.open(value, start))).reason, "unavailable")
      const waiting = yield* Effect.fork(Effect.flip(engine.open(value, start)))
      yield* TestClock.adjust("999 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(waiting)))
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(waiting)).reason, "timeout")
    }))

  it.effect("fails to open after the configured timeout", () =>
    Effect.gen(function*() {
      const { store } = FaultyStore.recorded(
        MemoryStore.make(),
        FaultyStore.injecting(FaultyStore.schedule({ load: ["hang"] })),
        true
      )
      const engine = yield* engineOf(store, { timeout: "20 seconds" })
      const waiting = yield* Effect.fork(Effect.flip(engine.open(Redacted.make(valid), start)))
      yield* TestClock.adjust("19999 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(waiting)))
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(waiting)).reason, "timeout")
    }))
})

describe("a key or an id that is in use", () => {
  /** Creates a record whose id is in use until just before the given call. */
  const createTaken = (freeAt: number) =>
    Effect.gen(function*() {
      const memory = MemoryStore.make()
      const owner = yield* written(yield* engineOf(memory), { _tag: "Create", record: record() })
      const { id } = owner.record
      let creates = 0
      const { calls, store } = FaultyStore.recorded(memory, (operation, call) =>
        operation === "create" && ++creates === freeAt ? Effect.zipRight(memory.revoke(namespace, id), call) : call)
      const engine = yield* engineOf(store)
      const mine = record({ id, data: `"mine"` })
      const outcome = yield* Effect.either(engine.write({ _tag: "Create", record: mine }, start))
      const keys = new Set(calls.map(({ args }) =>
        args[0]
      ))
      return { owner, mine, engine, outcome, calls: calls.length, keys: keys.size }
    })

  it.effect("is never adopted: create is retried with another token", () =>
    Effect.gen(function*() {
      const { calls, engine, keys, mine, outcome, owner } = yield* createTaken(3)
      assert.deepStrictEqual([calls, keys], [3, 3])
      const { value } = yield* Effect.flatMap(outcome, (outcome) =>
        outcome._tag === "Written" ? Effect.succeed(outcome) : Effect.dieMessage(outcome._tag))
      assert.deepStrictEqual(yield* opened(engine, value), mine)
      assert.isUndefined(yield* opened(engine, owner.value))
    }))

  it.effect("three times in a row is an error, and the existing session is unchanged", () =>
    Effect.gen(function*() {
      const { calls, engine, keys, outcome, owner } = yield* createTaken(4)
      assert.deepStrictEqual([calls, keys], [3, 3])
      assert.strictEqual((yield* Effect.flip(outcome)).reason, "corrupt")
      assert.deepStrictEqual(yield* opened(engine, owner.value), owner.record)
    }))
})

describe("a copy of the store", () => {
  /** All encodings of the bytes of a token. */
  const encodings = (value: CookieValue): ReadonlyArray<string> => {
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

  /** Creates, saves, touches, rotates and destroys sessions. Returns every token that was ever valid. */
  const useSessions = (store: Store) =>
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
      yield* store.revokeSubject(namespace, "bob")
      assert.isDefined(yield* opened(engine, second.value))
      return [first.value, second.value, third.value]
    })

  const containsNoToken = (dump: string, values: ReadonlyArray<CookieValue>) => {
    // The dump is complete: it contains the data and the key.
    assert.include(dump, "to be found in every dump")
    const [, current] = values
    const token = Option.getOrThrow(SessionToken.parse(current === undefined ? "" : Redacted.value(current)))
    assert.include(dump, storeKeys(namespace)(token))
    for (const value of values) {
      for (const encoding of encodings(value)) assert.notInclude(dump, encoding)
    }
  }

  it.effect("memory: no store call contains a token", () =>
    Effect.gen(function*() {
      const { calls, store } = FaultyStore.recorded(MemoryStore.make())
      const values = yield* useSessions(store)
      containsNoToken(calls.map(({ args }) => textOf(args)).join("\n"), values)
    }))

  for (const [name, client] of [["sqlite", () => sqliteClient], ["postgres", () => postgresClient()]] as const) {
    it.live(`${name}: no table contains a token`, () => {
      const prefix = freshPrefix()
      return Effect.gen(function*() {
        const values = yield* useSessions(yield* SessionStore)
        const sql = yield* SqlClient
        const tables = yield* Effect.forEach(
          ["sessions", "session_epochs", "session_ends", "session_migrations"],
          (table) => sql.unsafe(`SELECT * FROM ${prefix}${table}`)
        )
        containsNoToken(textOf(tables), values)
      }).pipe(Effect.provide(sqlStore<unknown>(client(), prefix)))
    })
  }

  it("the key of a token is its hash, prefixed with purpose and namespace", () => {
    const bytes = Uint8Array.from({ length: 32 }, (_, i) => i * 7)
    const part = (text: string) => {
      const length = Buffer.alloc(2)
      length.writeUInt16BE(Buffer.byteLength(text))
      return Buffer.concat([length, Buffer.from(text)])
    }
    for (const namespace of ["test/Engine", "", "名前", "n".repeat(300)]) {
      const hash = createHash("sha256").update(part("effect-session/r1")).update(part(namespace)).update(bytes)
      assert.strictEqual(storeKeys(namespace)(Tokens.fromBytes(bytes)), hash.digest("base64url"))
    }
  })
})

describe("namespaces", () => {
  for (const [name, layer] of stores) {
    it.live(`${name}: a token of one namespace opens nothing in another`, () =>
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

it.effect("the layer provides an engine, a directory and a revocation over one store", () =>
  Effect.gen(function*() {
    const engine = yield* Effect.flatMap(SessionEngine, ({ bind }) => bind({ namespace, cookieName: "session" }))
    const { record: made, value } = yield* written(engine, { _tag: "Create", record: record() })
    const list = yield* Effect.flatMap(SessionDirectory, ({ list }) => list(namespace, "ann", start))
    assert.deepStrictEqual(list.map(({ id }) => id), [made.id])
    assert.isTrue(yield* Effect.flatMap(SessionRevocation, ({ revoke }) => revoke(namespace, made.id)))
    assert.isUndefined(yield* opened(engine, value))
  }).pipe(Effect.provide(Layer.provide(StoredEngine.layer, MemoryStore.layer))))

/** All text in a value, unescaped. */
const textOf = (value: unknown): string =>
  typeof value === "object" && value !== null ? Object.values(value).map(textOf).join("\n") : String(value)
