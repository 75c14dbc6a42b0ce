import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { it } from "@effect/vitest"
import { Context, Effect, Layer, Logger, Schema } from "effect"
import { MemoryEngine, Session, SessionCookie } from "effect-session"
import { createServer } from "node:http"
import { assert, describe } from "vitest"
import { headersOf, type RawAnswer, request } from "./support/rawHttp.js"

class Users extends Session.Tag<Users>()("test/Users", {
  schema: Schema.Struct({
    name: Schema.optional(Schema.String),
    count: Schema.optionalWith(Schema.Number, { default: () => 0 })
  })
}) {}

class Staff extends Session.Tag<Staff>()("test/Staff", {
  schema: Schema.Struct({ name: Schema.optional(Schema.String) }),
  cookie: { name: "staff" }
}) {}

const text = (value: unknown) => HttpServerResponse.text(String(value))

const app = HttpRouter.empty.pipe(
  HttpRouter.get("/free", Effect.succeed(text("free"))),
  HttpRouter.get("/name", Effect.map(Users.get("name"), text)),
  HttpRouter.get("/staff", Effect.map(Staff.get("name"), text)),
  HttpRouter.get("/set", Effect.as(Users.set("name", "ann"), text("set"))),
  HttpRouter.get("/set-staff", Effect.as(Staff.set("name", "boss"), text("set"))),
  HttpRouter.get(
    "/own-headers",
    Effect.as(
      Users.set("count", 1),
      text("x").pipe(
        HttpServerResponse.setHeader("vary", "Accept, Origin"),
        HttpServerResponse.unsafeSetCookie("theme", "dark")
      )
    )
  ),
  HttpRouter.get(
    "/invalid",
    Effect.as(Effect.zipRight(Users.set("name", "x"), Users.set("count", Number.NaN)), text("x"))
  ),
  HttpRouter.get("/fail", Effect.zipRight(Users.set("name", "lost"), Effect.fail("boom"))),
  HttpRouter.get("/logout", Effect.as(Users.destroy, text("out"))),
  HttpRouter.get("/login", Effect.as(Users.authenticate("ann"), text("in"))),
  HttpRouter.use(Users.middleware),
  HttpRouter.use(Staff.middleware)
)

/** Starts a real server on a free port. */
const serve = (sessions: typeof plain = plain) =>
  Effect.map(
    Layer.build(
      HttpServer.serve(app, HttpMiddleware.xForwardedHeaders).pipe(
        Layer.provide(sessions),
        Layer.provide(MemoryEngine.layer),
        Layer.provideMerge(NodeHttpServer.layer(() => createServer(), { port: 0, host: "127.0.0.1" })),
        Layer.provide(Logger.remove(Logger.defaultLogger))
      )
    ),
    (context) => {
      const { address } = Context.get(context, HttpServer.HttpServer)
      if (address._tag !== "TcpAddress") throw new Error("not a port")
      return address.port
    }
  )

const plain = Layer.merge(Users.layer, Staff.layer)

const name = "__Host-Http-session"
const pairOf = (answer: RawAnswer) => headersOf(answer, "set-cookie").map((line) => line.split(";")[0] ?? "")

const live = (title: string, body: (port: number) => Effect.Effect<void, unknown>) =>
  it.live(title, () => Effect.flatMap(serve(), body).pipe(Effect.scoped, Effect.orDie))

