/** Background jobs that change sessions by id, without their token. */
import { it } from "@effect/vitest"
import { DateTime, Duration, Effect, Layer, Option, Redacted, Schema, TestClock } from "effect"
import { Expiry, Lifetime, MemoryStore, ReadOnce, Session, StoredEngine } from "effect-session"
import * as MigratingStore from "effect-session/MigratingStore"
import * as SealedStore from "effect-session/SealedStore"
import { SessionStore } from "effect-session/SessionStore"
import * as TieredStore from "effect-session/TieredStore"
import { assert, describe } from "vitest"
import * as Ids from "../src/internal/domain/id.js"
import { firstKey, keyringOf } from "./support/keyrings.js"
import { visit } from "./support/requestWithoutHttp.js"
import { stores } from "./support/stores.js"

class App extends Session.Tag<App>()("test/ById", {
  schema: Schema.Struct({
    plan: Schema.optional(Schema.String),
    notice: ReadOnce.field(Schema.String),
    items: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] })
  }),
  expiry: Expiry.earliest(Expiry.idle("1 hour"), Expiry.absolute("1 day"))
}) {}

const over = (make: Effect.Effect<SessionStore["Type"], unknown>) => () => Layer.effect(SessionStore, make)
const combined: typeof stores = [
  [
    "tiered",
    over(Effect.suspend(() => TieredStore.make(MemoryStore.make(), MemoryStore.make(), { lease: "5 seconds" })))
  ],
  [
    "migrating",
    over(Effect.sync(() => MigratingStore.make(MemoryStore.make(), MemoryStore.make(), { phase: "move" })))
  ],
  [
    "sealed",
    () => Layer.provide(SealedStore.layer, [Layer.sync(SessionStore, () => MemoryStore.make()), keyringOf(firstKey)])
  ]
]

const add = (item: string) => App.update("items", (items) => [...items, item])

