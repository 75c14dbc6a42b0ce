/**
 * Cookie sessions: limits of the sessions of a subject, reasons why a session ended, and secrets of tokens against forged requests.
 */
import { it } from "@effect/vitest"
import { Effect, Layer, Metric, Option, Redacted, Schema } from "effect"
import { MemoryStore, Session, SessionMetrics, SessionSchema } from "effect-session"
import * as CookieEngine from "effect-session/CookieEngine"
import { aRecord, freshId, hour, minute, namespace, start } from "effect-session/Fixtures"
import type * as Keyring from "effect-session/Keyring"
import type { BoundEngine, CookieValue, Scope, Write } from "effect-session/SessionEngine"
import { SessionEngine } from "effect-session/SessionEngine"
import type { SessionRecord } from "effect-session/SessionRecord"
import { SessionRevocation } from "effect-session/SessionRevocation"
import type { Store, SubjectLimit } from "effect-session/SessionStore"
import { SessionStore } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import { assert, describe } from "vitest"
import { firstKey, keyringOf, secondKey } from "./support/keyrings.js"
import { farExpiry } from "./support/migrationRaces.js"

class Shown extends Session.Tag<Shown>()("laws", {
  schema: SessionSchema.readable(Schema.Struct({ theme: Schema.optional(Schema.String) }))
}) {}

const scope: Scope = { namespace, cookieName: "__Host-Http-laws" }

const bound = (
  layer: Layer.Layer<SessionEngine, never, Keyring.Keyring>,
  keys: Layer.Layer<Keyring.Keyring, unknown> = keyringOf(firstKey),
  of = scope
) =>
  Effect.flatMap(SessionEngine, ({ bind }) => bind(of)).pipe(
    Effect.provide(Layer.provide(layer, keys))
  )

const ledgerOver = (store: Store) => Layer.provide(CookieEngine.layerLedger, Layer.succeed(SessionStore, store))

const ledgerOf = (store: Store) => bound(ledgerOver(store))

const write = (engine: BoundEngine, write: Write, now = start) => engine.write(write, now)

const written = (engine: BoundEngine, request: Write, now = start) =>
  Effect.flatMap(
    write(engine, request, now),
    (outcome) => outcome._tag === "Written" ? Effect.succeed(outcome) : Effect.dieMessage(outcome._tag)
  )

const login = (fields: Partial<SessionRecord> = {}, limit?: SubjectLimit): Write => ({
  _tag: "Create",
  record: aRecord({ expiry: farExpiry, ...fields }),
  limit
})

const rotation = (
  { record, value }: { readonly record: SessionRecord; readonly value: CookieValue },
  fields: Partial<SessionRecord> = {},
  limit?: SubjectLimit
): Write => ({
  _tag: "Rotate",
  value,
  record: { ...record, version: record.version + 1, ...fields },
  expectedVersion: record.version,
  limit
})

const saving = (
  { record, value }: { readonly record: SessionRecord; readonly value: CookieValue },
  fields: Partial<SessionRecord> = {}
): Write => ({
  _tag: "Save",
  value,
  record: { ...record, version: record.version + 1, ...fields },
  expectedVersion: record.version
})

const isOpen = (engine: BoundEngine, value: CookieValue, now = start) =>
  Effect.map(engine.open(value, now), Option.isSome)

const reasonOf = (engine: BoundEngine, value: CookieValue, now = start) =>
  Effect.map(engine.endReason?.(value, now) ?? Effect.dieMessage("no endReason"), Option.getOrUndefined)

const oldest = { max: 2, onFull: "oldest" } as const
const deny = { max: 2, onFull: "deny" } as const

