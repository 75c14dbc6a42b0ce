/**
 * The middleware of `docs/coming-from-express-session.md` that moves live sessions, as it is on the page.
 */
import type { HttpApp } from "@effect/platform"
import { HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { toWebHandler } from "@effect/platform/HttpApp"
import { it } from "@effect/vitest"
import { Context, Effect, Layer, Option, Schema } from "effect"
import { MemoryEngine, Session } from "effect-session"
import { readFileSync } from "node:fs"
import { assert, describe } from "vitest"

// From the page
class AppSession extends Session.Tag<AppSession>()("app/Session", {
  schema: Schema.Struct({
    user: Schema.optional(Schema.String),
    cart: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] })
  })
}) {}

/** The data of an old session, validated. The member `cookie` of express-session is dropped. */
const OldSession = Schema.Struct({
  user: Schema.optional(Schema.String),
  cart: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] })
})

/** Checks the signature of a cookie, and reads and deletes its session in one step: `GETDEL sess:<id>`, `DELETE … RETURNING sess`. */
class OldSessions extends Context.Tag("app/OldSessions")<OldSessions, {
  readonly take: (cookie: string) => Effect.Effect<Option.Option<unknown>>
}>() {}

/** Put it between the routes and `AppSession.middleware`. */
export const moving = <E, R>(app: HttpApp.Default<E, R>) =>
  Effect.gen(function*() {
    const { cookies } = yield* HttpServerRequest.HttpServerRequest
    const old = cookies["connect.sid"]
    if (old === undefined) return yield* app
    if (Option.isNone(yield* AppSession.subject)) {
      const taken = yield* Effect.flatMap(OldSessions, ({ take }) => take(old))
      const found = Option.flatMap(taken, Schema.decodeUnknownOption(OldSession))
      if (Option.isSome(found)) {
        const { cart, user } = found.value
        if (user !== undefined) yield* AppSession.authenticate(user)
        yield* AppSession.patch({ cart, ...user === undefined ? {} : { user } })
      }
    }
    return HttpServerResponse.unsafeSetCookie(yield* app, "connect.sid", "", { path: "/", maxAge: 0 })
  })
// To the page

const visit = Effect.gen(function*() {
  const { cart, user } = yield* AppSession.value
  const subject = Option.getOrUndefined(yield* AppSession.subject)
  return HttpServerResponse.unsafeJson({ subject, user, cart })
})

/** A server with one old session, and the number of times that it was taken. */
const served = Effect.gen(function*() {
  const old = new Map<string, unknown>([["s:one.signature", { cookie: {}, user: "ann", cart: ["tea"] }]])
  const context = yield* Layer.build(Layer.provide(AppSession.layer, MemoryEngine.layer))
  const app = AppSession.middleware(moving(visit)).pipe(
    Effect.provideService(OldSessions, {
      take: (cookie) =>
        Effect.sync(() => {
          const found = Option.fromNullable(old.get(cookie))
          old.delete(cookie)
          return found
        })
    }),
    Effect.provide(context)
  )
  const handler = toWebHandler(app)
  return (cookie?: string) =>
    Effect.promise(() =>
      handler(new Request("https://shop.example/", { headers: cookie === undefined ? {} : { cookie } }))
    )
})

const bodyOf = (response: Response) => Effect.promise(() => response.json())

describe("moving a session of express-session", () => {
  it("is the code of the page", () => {
    const [, code = ""] =
      /\/\/ From the page\n([\s\S]*?)\n\/\/ To the page/.exec(readFileSync("test/comingFrom.test.ts", "utf8")) ?? []
    assert.isAbove(code.length, 500)
    assert.include(readFileSync("docs/coming-from-express-session.md", "utf8"), code)
  })

  it.scopedLive("logs the visitor in with the data of the old session, and expires its cookie", () =>
    Effect.gen(function*() {
      const send = yield* served
      const response = yield* send(`connect.sid=${encodeURIComponent("s:one.signature")}`)
      assert.deepStrictEqual(yield* bodyOf(response), { subject: "ann", user: "ann", cart: ["tea"] })
      const cookies = response.headers.getSetCookie()
      const [mine = ""] = cookies.filter((cookie) => cookie.startsWith("__Host-Http-session="))
      assert.isTrue(cookies.some((cookie) => /^connect\.sid=; Max-Age=0/.test(cookie)), cookies.join("\n"))
      const [pair = ""] = mine.split(";")
      assert.deepStrictEqual(yield* bodyOf(yield* send(pair)), { subject: "ann", user: "ann", cart: ["tea"] })
    }))

  it.scopedLive("happens once: a copy of the old cookie is worth nothing afterwards", () =>
    Effect.gen(function*() {
      const send = yield* served
      const cookie = `connect.sid=${encodeURIComponent("s:one.signature")}`
      yield* send(cookie)
      assert.deepStrictEqual(yield* bodyOf(yield* send(cookie)), { cart: [] })
    }))

  it.scopedLive("does nothing without the old cookie", () =>
    Effect.gen(function*() {
      const send = yield* served
      const response = yield* send()
      assert.deepStrictEqual(yield* bodyOf(response), { cart: [] })
      assert.deepStrictEqual(response.headers.getSetCookie(), [])
    }))
})
