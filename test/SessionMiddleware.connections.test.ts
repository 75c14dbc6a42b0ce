/** Streamed responses, connections that last longer than their request, and clients that disconnect. */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Deferred, Effect, Exit, Fiber, Layer, Logger, Queue, Schema, type Scope, Stream } from "effect"
import { Session } from "effect-session"
import { assert, describe } from "vitest"
import { abandoned, increment, live, open, socketTo, text } from "./support/countingServer.js"
import { exchange, pairOf, serve, setCookiesOf, wrappedEngine } from "./support/httpServer.js"
import { headersOf, request } from "./support/rawHttp.js"
import { ShopSession } from "./support/shop.js"

class Staff extends Session.Tag<Staff>()("test/Staff", {
  schema: Schema.Struct({ name: Schema.optional(Schema.String) }),
  cookie: { name: "staff" }
}) {}

const route = (
  handler: Effect.Effect<
    HttpServerResponse.HttpServerResponse,
    unknown,
    ShopSession | HttpServerRequest.HttpServerRequest | Scope.Scope
  >
) => HttpRouter.get(HttpRouter.empty, "/", handler)

const bytes = <E>(lines: Stream.Stream<string, E>) => Stream.encodeText(lines)

describe("streamed responses", () => {
  live(
    "changes made before the stream are saved before the first byte, also if the stream then fails",
    Effect.gen(function*() {
      const app = yield* open(route(Effect.as(
        increment,
        HttpServerResponse.stream(bytes(Stream.concat(Stream.make("one "), Stream.dieMessage("the source broke"))))
      )))
      const answer = yield* app.get("/")
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(yield* app.count, 1)
      assert.deepStrictEqual(app.calls.filter((call) => call === "save"), ["save"])
    })
  )

  live(
    "a change inside the stream fails with SessionCommitted, and nothing is written",
    Effect.gen(function*() {
      const outcome = yield* Deferred.make<Exit.Exit<void, unknown>>()
      const app = yield* open(route(Effect.map(ShopSession, (session) =>
        HttpServerResponse.stream(
          bytes(Stream.fromEffect(
            Effect.exit(session.update("count", (n) => n + 1)).pipe(
              Effect.tap((exit) => Deferred.succeed(outcome, exit)),
              Effect.as("done")
            )
          ))
        ))))
      yield* app.get("/")
      const exit = yield* Deferred.await(outcome)
      assert.include(String(exit), "SessionCommitted")
      assert.strictEqual(yield* app.count, 0)
    })
  )

  live(
    "a handler that saves before it streams sends the cookie in the headers, and the stream reads the saved session",
    Effect.gen(function*() {
      const app = yield* open(route(Effect.gen(function*() {
        const session = yield* ShopSession
        yield* session.authenticate("ann")
        yield* session.save
        return HttpServerResponse.stream(bytes(Stream.fromEffect(Effect.map(session.subject, String))))
      })))
      const answer = yield* app.get("/")
      assert.strictEqual(setCookiesOf(answer).length, 1)
      assert.include(answer.body, "ann")
    })
  )
})

describe("server-sent events", () => {
  /** Sends one line when it is open, and ends with the session. */
  const events = Effect.map(ShopSession, (session) =>
    HttpServerResponse.stream(
      bytes(Stream.concat(Stream.make("data: open\n\n"), Stream.never).pipe(Stream.interruptWhen(session.awaitEnd()))),
      { contentType: "text/event-stream" }
    ))

  live(
    "the stream ends at once on a logout in the same process",
    Effect.gen(function*() {
      const app = yield* open(route(Effect.zipRight(ShopSession.get("user"), events)))
      const stream = yield* Effect.fork(app.get("/"))
      yield* app.seen("load", 2) // the handler's load, and the first check of the stream
      assert.isTrue((yield* Fiber.poll(stream))._tag === "None")
      yield* app.get("/logout")
      const answer = yield* Fiber.join(stream)
      assert.include(answer.body, "data: open")
      assert.deepStrictEqual(headersOf(answer, "vary"), ["Cookie"])
    })
  )

  live(
    "the stream ends when a login moves the session to a new token",
    Effect.gen(function*() {
      const app = yield* open(HttpRouter.get(
        route(Effect.zipRight(ShopSession.get("user"), events)),
        "/login",
        Effect.as(ShopSession.authenticate("ann"), text("in"))
      ))
      const stream = yield* Effect.fork(app.get("/"))
      yield* app.seen("load", 2)
      yield* app.get("/login")
      assert.include((yield* Fiber.join(stream)).body, "data: open")
    })
  )
})