describe("limits of an engine with a ledger", () => {
  it.live("are those of the store: the engine has the capability if the store has it", () =>
    Effect.gen(function*() {
      const store = MemoryStore.make()
      const { limitsSubjects: _, ...without } = store.capabilities
      assert.isTrue((yield* ledgerOf(store)).limitsSubjects)
      assert.isUndefined((yield* ledgerOf({ ...store, capabilities: without })).limitsSubjects)
      assert.isUndefined((yield* bound(CookieEngine.layer)).limitsSubjects)
    }))

  it.live("deny: one login more is Full, and writes nothing", () =>
    Effect.gen(function*() {
      const store = MemoryStore.make()
      const engine = yield* ledgerOf(store)
      const first = yield* written(engine, login({}, deny))
      yield* written(engine, login({}, deny))
      assert.deepStrictEqual(yield* write(engine, login({}, deny)), { _tag: "Full" })
      const anonymous = yield* written(engine, login({ subject: undefined }))
      assert.deepStrictEqual(yield* write(engine, rotation(anonymous, { subject: "ann" }, deny)), { _tag: "Full" })
      assert.strictEqual((yield* store.list(namespace, "ann", start)).length, 2)
      for (const { value } of [first, anonymous]) assert.isTrue(yield* isOpen(engine, value))
    }))

  for (const how of ["a create", "a rotation"] as const) {
    it.live(`oldest: ${how} ends the oldest session, and returns its id`, () =>
      Effect.gen(function*() {
        const engine = yield* ledgerOf(MemoryStore.make())
        const sessions = yield* Effect.forEach(
          [2, 1, 3],
          (later) => written(engine, login({ createdAt: start + later }))
        )
        const anonymous = yield* written(engine, login({ subject: undefined }))
        const outcome = yield* written(
          engine,
          how === "a create"
            ? login({ createdAt: start + 4 }, oldest)
            : rotation(anonymous, { subject: "ann", id: freshId(), createdAt: start + 4 }, oldest)
        )
        const ended = sessions.filter(({ record }) => record.createdAt < start + 3).reverse()
        assert.deepStrictEqual(outcome.evicted, ended.map(({ record }) => record.id))
        for (const one of sessions) {
          assert.strictEqual(yield* isOpen(engine, one.value), !ended.includes(one))
          if (ended.includes(one)) assert.strictEqual(yield* reasonOf(engine, one.value), "limit")
        }
        assert.isTrue(yield* isOpen(engine, outcome.value))
      }))

    it.live(`a cookie that is too large ends no session (${how})`, () =>
      Effect.gen(function*() {
        const engine = yield* ledgerOf(MemoryStore.make())
        const sessions = yield* Effect.forEach([1, 2], (later) => written(engine, login({ createdAt: start + later })))
        const anonymous = yield* written(engine, login({ subject: undefined }))
        const data = JSON.stringify("x".repeat(4000))
        const error = yield* Effect.flip(
          write(
            engine,
            how === "a create" ? login({ data }, oldest) : rotation(anonymous, { data, subject: "ann" }, oldest)
          )
        )
        assert.strictEqual(error.reason, "size")
        for (const { value } of [...sessions, anonymous]) assert.isTrue(yield* isOpen(engine, value))
      }))

    for (const fault of ["failAfter", "failBefore"] as const) {
      for (const [name, limit] of [["deny", deny], ["oldest", oldest]] as const) {
        it.live(`the fault ${fault} in ${how} that is the last one allowed (${name}): it succeeds once`, () =>
          Effect.gen(function*() {
            const store = MemoryStore.make()
            const near = yield* ledgerOf(store)
            const first = yield* written(near, login({ createdAt: start - 1 }))
            const anonymous = yield* written(near, login({ subject: undefined }))
            const operation = how === "a create" ? "create" : "rotate"
            const engine = yield* ledgerOf(FaultyStore.make(store, FaultyStore.schedule({ [operation]: [fault] })))
            const { value } = yield* written(
              engine,
              how === "a create" ? login({}, limit) : rotation(anonymous, { subject: "ann" }, limit)
            )
            for (const one of [first.value, value]) assert.isTrue(yield* isOpen(near, one))
            assert.strictEqual((yield* store.list(namespace, "ann", start)).length, 2)
          }))
      }
    }
  }
})

