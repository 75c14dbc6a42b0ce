/** `withRollback`: undoes the changes of a part of a handler if that part fails. */
import { it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Option, Redacted, Schema } from "effect"
import { MemoryEngine, ReadOnce, Session } from "effect-session"
import { assert, describe } from "vitest"
import { visit } from "./support/requestWithoutHttp.js"

class App extends Session.Tag<App>()("test/Rollback", {
  schema: Schema.Struct({
    user: Schema.optional(Schema.String),
    count: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    items: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] }),
    notice: ReadOnce.field(Schema.String)
  })
}) {}

const engine = Layer.provideMerge(App.layer, MemoryEngine.layer)
const test = <E>(title: string, effect: Effect.Effect<unknown, E, Layer.Layer.Success<typeof engine>>) =>
  it.effect(title, () => Effect.provide(effect, engine))

const increment = App.update("count", (n) => n + 1)
const add = (item: string) => App.update("items", (items) => [...items, item])
const failing = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.zipRight(effect, Effect.fail("broken"))
const begin = Effect.map(visit(App, App.patch({ count: 10, items: ["tea"] })), ({ cookie }) => cookie)
/** The value that a later request reads. */
const stored = (cookie: string | undefined) => Effect.map(visit(App, App.value, cookie), ({ result }) => result)

