import * as NodeContext from "@effect/platform-node/NodeContext"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { it } from "@effect/vitest"
import { Effect, Layer, Scope } from "effect"
import { FileEngine } from "effect-session"
import { SessionConfigError } from "effect-session/SessionConfigError"
import { SessionDirectory } from "effect-session/SessionDirectory"
import { SessionMaintenance } from "effect-session/SessionMaintenance"
import { SessionRevocation } from "effect-session/SessionRevocation"
import { writeFileSync } from "node:fs"
import * as Path from "node:path"
import { assert, describe } from "vitest"
import { pairOf, serve } from "./support/httpServer.js"
import { request } from "./support/rawHttp.js"
import { ShopSession } from "./support/shop.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

const app = HttpRouter.empty.pipe(
  HttpRouter.get("/login", Effect.as(ShopSession.authenticate("ann"), HttpServerResponse.text("in"))),
  HttpRouter.get("/logout", Effect.as(ShopSession.destroy, HttpServerResponse.text("out"))),
  HttpRouter.get(
    "/add",
    Effect.zipRight(
      ShopSession.update("count", (n) => n + 1),
      Effect.map(ShopSession.get("count"), (n) => HttpServerResponse.text(`${n}`))
    )
  ),
  HttpRouter.get("/count", Effect.map(ShopSession.get("count"), (n) => HttpServerResponse.text(`${n}`))),
  HttpRouter.use(ShopSession.middleware)
)

const engine = (directory: string) => Layer.provide(FileEngine.layer({ directory }), NodeContext.layer)

/** Starts a server that stores its sessions in a directory. */
const server = (directory: string) =>
  serve(Layer.provide(HttpServer.serve(app), Layer.provide(ShopSession.layer, engine(directory))))

const bodyOf = (port: number, path: string, cookie: string) =>
  Effect.map(request(port, path, [["Cookie", cookie]]), ({ body }) => body)

describe("FileEngine", () => {
  it.scopedLive("two servers on one directory share sessions, and concurrent updates are not lost", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryDirectory("files")
      const [one, two] = [yield* server(directory), yield* server(directory)] as const
      const cookie = yield* pairOf(yield* request(one, "/login"))
      yield* Effect.forEach(
        Array.from({ length: 20 }, (_, i) => i % 2 === 0 ? one : two),
        (port) => bodyOf(port, "/add", cookie),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(yield* bodyOf(one, "/count", cookie), "20")
      yield* request(two, "/logout", [["Cookie", cookie]])
      assert.strictEqual(yield* bodyOf(one, "/count", cookie), "0")
    }))

  it.scopedLive("sessions survive a restart of the server", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryDirectory("files")
      const before = yield* Scope.make()
      const first = yield* Scope.extend(server(directory), before)
      const cookie = yield* pairOf(yield* request(first, "/login"))
      assert.strictEqual(yield* bodyOf(first, "/add", cookie), "1")
      yield* Scope.close(before, yield* Effect.exit(Effect.void))
      assert.strictEqual(yield* bodyOf(yield* server(directory), "/add", cookie), "2")
    }))

  it.scopedLive("another process can list, count and revoke the sessions of a subject", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryDirectory("files")
      const port = yield* server(directory)
      const cookies = [yield* pairOf(yield* request(port, "/login")), yield* pairOf(yield* request(port, "/login"))]
      yield* Effect.forEach(cookies, (cookie) => bodyOf(port, "/add", cookie))
      yield* Effect.gen(function*() {
        const list = yield* (yield* SessionDirectory).list("test/Shop", "ann", Date.now())
        assert.strictEqual(list.length, 2)
        assert.deepStrictEqual(yield* (yield* SessionMaintenance).count(Date.now()), { current: 2, expired: 0 })
        const [first] = list
        yield* (yield* SessionRevocation).revokeSubject("test/Shop", "ann", first?.id)
      }).pipe(Effect.provide(engine(directory)))
      const counts = yield* Effect.forEach(cookies, (cookie) => bodyOf(port, "/count", cookie))
      assert.deepStrictEqual(counts.sort(), ["0", "1"])
    }))

  it.scopedLive("the layer fails with SessionConfigError if the directory is a file", () =>
    Effect.gen(function*() {
      const file = Path.join(yield* temporaryDirectory("files"), "sessions")
      writeFileSync(file, "")
      assert.instanceOf(yield* Effect.flip(Layer.build(engine(file))), SessionConfigError)
    }))
})