describe("the reason why a session ended, from an engine with a ledger", () => {
  const endings: ReadonlyArray<
    readonly [string, string, (store: Store, engine: BoundEngine, one: Opened) => Effect.Effect<unknown, unknown>]
  > = [
    ["a logout", "loggedOut", (_, engine, { value }) => engine.destroy(value)],
    ["a revocation by id", "revoked", (store, _, { record }) => store.revoke(namespace, record.id)],
    ["a revocation of the subject", "subjectRevoked", (store) => store.revokeSubject(namespace, "ann")],
    ["a revocation of all sessions", "allRevoked", (store) => store.revokeAll(namespace)],
    ["a rotation", "rotated", (_, engine, one) => written(engine, rotation(one))],
    [
      "a login as another subject",
      "rotated",
      (_, engine, one) => written(engine, rotation(one, { subject: "bob" }))
    ],
    [
      "the logout of its newer cookie",
      "loggedOut",
      (_, engine, one) => Effect.flatMap(written(engine, saving(one)), ({ value }) => engine.destroy(value))
    ]
  ]
  type Opened = { readonly record: SessionRecord; readonly value: CookieValue }

  for (const [name, reason, end] of endings) {
    it.live(`after ${name} it is "${reason}"`, () =>
      Effect.gen(function*() {
        const store = MemoryStore.make()
        const engine = yield* ledgerOf(store)
        const one = yield* written(engine, login())
        yield* end(store, engine, one)
        assert.isFalse(yield* isOpen(engine, one.value))
        assert.strictEqual(yield* reasonOf(engine, one.value), reason)
      }))
  }

  const ending = { at: start + hour, deadline: start + 3 * hour, lifetime: undefined }

  it.live("is \"expired\" from the end of the session, with and without its entry", () =>
    Effect.gen(function*() {
      const store = MemoryStore.make()
      const engine = yield* ledgerOf(store)
      const one = yield* written(engine, login({ expiry: ending }))
      assert.strictEqual(yield* reasonOf(engine, one.value, start + hour), "expired")
      yield* store.removeExpired({ now: start + hour, limit: 10 })
      assert.strictEqual(yield* reasonOf(engine, one.value, start + hour), "expired")
    }))

  it.live("is not \"expired\" while a touch keeps the session alive beyond the end that its cookie has", () =>
    Effect.gen(function*() {
      const store = MemoryStore.make()
      const engine = yield* ledgerOf(store)
      const one = yield* written(engine, login({ expiry: ending }))
      const later = { ...one.record, lastSeenAt: start + minute, expiry: { ...ending, at: start + 2 * hour } }
      yield* written(engine, { _tag: "Touch", value: one.value, record: later }, start + minute)
      const now = start + hour + minute
      assert.isTrue(yield* isOpen(engine, one.value, now))
      assert.strictEqual(yield* reasonOf(engine, one.value, now), "unknown")
      assert.strictEqual(yield* reasonOf(engine, one.value, start + 2 * hour), "expired")
    }))

  it.live("is \"rotated\" for an older cookie after its grace period, and \"unknown\" without any trace", () =>
    Effect.gen(function*() {
      const store = MemoryStore.make()
      const engine = yield* ledgerOf(store)
      const one = yield* written(engine, login())
      const two = yield* written(engine, saving(one))
      const acknowledged = Option.getOrThrow(yield* engine.open(two.value, start))
      yield* written(engine, { _tag: "Touch", value: two.value, record: acknowledged.record })
      assert.isFalse(yield* isOpen(engine, one.value, start + minute))
      assert.strictEqual(yield* reasonOf(engine, one.value, start + minute), "rotated")
      const elsewhere = yield* ledgerOf(MemoryStore.make())
      assert.strictEqual(yield* reasonOf(elsewhere, one.value), "unknown")
    }))

  it.live("fails with the error of a store that fails", () =>
    Effect.gen(function*() {
      const { controls, store } = FaultyStore.controlled(MemoryStore.make())
      const engine = yield* ledgerOf(store)
      const one = yield* written(engine, login())
      controls.fault = "failBefore"
      assert.strictEqual((yield* Effect.flip(reasonOf(engine, one.value))).reason, "unavailable")
    }))
})

const plain = {
  sealed: CookieEngine.layer,
  "sealed with AES": CookieEngine.layerWith({ suite: "f1" }),
  signed: CookieEngine.layerSigned(Shown),
  "with a ledger": ledgerOver(MemoryStore.make())
}

