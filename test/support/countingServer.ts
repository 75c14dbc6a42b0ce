/**
 * A real HTTP server whose sessions count, to observe which changes of a request are stored.
 */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { it } from "@effect/vitest"
import { Deferred, Effect, Exit, Layer, Logger, Queue, type Scope, Stream, SubscriptionRef } from "effect"
import { SessionStoreError } from "effect-session/SessionStore"
import type { Operation } from "effect-session/SessionStore"
import * as Http from "node:http"
import * as Net from "node:net"
import WebSocket from "ws"
import { gate, pairOf, serve, wrappedEngine } from "./httpServer.js"
import { request } from "./rawHttp.js"
import { ShopSession } from "./shop.js"

export const increment = ShopSession.update("count", (n) => n + 1)
export const text = (value: unknown) => HttpServerResponse.text(String(value))

/** Serves the routes of a test. `/count` returns the stored count, `/begin` creates a session. */
export const open = (
  routes: HttpRouter.HttpRouter<unknown, ShopSession | HttpServerRequest.HttpServerRequest>,
  options: {
    readonly log?: Logger.Logger<unknown, void>
    /** The handler of `/plain`, which runs outside the router. */
    readonly plain?: Effect.Effect<unknown, unknown, ShopSession>
  } = {}
) =>
  Effect.gen(function*() {
    const calls: Array<Operation> = []
    const done = yield* SubscriptionRef.make<ReadonlyArray<Operation>>([])
    const { hold, wrap } = gate()
    const hungUp = yield* Deferred.make<void>()
    const createServer = () =>
      Http.createServer().on("request", (_, response) =>
        response.on("close", () => {
          if (!response.writableEnded) Deferred.unsafeDone(hungUp, Exit.void)
        }))
    let broken: Operation | undefined
    const router = routes.pipe(
      HttpRouter.get("/begin", Effect.as(ShopSession.set("user", "ann"), text("begun"))),
      HttpRouter.get("/count", Effect.map(ShopSession.get("count"), text)),
      HttpRouter.get("/logout", Effect.as(ShopSession.destroy, text("out")))
    )
    const port = yield* serve(
      HttpServer.serve(
        ShopSession.middleware(Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ url }) =>
          options.plain !== undefined && url === "/plain" ? Effect.as(options.plain, text("plain")) : router))
      ).pipe(
        Layer.provide(Logger.add(options.log ?? Logger.none)),
        Layer.provide(ShopSession.layerWith({ commitTimeout: "20 seconds" })),
        Layer.provide(wrappedEngine((operation, call, args) => {
          calls.push(operation)
          return operation === broken
            ? Effect.fail(new SessionStoreError({ operation, reason: "unavailable" }))
            : Effect.zipLeft(
              wrap(operation, call, args),
              SubscriptionRef.update(done, (calls) => [...calls, operation])
            )
        }))
      ),
      createServer
    )
    const cookie = yield* pairOf(yield* request(port, "/begin"))
    calls.length = 0
    yield* SubscriptionRef.set(done, [])
    const get = (path: string, headers: ReadonlyArray<readonly [string, string]> = [], method = "GET") =>
      request(port, path, [["Cookie", cookie], ...headers], method)
    return {
      port,
      cookie,
      calls,
      hold,
      get,
      /** Completes when the server has noticed that a client closed the connection before the response. */
      hungUp: Deferred.await(hungUp),
      /** Completes when this number of calls of an operation have returned. */
      seen: (operation: Operation, times: number) =>
        done.changes.pipe(
          Stream.filter((calls) =>
            calls.filter((call) => call === operation).length >= times
          ),
          Stream.take(1),
          Stream.runDrain
        ),
      count: Effect.map(get("/count"), ({ body }) => Number(body)),
      breaks: (operation: Operation | undefined) => Effect.sync(() => void (broken = operation))
    }
  })

export const live = (title: string, body: Effect.Effect<void, unknown, Scope.Scope>) =>
  it.live(title, () => Effect.orDie(Effect.scoped(body)))

/** Sends a request, and closes the connection on demand. */
export const abandoned = (port: number, path: string, cookie: string, method = "GET") =>
  Effect.map(
    Effect.async<Net.Socket>((resume) => {
      const socket = Net.connect(port, "127.0.0.1", () => {
        socket.write(`${method} ${path} HTTP/1.1\r\nHost: localhost\r\nCookie: ${cookie}\r\n\r\n`)
        resume(Effect.succeed(socket))
      })
      socket.on("error", () => {})
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** A WebSocket client with a cookie or another credential. `received` emits its messages, `closed` completes when the server closes it. */
export const socketTo = (port: number, path: string, credential?: string | { readonly authorization: string }) =>
  Effect.gen(function*() {
    const received = yield* Queue.unbounded<string>()
    const closed = yield* Deferred.make<void>()
    const socket = yield* Effect.acquireRelease(
      Effect.async<WebSocket, Error>((resume) => {
        const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, {
          headers: typeof credential === "string" ? { cookie: credential } : { ...credential }
        })
        socket.on("open", () => resume(Effect.succeed(socket)))
        socket.on("error", (error) => resume(Effect.fail(error)))
        socket.on("message", (data: Buffer) => received.unsafeOffer(data.toString("utf8")))
        socket.on("close", () => Deferred.unsafeDone(closed, Exit.void))
      }),
      (socket) => Effect.sync(() => socket.terminate())
    )
    return {
      send: (line: string) => Effect.sync(() => socket.send(line)),
      received: Queue.take(received),
      end: Effect.sync(() => socket.close()),
      closed: Deferred.await(closed)
    }
  })