describe("withRollback", () => {
  test(
    "a part that is retried counts once",
    Effect.gen(function*() {
      const cookie = yield* begin
      let tries = 0
      const step = Effect.zipRight(increment, Effect.suspend(() => ++tries < 3 ? Effect.fail("not yet") : Effect.void))
      const { result } = yield* visit(
        App,
        Effect.zipRight(Effect.retry(App.withRollback(step), { times: 5 }), App.get("count")),
        cookie
      )
      assert.deepStrictEqual([tries, result, (yield* stored(cookie)).count], [3, 11, 11])
    })
  )

  for (
    const [how, ends] of [
      ["fails", Effect.fail("broken")],
      ["dies", Effect.die("broken")],
      ["is interrupted", Effect.interrupt]
    ] as const
  ) {
    test(
      `a part that ${how} changes nothing, and changes before and after it stay`,
      Effect.gen(function*() {
        const cookie = yield* begin
        const part = Effect.all([
          increment,
          App.set("user", "ann"),
          App.clear,
          add("lost"),
          App.authenticate("ann"),
          ends
        ])
        const { error, setCookie } = yield* visit(
          App,
          Effect.all([add("before"), Effect.exit(App.withRollback(part)), add("after")]),
          cookie
        )
        assert.deepStrictEqual([error, setCookie], [undefined, undefined])
        const value = yield* stored(cookie)
        assert.deepStrictEqual([value.count, value.user, value.items], [10, undefined, ["tea", "before", "after"]])
      })
    )
  }

  test(
    "nested parts: an inner part is rolled back alone, or together with its outer part",
    Effect.gen(function*() {
      const cookie = yield* begin
      const inner = App.withRollback(add("inner"))
      yield* visit(
        App,
        Effect.all([
          App.withRollback(Effect.all([add("outer"), Effect.ignore(App.withRollback(failing(add("lost"))))])),
          Effect.ignore(App.withRollback(failing(Effect.all([add("lost too"), inner]))))
        ]),
        cookie
      )
      assert.deepStrictEqual((yield* stored(cookie)).items, ["tea", "outer"])
    })
  )

  test(
    "changes of a concurrent fiber stay, and changes of fibers forked in the part are rolled back",
    Effect.gen(function*() {
      const cookie = yield* begin
      yield* visit(
        App,
        Effect.gen(function*() {
          const [changed, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
          const part = Effect.all([add("lost"), increment], { concurrency: "unbounded" }).pipe(
            Effect.zipRight(Deferred.succeed(changed, undefined)),
            Effect.zipRight(Deferred.await(go)),
            failing
          )
          const fiber = yield* Effect.fork(Effect.ignore(App.withRollback(part)))
          yield* Deferred.await(changed)
          assert.deepStrictEqual(yield* App.get("items"), ["tea", "lost"])
          yield* add("kept")
          yield* Deferred.succeed(go, undefined)
          yield* Fiber.join(fiber)
          assert.deepStrictEqual(yield* App.get("items"), ["tea", "kept"])
        }),
        cookie
      )
      const { count, items } = yield* stored(cookie)
      assert.deepStrictEqual([count, items], [10, ["tea", "kept"]])
    })
  )

  test(
    "modify of a concurrent fiber that depended on a rolled back change is a conflict, and nothing is written",
    Effect.gen(function*() {
      const cookie = yield* begin
      const { error, result } = yield* visit(
        App,
        Effect.gen(function*() {
          const [changed, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
          const part = increment.pipe(
            Effect.zipRight(Deferred.succeed(changed, undefined)),
            Effect.zipRight(Deferred.await(go)),
            failing
          )
          const fiber = yield* Effect.fork(Effect.ignore(App.withRollback(part)))
          yield* Deferred.await(changed)
          const ticket = yield* App.modify("count", (n) => [n + 1, n + 1])
          yield* Deferred.succeed(go, undefined)
          yield* Fiber.join(fiber)
          return ticket
        }),
        cookie
      )
      assert.deepStrictEqual([result, error?._tag, (yield* stored(cookie)).count], [12, "SessionConflict", 10])
    })
  )

  test(
    "destroy is not rolled back, and changes after it are",
    Effect.gen(function*() {
      const cookie = yield* begin
      const { setCookie } = yield* visit(
        App,
        Effect.ignore(App.withRollback(failing(Effect.all([App.destroy, App.set("user", "ann")])))),
        cookie
      )
      assert.strictEqual(setCookie, "expire")
      assert.strictEqual((yield* stored(cookie)).count, 0)
    })
  )

  test(
    "changes that save has written stay, and changes after it are rolled back",
    Effect.gen(function*() {
      const cookie = yield* begin
      yield* visit(
        App,
        Effect.ignore(App.withRollback(failing(Effect.all([add("saved"), App.save, add("lost")])))),
        cookie
      )
      assert.deepStrictEqual((yield* stored(cookie)).items, ["tea", "saved"])
    })
  )

  test(
    "take is not rolled back, with and without other pending changes",
    Effect.gen(function*() {
      for (const pending of [Effect.void, increment]) {
        const { cookie } = yield* visit(App, App.set("notice", ReadOnce.make("once")))
        const { result } = yield* visit(
          App,
          Effect.gen(function*() {
            yield* pending
            const part = Effect.tap(App.take("notice"), (notice) => assert.deepStrictEqual(notice, Option.some("once")))
            yield* Effect.ignore(App.withRollback(failing(part)))
            return yield* App.take("notice")
          }),
          cookie
        )
        assert.deepStrictEqual(result, Option.none())
        assert.deepStrictEqual((yield* visit(App, App.take("notice"), cookie)).result, Option.none())
      }
    })
  )

  test(
    "a failed part creates no session, and a failed login keeps the old token valid",
    Effect.gen(function*() {
      const { setCookie } = yield* visit(App, Effect.ignore(App.withRollback(failing(increment))))
      assert.isUndefined(setCookie)
      const cookie = yield* begin
      const login = yield* visit(
        App,
        Effect.ignore(App.withRollback(failing(Effect.all([App.authenticate("ann"), App.setTestCookie])))),
        cookie
      )
      assert.isUndefined(login.setCookie)
      assert.isTrue(yield* Effect.flatMap(App.service, ({ exists }) => exists(Redacted.make(cookie ?? ""))))
    })
  )

  test(
    "a field stays tracked as read after a rollback, so a conflict is detected",
    Effect.gen(function*() {
      const cookie = yield* begin
      const service = yield* App.service
      const { error } = yield* visit(
        App,
        Effect.gen(function*() {
          yield* App.get("count")
          // Another subject starts with no fields read.
          yield* Effect.ignore(App.withRollback(failing(Effect.all([App.authenticate("bob"), App.set("count", 1)]))))
          const other = service.request(`${service.cookie.name}=${cookie}`)
          yield* other.update("count", (n) => n + 1)
          yield* other.finish(200)
          yield* App.set("count", 5)
        }),
        cookie
      )
      assert.strictEqual(error?._tag, "SessionConflict")
      assert.strictEqual((yield* stored(cookie)).count, 11)
    })
  )

  test(
    "a field set only in the part is tracked as read once the handler reads it",
    Effect.gen(function*() {
      const cookie = yield* begin
      const service = yield* App.service
      const { error } = yield* visit(
        App,
        Effect.gen(function*() {
          yield* Effect.ignore(App.withRollback(failing(App.set("count", 1))))
          const seen = yield* App.get("count")
          const other = service.request(`${service.cookie.name}=${cookie}`)
          yield* other.update("count", (n) => n + 1)
          yield* other.finish(200)
          yield* App.set("count", seen + 5)
        }),
        cookie
      )
      assert.strictEqual(error?._tag, "SessionConflict")
      assert.strictEqual((yield* stored(cookie)).count, 11)
    })
  )

  test(
    "without withRollback, a step that is tried three times counts three times",
    Effect.gen(function*() {
      const cookie = yield* begin
      let tries = 0
      const step = Effect.zipRight(increment, Effect.suspend(() => ++tries < 3 ? Effect.fail("not yet") : Effect.void))
      yield* visit(App, Effect.retry(step, { times: 5 }), cookie)
      assert.strictEqual((yield* stored(cookie)).count, 13)
    })
  )
})