describe("upgrades to a WebSocket", () => {
  /** Answers each line with the count; `+` adds one, `!` adds one and saves, `login` authenticates and saves. */
  const chat = Effect.gen(function*() {
    const session = yield* ShopSession
    yield* session.get("count")
    const socket = yield* HttpServerRequest.upgrade
    const write = yield* socket.writer
    const reply = (effect: Effect.Effect<unknown, { readonly _tag: string }>) =>
      Effect.flatMap(
        Effect.match(effect, { onSuccess: String, onFailure: ({ _tag }) => _tag }),
        write
      )
    const done = "done"
    yield* Effect.raceFirst(
      socket.runRaw((line) =>
        reply(
          line === "+"
            ? Effect.as(session.update("count", (n) => n + 1), done)
            : line === "!"
            ? Effect.as(Effect.zipRight(session.update("count", (n) => n + 1), session.save), done)
            : line === "login"
            ? Effect.as(Effect.zipRight(session.authenticate("eve"), session.save), done)
            : session.get("count")
        )
      ),
      session.awaitEnd()
    )
    return HttpServerResponse.empty()
  })

  live(
    "save writes while the socket is open; unsaved changes are lost with a warning",
    Effect.gen(function*() {
      const logged = yield* Queue.unbounded<string>()
      const app = yield* open(
        route(chat),
        { log: Logger.make(({ message }) => void logged.unsafeOffer(String(message))) }
      )
      const socket = yield* socketTo(app.port, "/", app.cookie)
      yield* socket.send("!")
      assert.strictEqual(yield* socket.received, "done")
      assert.strictEqual(yield* app.count, 1)
      yield* socket.send("+")
      assert.strictEqual(yield* socket.received, "done")
      yield* socket.end
      const warning = yield* Effect.repeat(Queue.take(logged), { until: (line) => line.includes("not saved") })
      assert.include(warning, "test/Shop")
      assert.strictEqual(yield* app.count, 1)
    })
  )

  live(
    "authenticate and save fail, because a new token cannot be sent over a socket; the session is unchanged",
    Effect.gen(function*() {
      const app = yield* open(route(chat))
      const socket = yield* socketTo(app.port, "/", app.cookie)
      yield* socket.send("login")
      assert.strictEqual(yield* socket.received, "SessionCommitted")
      assert.strictEqual(yield* app.count, 0)
    })
  )

  live(
    "a pending cookie prevents the upgrade and is sent with the 400 response",
    Effect.gen(function*() {
      const app = yield* open(route(Effect.all([increment, ShopSession.save]).pipe(Effect.zipRight(chat))))
      const [answer] = yield* exchange(
        app.port,
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
          "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
      )
      if (answer === undefined) return assert.fail("no answer")
      assert.strictEqual(answer.status, 400)
      const own = yield* pairOf(answer)
      assert.strictEqual((yield* request(app.port, "/count", [["Cookie", own]])).body, "1")
    })
  )

  live(
    "the socket closes when its session is logged out by another request",
    Effect.gen(function*() {
      const app = yield* open(route(chat))
      const socket = yield* socketTo(app.port, "/", app.cookie)
      yield* socket.send("?")
      assert.strictEqual(yield* socket.received, "0")
      yield* app.get("/logout")
      yield* socket.closed
    })
  )
})

describe("clients that disconnect", () => {
  live(
    "a routed handler is interrupted, and nothing is written",
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      const interrupted = yield* Deferred.make<void>()
      const app = yield* open(route(
        increment.pipe(
          Effect.zipRight(Deferred.succeed(started, undefined)),
          Effect.zipRight(Effect.never),
          Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
        )
      ))
      const disconnect = yield* abandoned(app.port, "/", app.cookie)
      yield* Deferred.await(started)
      yield* disconnect
      yield* Deferred.await(interrupted)
      assert.strictEqual(yield* app.count, 0)
    })
  )

  live(
    "a plain application is not interrupted: it runs to its end and is saved",
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const app = yield* open(HttpRouter.empty, {
        plain: Effect.all([increment, Deferred.succeed(started, undefined), Deferred.await(go)])
      })
      const disconnect = yield* abandoned(app.port, "/plain", app.cookie)
      yield* Deferred.await(started)
      yield* disconnect
      yield* Deferred.succeed(go, undefined)
      yield* app.seen("save", 1)
      assert.strictEqual(yield* app.count, 1)
    })
  )

  live(
    "changes that save wrote before the disconnect stay",
    Effect.gen(function*() {
      const saved = yield* Deferred.make<void>()
      const interrupted = yield* Deferred.make<void>()
      const app = yield* open(route(
        Effect.all([increment, ShopSession.save, increment, Deferred.succeed(saved, undefined), Effect.never]).pipe(
          Effect.as(text("never")),
          Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
        )
      ))
      const disconnect = yield* abandoned(app.port, "/", app.cookie)
      yield* Deferred.await(saved)
      yield* disconnect
      yield* Deferred.await(interrupted)
      assert.strictEqual(yield* app.count, 1)
    })
  )

  live(
    "a commit that has begun is completed",
    Effect.gen(function*() {
      const app = yield* open(route(Effect.as(increment, text("saved"))))
      const saving = yield* app.hold("save", "before")
      const disconnect = yield* abandoned(app.port, "/", app.cookie)
      yield* saving.reached
      yield* disconnect
      yield* saving.go
      yield* app.seen("save", 1)
      assert.strictEqual(yield* app.count, 1)
    })
  )
})

