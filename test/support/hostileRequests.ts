/**
 * A server with sessions of a visitor and of an attacker, and requests whose bytes are written to the socket unchanged.
 */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { it } from "@effect/vitest"
import { Array as Arr, Effect, Layer, Schema } from "effect"
import { Session } from "effect-session"
import type { Operation } from "effect-session/SessionStore"
import { createServer } from "node:http"
import { assert } from "vitest"
import { exchange, pairOf, serve, setCookiesOf, wrappedEngine } from "./httpServer.js"
import { request } from "./rawHttp.js"

class Users extends Session.Tag<Users>()("test/Hostile", {
  schema: Schema.Struct({ name: Schema.optional(Schema.String) })
}) {}

const who = Effect.map(Users.getOrElse("name", () => "anonymous"), (name) => HttpServerResponse.text(name))

const app = HttpRouter.empty.pipe(
  HttpRouter.get("/free", Effect.succeed(HttpServerResponse.text("free"))),
  HttpRouter.all("/who", who),
  // Responds after it has read the whole body.
  HttpRouter.post("/read", Effect.zipRight(Effect.flatMap(HttpServerRequest.HttpServerRequest, (r) => r.text), who)),
  HttpRouter.get(
    "/be/:name",
    Effect.flatMap(HttpRouter.params, ({ name = "" }) => Effect.zipRight(Users.set("name", name), who))
  ),
  HttpRouter.use(Users.middleware)
)

export const cookieName = "__Host-Http-session"

export interface World {
  readonly port: number
  /** The tokens of two live sessions. */
  readonly visitor: string
  readonly attacker: string
  readonly calls: ReadonlyArray<Operation>
}

export const hostile = (title: string, body: (world: World) => Effect.Effect<void, unknown>) =>
  it.live(title, () =>
    Effect.gen(function*() {
      const calls: Array<Operation> = []
      const engine = wrappedEngine((operation, call) => Effect.suspend(() => (calls.push(operation), call)))
      const port = yield* serve(
        HttpServer.serve(app).pipe(Layer.provide(Users.layer), Layer.provide(engine)),
        () => createServer({ maxHeaderSize: 400_000 })
      )
      const tokenOf = (name: string) =>
        Effect.map(Effect.flatMap(request(port, `/be/${name}`), pairOf), (pair) => pair.slice(cookieName.length + 1))
      const world = { port, visitor: yield* tokenOf("visitor"), attacker: yield* tokenOf("attacker"), calls }
      yield* body(world)
      assert.strictEqual((yield* request(port, "/free")).status, 200)
      assert.strictEqual((yield* request(port, "/who", [["Cookie", own(world.visitor)]])).body, "visitor")
    }).pipe(Effect.scoped, Effect.orDie))

export const own = (token: string) => `${cookieName}=${token}`

/** Sends a request on a new connection. `refused`: Node itself responds with 400. */
export const alone = (port: number, ...lines: ReadonlyArray<string>) =>
  Effect.map(
    exchange(port, ["GET /who HTTP/1.1", "Host: localhost", ...lines, "Connection: close", "", ""].join("\r\n")),
    ([answer]) => answer?.status === 400 ? "refused" : `${answer?.status} ${answer?.body}`
  )

/** Pipelines many requests on one connection, and checks that none sets a cookie. A request that Node refuses would end it. */
export const pipelined = (port: number, headers: ReadonlyArray<string>) =>
  Effect.map(
    exchange(
      port,
      headers.map((header) => `GET /who HTTP/1.1\r\nHost: localhost\r\nCookie: ${header}\r\n\r\n`).join("") +
        "GET /free HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    ),
    (answers) => {
      assert.strictEqual(answers.length, headers.length + 1)
      assert.strictEqual(answers.at(-1)?.body, "free")
      assert.deepStrictEqual(answers.flatMap(setCookiesOf), [])
      return answers.slice(0, -1).map(({ body, status }) => `${status} ${body}`)
    }
  )

/** Checks that each cookie alone opens no session, and changes nothing before or after the visitor's cookie. */
export const ignored = ({ port, visitor }: World, cookies: ReadonlyArray<string>) =>
  Effect.forEach(Arr.chunksOf(cookies, 20), (some) => {
    const headers = some.flatMap((cookie) => [cookie, `${cookie}; ${own(visitor)}`, `${own(visitor)}; ${cookie}`])
    const expected = some.flatMap(() => ["200 anonymous", "200 visitor", "200 visitor"])
    return Effect.map(
      pipelined(port, headers),
      (seen) =>
        assert.deepStrictEqual(seen.map((who, at) => [who, headers[at]]), expected.map((who, at) => [who, headers[at]]))
    )
  }, { discard: true })
