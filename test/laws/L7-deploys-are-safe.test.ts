import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { it } from "@effect/vitest"
import { Context, Effect, Layer, Logger, Option, Schema, type Scope } from "effect"
import { Session, SessionHistory, SessionToken, StoredEngine } from "effect-session"
import type { SessionEngine } from "effect-session/SessionEngine"
import type { SessionService } from "effect-session/SessionService"
import { SessionStore } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import { storeKeys } from "../../src/internal/crypto/sessionToken.js"
import { recordsIn } from "../support/scanPages.js"
import { stores } from "../support/stores.js"

/** Two versions of one application: the newer one adds and removes a field of the session. */
class Old extends Session.Tag<Old>()("test/Deploy", {
  carryOver: "all",
  schema: Schema.Struct({
    user: Schema.optional(Schema.String),
    legacy: Schema.optional(Schema.Number),
    hits: Schema.optionalWith(Schema.Number, { default: () => 0 })
  })
}) {}

class New extends Session.Tag<New>()("test/Deploy", {
  carryOver: "all",
  schema: Schema.Struct({
    user: Schema.optional(Schema.String),
    hits: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    basket: Schema.optional(Schema.Array(Schema.Struct({ sku: Schema.String }))),
    theme: Schema.optionalWith(Schema.Literal("light", "dark"), { default: () => "light" })
  })
}) {}

/** A version in which `hits` has another type. */
class Changed extends Session.Tag<Changed>()("test/Deploy", {
  carryOver: "all",
  schema: Schema.Struct({ user: Schema.optional(Schema.String), hits: Schema.optional(Schema.Array(Schema.String)) })
}) {}

/** Three versions with a history: `name` moves into `user`, which then gets a language. */
const V1 = Schema.Struct({ name: Schema.optional(Schema.String), hits: Schema.optional(Schema.Number) })
const V2 = Schema.Struct({
  user: Schema.optional(Schema.Struct({ name: Schema.String })),
  hits: Schema.optional(Schema.Number)
})
const V3 = Schema.Struct({
  user: Schema.optional(Schema.Struct({ name: Schema.String, language: Schema.String })),
  hits: Schema.optional(Schema.Number)
})
const toV2 = SessionHistory.from(V1).to(V2, ({ hits, name }) => ({
  ...(hits === undefined ? {} : { hits }),
  ...(name === undefined ? {} : { user: { name } })
}))
const toV3 = toV2.to(V3, ({ hits, user }) => ({
  ...(hits === undefined ? {} : { hits }),
  ...(user === undefined ? {} : { user: { name: user.name.toUpperCase(), language: "en" } })
}))

class One extends Session.Tag<One>()("test/Deploy", { schema: V1 }) {}
class Two extends Session.Tag<Two>()("test/Deploy", { schema: V2, history: toV2 }) {}
class Three extends Session.Tag<Three>()("test/Deploy", { schema: V3, history: toV3 }) {}

const cookieName = "__Host-Http-session"

/** Returns a function that sends a request to a version of the application, on one store. */
const requestsOn = (store: Context.Context<SessionStore>) => {
  const engine = StoredEngine.layerWith({ timeout: "20 seconds" }).pipe(Layer.provide(Layer.succeedContext(store)))
  return <Self, A>(
    version: {
      readonly middleware: (
        app: HttpApp.Default<unknown, Self>
      ) => HttpApp.Default<unknown, SessionService<Self>>
    },
    layer: Layer.Layer<SessionService<Self>, unknown, SessionEngine>,
    handler: Effect.Effect<A, unknown, Self>,
    cookie?: string
  ) =>
    Effect.gen(function*() {
      const runtime = yield* Effect.provide(
        Effect.runtime<SessionService<Self>>(),
        yield* Layer.build(Layer.merge(Layer.provide(layer, engine), Logger.remove(Logger.defaultLogger)))
      )
      const app = version.middleware(Effect.map(handler, (value) => HttpServerResponse.unsafeJson(value ?? null)))
      const response = yield* Effect.promise(() =>
        HttpApp.toWebHandlerRuntime(runtime)(app)(
          new Request(
            "http://localhost/",
            cookie === undefined ? {} : { headers: { cookie: `${cookieName}=${cookie}` } }
          )
        )
      )
      const sent = response.headers.getSetCookie()[0]?.slice(cookieName.length + 1).split(";")[0]
      return { status: response.status, body: yield* Effect.promise(() => response.text()), cookie: sent }
    })
}

const text = (value: string | undefined): Effect.Effect<string> => Effect.orDie(Option.fromNullable(value))