describe("the middleware on a real server", () => {
  live("the default cookie, to the byte (ASVS 3.3.3)", (port) =>
    Effect.gen(function*() {
      const answer = yield* request(port, "/set")
      assert.match(
        headersOf(answer, "set-cookie")[0] ?? "",
        /^__Host-Http-session=r1\.[A-Za-z0-9_-]{43}; Max-Age=2592000; Path=\/; HttpOnly; Secure; SameSite=Lax$/
      )
      assert.deepStrictEqual(headersOf(answer, "cache-control"), ["no-store"])
      assert.deepStrictEqual(headersOf(answer, "vary"), ["Cookie"])
    }))

  live("a logout expires the cookie with the same attributes (R6)", (port) =>
    Effect.gen(function*() {
      const cookie = pairOf(yield* request(port, "/set"))[0] ?? ""
      const answer = yield* request(port, "/logout", [["Cookie", cookie]])
      assert.deepStrictEqual(headersOf(answer, "set-cookie"), [
        `${name}=; Max-Age=0; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; SameSite=Lax`
      ])
      assert.strictEqual((yield* request(port, "/name", [["Cookie", cookie]])).body, "undefined")
    }))

  live("headers and cookies of the handler are kept", (port) =>
    Effect.gen(function*() {
      const answer = yield* request(port, "/own-headers")
      assert.deepStrictEqual(headersOf(answer, "vary"), ["Accept, Origin, Cookie"])
      assert.deepStrictEqual(pairOf(answer).map((pair) => pair.split("=")[0]).sort(), [name, "theme"].sort())
    }))

  live(
    "two session tags are isolated: by cookie name, and by namespace if a value is copied to the other cookie",
    (port) =>
      Effect.gen(function*() {
        const users = pairOf(yield* request(port, "/set"))[0] ?? ""
        const staff = pairOf(yield* request(port, "/set-staff"))[0] ?? ""
        assert.match(staff, /^__Host-Http-staff=/)
        const both: ReadonlyArray<readonly [string, string]> = [["Cookie", `${users}; ${staff}`]]
        assert.strictEqual((yield* request(port, "/name", both)).body, "ann")
        assert.strictEqual((yield* request(port, "/staff", both)).body, "boss")
        const carried = `__Host-Http-staff=${users.split("=")[1]}`
        assert.strictEqual((yield* request(port, "/staff", [["Cookie", carried]])).body, "undefined")
      })
  )

  live("an invalid value answers 400 and is not written", (port) =>
    Effect.gen(function*() {
      const answer = yield* request(port, "/invalid")
      assert.strictEqual(answer.status, 400)
      assert.include(answer.body, `at \\"count\\"`)
      // The 4xx commits the valid change made before.
      const cookie = pairOf(answer)[0] ?? ""
      assert.strictEqual((yield* request(port, "/name", [["Cookie", cookie]])).body, "x")
    }))

  live("a handler that fails writes nothing and sends no cookie (R17)", (port) =>
    Effect.gen(function*() {
      const answer = yield* request(port, "/fail")
      assert.strictEqual(answer.status, 500)
      assert.deepStrictEqual(headersOf(answer, "set-cookie"), [])
    }))

  live("an unknown route does not use the session", (port) =>
    Effect.gen(function*() {
      const answer = yield* request(port, "/nowhere", [["Cookie", `${name}=r1.${"A".repeat(43)}`]])
      assert.deepStrictEqual([answer.status, headersOf(answer, "vary")], [404, []])
    }))

  live("a token is not read from the query or another header (ASVS 14.2.1)", (port) =>
    Effect.gen(function*() {
      const cookie = pairOf(yield* request(port, "/set"))[0] ?? ""
      const token = cookie.split("=")[1] ?? ""
      for (const path of [`/name?${cookie}`, `/name?sid=${token}`]) {
        assert.strictEqual((yield* request(port, path)).body, "undefined")
      }
      for (const header of ["Authorization", "X-Session", "X-Session-Token", name]) {
        assert.strictEqual((yield* request(port, "/name", [[header, token]])).body, "undefined")
      }
    }))

  live("hostile cookies are anonymous, without an error (F1 to F4)", (port) =>
    Effect.gen(function*() {
      const valid = pairOf(yield* request(port, "/set"))[0] ?? ""
      const token = valid.split("=")[1] ?? ""
      const hostile = [
        `${name}=`,
        name,
        `=${valid}`,
        `${name}="${token}"`,
        `${name}=%72${token.slice(1)}`,
        `${name}=${token}\xa0`,
        `\xa0${valid}`,
        `\x85${valid}`,
        `\xef\xbb\xbf${valid}`,
        `${name.toUpperCase()}=${token}`,
        `${name}=${token.slice(0, -1)}`,
        `${name}=${token}A`,
        `${name}=r1.${"\xff".repeat(43)}`,
        `${name}=${"A".repeat(8000)}`,
        ";".repeat(500),
        ";".repeat(2000),
        `__proto__=${token}; constructor=${token}`
      ]
      for (const cookie of hostile) {
        const answer = yield* request(port, "/name", [["Cookie", cookie]])
        assert.deepStrictEqual(
          [answer.status, answer.body, pairOf(answer)],
          [200, "undefined", []],
          JSON.stringify(cookie)
        )
      }
      // Beside each of them the visitor's own cookie is found, unless the header exceeds what is scanned.
      for (const cookie of hostile.filter((cookie) => cookie.length < 1000)) {
        const answer = yield* request(port, "/name", [["Cookie", `${cookie}; ${valid}`]])
        assert.strictEqual(answer.body, "ann", JSON.stringify(cookie))
      }
    }))

  live(
    "a cookie header of 1 MB is rejected by the server, and the next request is served (F3)",
    (port) =>
      Effect.gen(function*() {
        const answer = yield* request(port, "/name", [["Cookie", `${name}=${"A".repeat(1_000_000)}`]]).pipe(
          Effect.orElseSucceed((): RawAnswer => ({ status: 431, body: "", headers: [] }))
        )
        assert.strictEqual(answer.status, 431)
        assert.strictEqual((yield* request(port, "/free")).status, 200)
      })
  )

  live(
    "two live sessions with our cookie name: neither is trusted, until a login ends both (R10)",
    (port) =>
      Effect.gen(function*() {
        const [mine = ""] = pairOf(yield* request(port, "/set"))
        const [planted = ""] = pairOf(yield* request(port, "/set"))
        for (const cookie of [`${mine}; ${planted}`, `${planted}; ${mine}`]) {
          assert.strictEqual((yield* request(port, "/name", [["Cookie", cookie]])).body, "undefined")
        }
        assert.strictEqual((yield* request(port, "/name", [["Cookie", `${mine}; ${mine}`]])).body, "ann")
        const login = yield* request(port, "/login", [["Cookie", `${mine}; ${planted}`]])
        assert.strictEqual(pairOf(login).length, 1)
        for (const cookie of [mine, planted]) {
          assert.strictEqual((yield* request(port, "/name", [["Cookie", cookie]])).body, "undefined")
        }
      })
  )

  live("two cookie headers are joined (R11)", (port) =>
    Effect.gen(function*() {
      const [mine = ""] = pairOf(yield* request(port, "/set"))
      const answer = yield* request(port, "/name", [["Cookie", "a=b"], ["Cookie", mine]])
      assert.strictEqual(answer.body, "ann")
    }))
})

describe("the development cookie", () => {
  it.live("works on loopback; for any other host the error states the reason", () =>
    Effect.gen(function*() {
      const port = yield* serve(Layer.merge(Users.layerWith({ cookie: SessionCookie.development }), Staff.layer))
      for (const host of ["localhost", `localhost:${port}`, "127.0.0.1:1", "[::1]:80", "shop.localhost"]) {
        const answer = yield* request(port, "/set", [["Host", host]])
        assert.strictEqual(answer.status, 200, host)
        assert.match(
          headersOf(answer, "set-cookie")[0] ?? "",
          /^session-dev-test\.Users=r1\.[^;]*; Max-Age=\d+; Path=\/; HttpOnly; SameSite=Lax$/
        )
      }
      for (const host of ["example.com", "localhost.example.com", "127.0.0.1.example.com", "10.0.0.1", ""]) {
        const answer = yield* request(port, "/set", [["Host", host]])
        assert.strictEqual(answer.status, 500, host)
        assert.include(answer.body, "localhost")
        assert.deepStrictEqual(headersOf(answer, "set-cookie"), [])
      }
    }).pipe(Effect.scoped, Effect.orDie))
})