for (const [kind, layer] of Object.entries(plain)) {
  describe(`a cookie, ${kind}`, () => {
    it.live("of an expired session has the reason \"expired\", an invented one \"unknown\", and other text none", () =>
      Effect.gen(function*() {
        const engine = yield* bound(layer)
        const one = yield* written(engine, login({ expiry: { ...farExpiry, at: start + hour } }))
        const text = Redacted.value(one.value)
        const at = (text: string, now = start) => {
          const value = Redacted.make(text)
          const ways = [engine, ...engine.synchronous === undefined ? [] : [engine.synchronous]]
          return Effect.forEach(ways, (engine) => Effect.suspend(() => reasonOf(engine, value, now))).pipe(
            Effect.map((all) => [...new Set(all)])
          )
        }
        assert.deepStrictEqual(yield* at(text, start + hour), ["expired"])
        const forged = text.slice(0, -9) + (text.at(-9) === "A" ? "B" : "A") + text.slice(-8)
        assert.deepStrictEqual(yield* at(forged), ["unknown"])
        assert.deepStrictEqual(yield* at(text.replace(".k1.", ".k9.")), ["unknown"])
        for (const other of ["", "nonsense", "x1.k1.AAAA", text.slice(3)]) {
          assert.deepStrictEqual(yield* at(other), [undefined])
        }
      }))

    it.live("that was rejected is counted once, also if the reason is asked for", () =>
      Effect.gen(function*() {
        const engine = yield* bound(layer)
        const malformed = Effect.map(
          Metric.value(SessionMetrics.rejections),
          ({ occurrences }) => occurrences.get("malformed") ?? 0
        )
        const before = yield* malformed
        const value = Redacted.make("nonsense")
        assert.isFalse(yield* isOpen(engine, value))
        yield* reasonOf(engine, value)
        assert.strictEqual((yield* malformed) - before, 1)
      }))

    it.live("has a secret that changes with every rotation, and with nothing else", () =>
      Effect.gen(function*() {
        const secretIn = (
          engine: BoundEngine,
          session: { readonly value: CookieValue; readonly record: SessionRecord }
        ) => Buffer.from(engine.secretOf?.(session) ?? []).toString("hex")
        const [engine, again] = [yield* bound(layer), yield* bound(layer)]
        const one = yield* written(engine, login({ attributes: `{"rotation":"one","place":"Berlin"}` }))
        const secret = secretIn(engine, one)
        assert.lengthOf(secret, 64)
        const saved = yield* written(engine, saving(one, { data: `"new"`, attributes: `{"rotation":"one"}` }))
        const opened = Option.getOrThrow(yield* engine.open(saved.value, start))
        for (const same of [saved, opened]) assert.strictEqual(secretIn(again, same), secret)

        const rotated = yield* written(engine, rotation(saved, { attributes: `{"rotation":"two"}` }))
        const [bare, another] = [yield* written(engine, login()), yield* written(engine, login())]
        const elsewhere = yield* bound(layer, keyringOf(secondKey))
        const otherCookie = yield* bound(layer, keyringOf(firstKey), { ...scope, cookieName: "other" })
        const all = [
          secret,
          secretIn(engine, rotated),
          secretIn(engine, bare),
          secretIn(engine, another),
          secretIn(elsewhere, one),
          secretIn(otherCookie, one)
        ]
        assert.strictEqual(new Set(all).size, all.length)
      }))

    it.live("does not show its secret", () =>
      Effect.gen(function*() {
        const engine = yield* bound(layer)
        const one = yield* written(engine, login({ attributes: `{"rotation":"one"}` }))
        const secret = Buffer.from(engine.secretOf?.(one) ?? [])
        const bytes = Redacted.value(one.value).split(".").map((part) => Buffer.from(part, "base64url"))
        assert.isFalse(bytes.some((part) => part.includes(secret)))
      }))
  })
}

it.live("the list of an engine with a ledger has live sessions with their times and attributes, and no data", () =>
  Effect.gen(function*() {
    const engine = yield* Effect.flatMap(SessionEngine, ({ bind }) => bind(scope))
    const { list } = yield* SessionRevocation
    const one = yield* written(engine, login({ attributes: `{"rotation":"one","place":"Berlin"}` }))
    const ended = yield* written(engine, login())
    yield* engine.destroy(ended.value)
    yield* written(engine, saving(one, { attributes: `{"rotation":"one","place":"Rome"}`, modifiedAt: start + minute }))
    const { attributes: _, data: _data, version: _version, writeId: _writeId, ...rest } = one.record
    const found = yield* list(namespace, "ann", start)
    assert.deepStrictEqual(
      found.map(({ version: _, writeId: _writeId, ...info }) => info),
      [{ ...rest, attributes: `{"rotation":"one","place":"Rome"}`, modifiedAt: start + minute }]
    )
  }).pipe(
    Effect.provide(Layer.provide(CookieEngine.layerLedger, [keyringOf(firstKey), MemoryStore.layer]))
  ))