for (const [name, layer] of stores) {
  const law = (
    title: string,
    body: (
      visit: ReturnType<typeof requestsOn>,
      store: Context.Tag.Service<SessionStore>
    ) => Effect.Effect<void, unknown, Scope.Scope>
  ) =>
    it.live(title, () =>
      Effect.gen(function*() {
        const context = yield* Layer.build(layer())
        const only = Context.make(SessionStore, Context.get(context, SessionStore))
        yield* body(requestsOn(only), Context.get(context, SessionStore))
      }).pipe(Effect.scoped, Effect.orDie))

  const raw = (store: Context.Tag.Service<SessionStore>) =>
    Effect.flatMap(
      store.scan("test/Deploy", { limit: 10, now: Date.now() }),
      (page) => Effect.map(text(recordsIn(page)[0]?.data), (data) => JSON.parse(data))
    )

  const versions = (store: Context.Tag.Service<SessionStore>) =>
    Effect.map(
      store.scan("test/Deploy", { limit: 10, now: Date.now() }),
      (page) => recordsIn(page).map(({ schemaVersion }) => schemaVersion)
    )

  describe(`L7 deploys are safe: versions keep each other's data, and data that cannot be decoded is not overwritten (${name})`, () => {
    law(
      "a field that only one version knows is kept by a save of the other version",
      (visit, store) =>
        Effect.gen(function*() {
          const made = yield* visit(New, New.layer, New.patch({ user: "ann", basket: [{ sku: "tea" }] }))
          const cookie = yield* text(made.cookie)
          assert.strictEqual((yield* visit(Old, Old.layer, Old.patch({ legacy: 7, hits: 1 }), cookie)).status, 200)
          assert.deepStrictEqual(yield* raw(store), { user: "ann", basket: [{ sku: "tea" }], legacy: 7, hits: 1 })
          yield* visit(New, New.layer, New.update("hits", (n) => n + 1), cookie)
          assert.deepStrictEqual(yield* raw(store), { user: "ann", basket: [{ sku: "tea" }], legacy: 7, hits: 2 })
          const seen = yield* visit(New, New.layer, New.value, cookie)
          assert.deepStrictEqual(JSON.parse(seen.body), {
            user: "ann",
            hits: 2,
            basket: [{ sku: "tea" }],
            theme: "light"
          })
        })
    )

    law("a login keeps the fields of other versions; clear removes them", (visit, store) =>
      Effect.gen(function*() {
        const made = yield* visit(New, New.layer, New.patch({ user: "ann", basket: [] }))
        const login = yield* visit(Old, Old.layer, Old.authenticate("ann"), yield* text(made.cookie))
        assert.deepStrictEqual(yield* raw(store), { user: "ann", basket: [] })
        yield* visit(Old, Old.layer, Old.clear, yield* text(login.cookie))
        assert.deepStrictEqual(yield* raw(store), {})
      }))

    law("default values are not written", (visit, store) =>
      Effect.gen(function*() {
        const made = yield* visit(New, New.layer, New.set("user", "ann"))
        yield* visit(
          New,
          New.layer,
          Effect.zipRight(New.get("theme"), New.set("theme", "light")),
          yield* text(made.cookie)
        )
        assert.deepStrictEqual(yield* raw(store), { user: "ann" })
      }))

    law(
      "data that cannot be decoded: a new session by default, and the record is kept for a rollback",
      (visit, store) =>
        Effect.gen(function*() {
          const made = yield* visit(Old, Old.layer, Old.patch({ user: "ann", hits: 3 }))
          const cookie = yield* text(made.cookie)
          const seen = yield* visit(Changed, Changed.layer, Changed.value, cookie)
          assert.deepStrictEqual([seen.status, seen.body, seen.cookie], [200, "{}", undefined])
          const wrote = yield* visit(Changed, Changed.layer, Changed.set("user", "bob"), cookie)
          assert.notStrictEqual(yield* text(wrote.cookie), cookie)
          const back = yield* visit(Old, Old.layer, Old.get("hits"), cookie)
          assert.strictEqual(back.body, "3")
          assert.strictEqual((yield* store.scan("test/Deploy", { limit: 10, now: Date.now() })).length, 2)
        })
    )

    law(
      "data that cannot be decoded: 503 with onUndecodable 'fail', and the record is not changed",
      (visit) =>
        Effect.gen(function*() {
          const made = yield* visit(Old, Old.layer, Old.patch({ user: "ann", hits: 3 }))
          const cookie = yield* text(made.cookie)
          const failing = Changed.layerWith({ onUndecodable: "fail" })
          for (const handler of [Effect.asVoid(Changed.value), Changed.set("user", "bob")]) {
            const answer = yield* visit(Changed, failing, handler, cookie)
            assert.deepStrictEqual([answer.status, answer.cookie], [503, undefined])
            assert.notInclude(answer.body, "3")
          }
          assert.strictEqual((yield* visit(Old, Old.layer, Old.get("hits"), cookie)).body, "3")
        })
    )

    law(
      "a record with invalid data follows onUndecodable and is not overwritten",
      (visit, store) =>
        Effect.gen(function*() {
          for (
            const junk of [
              "",
              "nonsense",
              "[]",
              "null",
              "7",
              `{"user":`,
              `{"__proto__":{"admin":true}}`,
              "[".repeat(100_000)
            ]
          ) {
            const made = yield* visit(Old, Old.layer, Old.set("user", "ann"))
            const cookie = yield* text(made.cookie)
            const key = storeKeys("test/Deploy")
            const token = yield* Effect.orDie(SessionToken.parse(cookie))
            const record = yield* Effect.flatMap(store.load(key(token), Date.now()), Effect.orDie)
            assert.strictEqual(
              yield* store.save(key(token), { ...record, data: junk }, { expectedVersion: 1, now: Date.now() }),
              "saved"
            )
            const seen = yield* visit(Old, Old.layer, Old.value, cookie)
            assert.deepStrictEqual([seen.status, seen.body], [200, `{"hits":0}`])
            const failing = yield* visit(Old, Old.layerWith({ onUndecodable: "fail" }), Old.set("hits", 1), cookie)
            assert.strictEqual(failing.status, 503)
            const after = yield* Effect.flatMap(store.load(key(token), Date.now()), Effect.orDie)
            assert.strictEqual(after.data, junk)
          }
        })
    )

    law(
      "older data is upgraded step by step when it is read, and written only with the next change",
      (visit, store) =>
        Effect.gen(function*() {
          const made = yield* visit(One, One.layer, One.patch({ name: "ann", hits: 1 }))
          const cookie = yield* text(made.cookie)
          const seen = yield* visit(Three, Three.layer, Three.value, cookie)
          assert.deepStrictEqual(JSON.parse(seen.body), { hits: 1, user: { name: "ANN", language: "en" } })
          assert.deepStrictEqual(yield* raw(store), { name: "ann", hits: 1 })
          yield* visit(Three, Three.layer, Three.update("hits", (n = 0) => n + 1), cookie)
          assert.deepStrictEqual(yield* raw(store), { hits: 2, user: { name: "ANN", language: "en" } })
          assert.deepStrictEqual(yield* versions(store), [3])
        })
    )

    law(
      "two versions that run at the same time during a deploy and a rollback share the session",
      (visit, store) =>
        Effect.gen(function*() {
          const made = yield* visit(One, One.layer, One.patch({ name: "ann", hits: 1 }))
          const cookie = yield* text(made.cookie)
          // Both versions read the session as long as no field that moved is changed.
          assert.strictEqual((yield* visit(Two, Two.layer, Two.get("user"), cookie)).body, `{"name":"ann"}`)
          assert.strictEqual((yield* visit(One, One.layer, One.get("name"), cookie)).body, `"ann"`)
          // The new version writes; the old one keeps fields unknown to it and the newer schema version.
          yield* visit(Two, Two.layer, Two.update("hits", (n = 0) => n + 1), cookie)
          yield* visit(One, One.layer, One.update("hits", (n = 0) => n + 10), cookie)
          assert.deepStrictEqual(yield* raw(store), { hits: 12, user: { name: "ann" } })
          assert.deepStrictEqual(yield* versions(store), [2])
          // The new version again: no data was lost.
          const seen = yield* visit(Two, Two.layer, Two.value, cookie)
          assert.deepStrictEqual(JSON.parse(seen.body), { hits: 12, user: { name: "ann" } })
        })
    )

    law(
      "an upgrade that throws or returns an invalid value follows onUndecodable and does not change the record",
      (visit, store) =>
        Effect.gen(function*() {
          const history = SessionHistory.from(V1).to(V2, ({ name }) => {
            if (name === "boom") throw new Error("secret")
            return { user: { name: 7 as unknown as string } }
          })
          class Bad extends Session.Tag<Bad>()("test/Deploy", { schema: V2, history }) {}
          for (const name of ["boom", "misfit"]) {
            const made = yield* visit(One, One.layer, One.set("name", name))
            const cookie = yield* text(made.cookie)
            assert.strictEqual((yield* visit(Bad, Bad.layer, Bad.value, cookie)).body, "{}")
            const failing = yield* visit(Bad, Bad.layerWith({ onUndecodable: "fail" }), Bad.value, cookie)
            assert.deepStrictEqual([failing.status, failing.body.includes("secret")], [503, false])
            assert.strictEqual((yield* visit(One, One.layer, One.get("name"), cookie)).body, JSON.stringify(name))
          }
          assert.deepStrictEqual(yield* versions(store), [1, 1])
        })
    )
  })
}