for (const [name, layer] of [...stores, ...combined]) {
  const provided = () => App.layer.pipe(Layer.provideMerge(StoredEngine.layer), Layer.provideMerge(layer()))
  const test = (
    title: string,
    effect: Effect.Effect<unknown, unknown, Layer.Layer.Success<ReturnType<typeof provided>>>
  ) => it.effect(title, () => Effect.orDie(Effect.provide(effect, provided())))

  /** Creates a session and returns its cookie and id. */
  const begin = Effect.gen(function*() {
    const sessions = yield* App.service
    const made = yield* sessions.create({ items: ["tea"] }, { subject: "ann" })
    const [token, id] = yield* Effect.all([Effect.flatten(made.token), Effect.flatten(made.id)])
    return { sessions, id, cookie: Redacted.value(token) }
  })
  const itemsOf = (cookie: string | undefined) =>
    Effect.map(visit(App, App.get("items"), cookie), ({ result }) => result)

  describe(`openById (${name})`, () => {
    test(
      "take returns a read-once value to one reader, and keeps other changes possible",
      Effect.gen(function*() {
        const { cookie, id, sessions } = yield* begin
        yield* visit(App, App.set("notice", ReadOnce.make("paid")), cookie)
        const session = yield* Effect.flatten(sessions.openById(id))
        assert.strictEqual(Option.getOrUndefined(yield* session.take("notice")), "paid")
        assert.isTrue(Option.isNone((yield* visit(App, App.take("notice"), cookie)).result))
        yield* session.set("plan", "free")
        yield* session.save
        assert.strictEqual((yield* visit(App, App.get("plan"), cookie)).result, "free")
      })
    )

    test(
      "reads and changes a session found by list, and the visitor's cookie stays valid",
      Effect.gen(function*() {
        const { cookie, id, sessions } = yield* begin
        const [info] = yield* sessions.list("ann")
        assert.strictEqual(info?.id, id)
        const session = yield* Effect.flatten(sessions.openById(id))
        assert.deepStrictEqual(yield* session.get("items"), ["tea"])
        yield* session.set("plan", "free")
        yield* session.update("items", (items) => [...items, "cake"])
        assert.deepStrictEqual(yield* itemsOf(cookie), ["tea"])
        yield* session.save
        const { result } = yield* visit(App, App.value, cookie)
        assert.deepStrictEqual([result.plan, result.items], ["free", ["tea", "cake"]])
        yield* session.update("items", (items) => [...items, "milk"])
        yield* session.save
        assert.deepStrictEqual(yield* itemsOf(cookie), ["tea", "cake", "milk"])
      })
    )

    test(
      "its change is replayed after a concurrent request of the visitor, also if that request rotated the token",
      Effect.gen(function*() {
        const { cookie, id, sessions } = yield* begin
        const session = yield* Effect.flatten(sessions.openById(id))
        yield* session.update("items", (items) => [...items, "job"])
        yield* visit(App, add("visitor"), cookie)
        yield* session.save
        assert.deepStrictEqual(yield* itemsOf(cookie), ["tea", "visitor", "job"])
        yield* session.update("items", (items) => [...items, "job 2"])
        const moved = yield* visit(App, Effect.zipRight(add("visitor 2"), App.rotate), cookie)
        yield* session.save
        assert.deepStrictEqual(yield* itemsOf(moved.cookie), ["tea", "visitor", "job", "visitor 2", "job 2"])
      })
    )

    test(
      "a set of a field that was read and changed by the visitor since is a conflict, and nothing is written",
      Effect.gen(function*() {
        const { cookie, id, sessions } = yield* begin
        const session = yield* Effect.flatten(sessions.openById(id))
        const items = yield* session.get("items")
        yield* visit(App, add("visitor"), cookie)
        yield* session.set("items", [...items, "job"])
        assert.strictEqual((yield* Effect.flip(session.save))._tag, "SessionConflict")
        assert.deepStrictEqual(yield* itemsOf(cookie), ["tea", "visitor"])
      })
    )

    test(
      "returns None for an unknown, revoked or expired id, and commit fails with SessionGone if the session has ended",
      Effect.gen(function*() {
        const { id, sessions } = yield* begin
        assert.isTrue(
          Option.isNone(yield* sessions.openById(Ids.fromBytes(new Uint8Array(Ids.byteLength))))
        )
        const session = yield* Effect.flatten(sessions.openById(id))
        yield* session.set("plan", "free")
        yield* sessions.revokeSubject("ann")
        assert.strictEqual((yield* Effect.flip(session.save))._tag, "SessionGone")
        assert.isTrue(Option.isNone(yield* sessions.openById(id)))
        const second = yield* begin
        yield* TestClock.adjust("1 hour")
        assert.isTrue(Option.isNone(yield* sessions.openById(second.id)))
      })
    )

    test(
      "neither reads nor changes extend the session; setExpiry, touch and timeLeft work",
      Effect.gen(function*() {
        const { id, sessions } = yield* begin
        const opened = Effect.flatten(sessions.openById(id))
        const left = Effect.flatMap(opened, ({ timeLeft }) => Effect.map(timeLeft, Option.map(Duration.toMinutes)))
        yield* TestClock.adjust("30 minutes")
        const session = yield* opened
        yield* Effect.all([session.get("items"), session.set("plan", "free"), session.save])
        assert.deepStrictEqual(yield* left, Option.some(30))
        yield* Effect.all([session.touch, session.save])
        assert.deepStrictEqual(yield* left, Option.some(30))
        yield* Effect.all([session.setExpiry(Lifetime.lasting("5 minutes")), session.save])
        assert.deepStrictEqual(yield* left, Option.some(5))
        const end = yield* Effect.flatten(session.endsAt)
        assert.strictEqual(DateTime.toEpochMillis(end), 35 * 60_000)
      })
    )
  })
}

describe("openById of a session sealed with its token", () => {
  it.effect("returns None", () =>
    Effect.gen(function*() {
      const sessions = yield* App.service
      const made = yield* sessions.create({ items: ["tea"] })
      const id = yield* Effect.flatten(made.id)
      assert.isTrue(Option.isNone(yield* sessions.openById(id)))
      assert.isTrue(yield* Effect.flatMap(Effect.flatten(made.token), sessions.exists))
    }).pipe(
      Effect.provide(App.layer.pipe(
        Layer.provideMerge(StoredEngine.layerWith({ seal: "token" })),
        Layer.provide(MemoryStore.layer)
      )),
      Effect.orDie
    ))
})

/** Never called: a compile-time test. */
export const mistakes = Effect.gen(function*() {
  const sessions = yield* App.service
  const session = yield* Effect.flatten(sessions.openById(Ids.fromBytes(new Uint8Array(Ids.byteLength))))
  // @ts-expect-error: a new token could not be sent to the visitor
  yield* session.rotate
  // @ts-expect-error: the token is unknown
  yield* session.token
  // @ts-expect-error: a login needs a response
  yield* session.authenticate("ann")
})
