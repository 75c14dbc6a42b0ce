/**
 * A server, and HTTP clients that reuse connections and may close them at any time.
 */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { it } from "@effect/vitest"
import { Effect, Layer, Random, Schema, type Scope } from "effect"
import { Session } from "effect-session"
import type { FaultyStore } from "effect-session/testing"
import * as Http from "node:http"
import { serve, wrappedEngine } from "./httpServer.js"

class Users extends Session.Tag<Users>()("test/Interleaved", {
  schema: Schema.Struct({
    user: Schema.optionalWith(Schema.String, { default: () => "anonymous" }),
    count: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    log: Schema.optionalWith(Schema.Array(Schema.Number), { default: () => [] }),
    left: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    right: Schema.optionalWith(Schema.Number, { default: () => 0 })
  }),
  commitTimeout: "20 seconds"
}) {}

type Value = Effect.Effect.Success<typeof Users.value>

const show = Effect.map(Users.value, (value) => HttpServerResponse.unsafeJson(value))
const redirect = Effect.succeed(HttpServerResponse.redirect("/me", { status: 303 }))

/** The application. Handlers that write pause in between. */
const appWith = (pause: Effect.Effect<void>) => {
  const write = Effect.flatMap(
    HttpRouter.params,
    ({ n = "" }) =>
      Users.update("log", (log) => [...log, Number(n)]).pipe(
        Effect.zipRight(pause),
        Effect.zipRight(Users.patch({ left: Number(n), right: Number(n) }))
      )
  )
  const login = Effect.flatMap(
    HttpRouter.params,
    ({ name = "" }) => Effect.all([Users.authenticate(name), pause, Users.set("user", name)])
  )
  return HttpRouter.empty.pipe(
    HttpRouter.get("/me", show),
    HttpRouter.post("/add", Effect.zipRight(Users.update("count", (n) => n + 1), show)),
    HttpRouter.post("/login/:name", Effect.zipRight(login, show)),
    HttpRouter.post("/logout", Effect.zipRight(Users.destroy, show)),
    HttpRouter.post("/write/:n", Effect.zipRight(write, show)),
    HttpRouter.post("/redirect/:n", Effect.zipRight(write, redirect)),
    HttpRouter.use(Users.middleware)
  )
}

/** Starts a server, and an agent that keeps connections alive. */
export const start = (wrap: FaultyStore.Interception, options: {
  readonly pause?: Effect.Effect<void>
  readonly remote?: boolean
  readonly server?: () => Http.Server
} = {}) =>
  Effect.gen(function*() {
    const port = yield* serve(
      HttpServer.serve(appWith(options.pause ?? Effect.void)).pipe(
        Layer.provide(Users.layer),
        Layer.provide(wrappedEngine(wrap, options.remote))
      ),
      // A connection must not time out right before it is reused.
      () => Object.assign((options.server ?? Http.createServer)(), { keepAliveTimeout: 60_000 })
    )
    const agent = yield* Effect.acquireRelease(
      Effect.sync(() => new Http.Agent({ keepAlive: true, maxSockets: 50 })),
      (agent) => Effect.sync(() => agent.destroy())
    )
    return { port, agent }
  })

export interface Client {
  readonly port: number
  readonly agent: Http.Agent
}

interface Reply {
  readonly status: number
  readonly value: Value | undefined
  /** The `Cookie` header for the next request. */
  readonly cookie: string
}

export const open = ({ agent, port }: Client, method: string, path: string, cookie: string): Http.ClientRequest =>
  Http.request({ agent, port, method, path, headers: cookie === "" ? {} : { cookie } }).end()

export const cookieAfter = (reply: Http.IncomingMessage, before: string): string =>
  (reply.headers["set-cookie"] ?? []).reduce((_, line) => /^[^=]*=;/.test(line) ? "" : line.split(";")[0] ?? "", before)

export const send = (client: Client, method: string, path: string, cookie = ""): Effect.Effect<Reply, Error> =>
  Effect.async((resume) => {
    open(client, method, path, cookie)
      .on("error", (error) => resume(Effect.fail(error)))
      .on("response", (reply) => {
        let body = ""
        reply.setEncoding("utf8").on("data", (text) => body += text).on("end", () =>
          resume(Effect.sync(() => ({
            status: reply.statusCode ?? 0,
            value: body.startsWith("{") ? JSON.parse(body) : undefined,
            cookie: cookieAfter(reply, cookie)
          }))))
      })
  })

/** Sends a request and closes the connection this number of event loop turns later. */
export const abort = (
  client: Client,
  method: string,
  path: string,
  cookie: string,
  turns: number
): Effect.Effect<void> =>
  Effect.async((resume) => {
    const request = open(client, method, path, cookie).on("error", () => {}).on("close", () => resume(Effect.void))
    const later = (left: number): void => void (left === 0 ? request.destroy() : setImmediate(later, left - 1))
    later(turns)
  })

/** A test with random choices. The seed is the variable SEED, or a new one that is printed if the test fails. */
export const seeded = (title: string, body: Effect.Effect<void, unknown, Scope.Scope>) =>
  it.live(title, () => {
    const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)
    return body.pipe(
      Effect.withRandom(Random.make(seed)),
      Effect.tapErrorCause(() => Effect.sync(() => console.error(`To see "${title}" fail again: SEED=${seed}`))),
      Effect.scoped,
      Effect.orDie
    )
  })