describe("concurrency inside a handler", () => {
  live(
    "concurrent fibers share one load, and all their changes are saved",
    Effect.gen(function*() {
      const app = yield* open(route(Effect.as(
        Effect.all(Array.from({ length: 20 }, () => increment), { concurrency: "unbounded" }),
        text("all")
      )))
      yield* app.get("/")
      assert.deepStrictEqual(app.calls, ["load", "save"])
      assert.strictEqual(yield* app.count, 20)
    })
  )

  live(
    "a change by a joined fork is saved",
    Effect.gen(function*() {
      const app = yield* open(route(Effect.as(Effect.flatMap(Effect.fork(increment), Fiber.join), text("joined"))))
      yield* app.get("/")
      assert.strictEqual(yield* app.count, 1)
    })
  )

  live(
    "a change by a fork that runs after the response fails with SessionCommitted and touches no other session",
    Effect.gen(function*() {
      const answered = yield* Deferred.make<void>()
      const late = yield* Deferred.make<Exit.Exit<void, unknown>>()
      const app = yield* open(route(
        Effect.zipRight(
          Effect.forkDaemon(
            Deferred.await(answered).pipe(
              Effect.zipRight(Effect.exit(increment)),
              Effect.flatMap((exit) => Deferred.succeed(late, exit))
            )
          ),
          Effect.succeed(text("soon"))
        )
      ))
      yield* app.get("/")
      yield* Deferred.succeed(answered, undefined)
      assert.include(String(yield* Deferred.await(late)), "SessionCommitted")
      assert.strictEqual(yield* app.count, 0)
    })
  )

  live(
    "after a timeout inside a handler, changes made before it are saved and later ones are not made",
    Effect.gen(function*() {
      const app = yield* open(route(
        Effect.all([increment, Effect.never, increment]).pipe(
          Effect.timeout("200 millis"),
          Effect.catchTag("TimeoutException", () => Effect.succeed(undefined)),
          Effect.as(text("in time"))
        )
      ))
      assert.strictEqual((yield* app.get("/")).status, 200)
      assert.strictEqual(yield* app.count, 1)
    })
  )

  live(
    "after a timeout during the load, the next use loads the session again",
    Effect.gen(function*() {
      const app = yield* open(route(
        Effect.timeoutOption(ShopSession.get("count"), "10 millis").pipe(
          Effect.zipRight(increment),
          Effect.as(text("in time"))
        )
      ))
      const load = yield* app.hold("load", "before")
      assert.strictEqual((yield* app.get("/")).status, 200)
      yield* load.go
      assert.strictEqual(yield* app.count, 1)
    })
  )
})

live(
  "a request that offers an upgrade which does not happen is committed normally, also with two sessions",
  Effect.gen(function*() {
    const calls: Array<string> = []
    const both = HttpRouter.empty.pipe(
      HttpRouter.post("/", Effect.as(Effect.all([increment, Staff.set("name", "boss")]), text("set"))),
      HttpRouter.use(ShopSession.middleware),
      HttpRouter.use(Staff.middleware)
    )
    const port = yield* serve(
      HttpServer.serve(both).pipe(
        Layer.provide(Layer.merge(ShopSession.layer, Staff.layer)),
        Layer.provide(wrappedEngine((operation, call) => {
          calls.push(operation)
          return call
        }))
      )
    )
    const [answer] = yield* exchange(
      port,
      "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n"
    )
    assert.deepStrictEqual([answer?.status, answer?.body, calls], [200, "set", ["create", "create"]])
  })
)
