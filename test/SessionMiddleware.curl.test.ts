/** A visit by curl with its cookie jar, an independent client. */
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { it } from "@effect/vitest"
import { Effect, Layer, Option, Schema } from "effect"
import { MemoryEngine, Session, SessionCookie } from "effect-session"
import type { Settings } from "effect-session/SessionService"
import { execFile } from "node:child_process"
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { assert, describe } from "vitest"
import { serve } from "./support/httpServer.js"

class Users extends Session.Tag<Users>()("test/Curl", {
  carryOver: "all",
  schema: Schema.Struct({ cart: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] }) })
}) {}

const handlers: Readonly<Record<string, Effect.Effect<unknown, unknown, Users>>> = {
  "/add": Users.update("cart", (cart) => [...cart, "book"]),
  "/login": Users.authenticate("ann"),
  "/logout": Users.destroy
}

const who = Effect.map(
  Effect.all([Users.subject, Users.get("cart")]),
  ([subject, cart]) => HttpServerResponse.text([Option.getOrElse(subject, () => "anonymous"), ...cart].join(" "))
)

const app = Users.middleware(Effect.flatMap(
  HttpServerRequest.HttpServerRequest,
  ({ method, url }) => Effect.zipRight((method === "POST" ? handlers[url] : undefined) ?? Effect.void, who)
))

const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(Path.join(tmpdir(), "effect-session-curl-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
)

/** The output of curl. */
const curl = (...args: ReadonlyArray<string>): Effect.Effect<string> =>
  Effect.async((resume) => {
    const child = execFile("curl", [
      "--disable",
      "--noproxy",
      "*",
      "--silent",
      "--show-error",
      "--max-time",
      "20",
      ...args
    ], (error, stdout) =>
      resume(
        error === null
          ? Effect.succeed(stdout)
          : Effect.dieMessage(
            error.code === "ENOENT" ? "This test needs curl, which is not installed." : `curl failed: ${error.message}`
          )
      ))
    return Effect.sync(() => child.kill())
  })

/** A server, and a visitor whose cookies are kept in a file. */
const start = (host: string, settings: Settings) =>
  Effect.gen(function*() {
    const port = yield* serve(
      HttpServer.serve(app).pipe(Layer.provide(Users.layerWith(settings)), Layer.provide(MemoryEngine.layer))
    )
    const jar = Path.join(yield* directory, "jar")
    const url = `http://${host}:${port}`
    const visit = (path: string, file = jar) =>
      curl("--cookie", file, "--cookie-jar", file, ...(path === "/" ? [] : ["--request", "POST"]), `${url}${path}`)
    return { jar, url, visit }
  })

/** The cookies in curl's jar. Lines of HttpOnly cookies begin with `#HttpOnly_`. */
const cookiesIn = (jar: string) =>
  readFileSync(jar, "utf8").split("\n").filter((line) => line.startsWith("#HttpOnly_") || !/^(?:#|$)/.test(line))
    .map((line) => line.split("\t"))

const visits = (title: string, host: string, settings: Settings, expected: ReadonlyArray<string>) =>
  it.live(title, () =>
    Effect.gen(function*() {
      const { jar, visit } = yield* start(host, settings)
      assert.strictEqual(yield* visit("/"), "anonymous")
      assert.deepStrictEqual(cookiesIn(jar), [])
      assert.strictEqual(yield* visit("/add"), "anonymous book")
      const [cookie = [], ...others] = cookiesIn(jar)
      assert.deepStrictEqual(others, [])
      assert.deepStrictEqual(cookie.filter((_, at) => at < 4 || at === 5), expected)
      copyFileSync(jar, `${jar}.anonymous`)

      assert.strictEqual(yield* visit("/login"), "ann book")
      assert.strictEqual(yield* visit("/add"), "ann book book")
      assert.strictEqual(yield* visit("/", `${jar}.anonymous`), "anonymous", "the cookie from before the login")
      copyFileSync(jar, `${jar}.stolen`)
      assert.strictEqual(yield* visit("/", `${jar}.stolen`), "ann book book")

      assert.strictEqual(yield* visit("/logout"), "anonymous")
      assert.deepStrictEqual(cookiesIn(jar), [])
      assert.strictEqual(yield* visit("/"), "anonymous")
      assert.strictEqual(yield* visit("/", `${jar}.stolen`), "anonymous", "the cookie from before the logout")
    }).pipe(Effect.scoped, Effect.orDie))

describe("a visit by curl: a cart, a login, a logout, and reused old cookies", () => {
  visits("the default cookie, which is Secure, on localhost", "localhost", {}, [
    "#HttpOnly_localhost",
    "FALSE",
    "/",
    "TRUE",
    "__Host-Http-session"
  ])

  visits("the development cookie on 127.0.0.1", "127.0.0.1", { cookie: SessionCookie.development }, [
    "#HttpOnly_127.0.0.1",
    "FALSE",
    "/",
    "FALSE",
    "session-dev-test.Curl"
  ])

  it.live("the development cookie is not set for another host", () =>
    Effect.gen(function*() {
      const { jar, url } = yield* start("127.0.0.1", { cookie: SessionCookie.development })
      const answer = yield* curl(
        "--cookie-jar",
        jar,
        "--request",
        "POST",
        "--header",
        "Host: shop.example",
        `${url}/add`
      )
      assert.include(answer, "localhost only")
      assert.deepStrictEqual(cookiesIn(jar), [])
    }).pipe(Effect.scoped, Effect.orDie))
})
