/**
 * The program of one server of several that share sessions in Postgres. Each has a cache.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Layer, Option, Redacted, Schema } from "effect"
import { Session } from "effect-session"
import * as CachedSqlEngine from "effect-session/CachedSqlEngine"
import * as PgInvalidation from "effect-session/PgInvalidation"
import { SessionInvalidation } from "effect-session/SessionInvalidation"
import { writeSync } from "node:fs"
import { createServer } from "node:http"

export interface Job {
  readonly url: string
  /** The Postgres of the invalidation channel. */
  readonly channelUrl: string
  readonly prefix: string
  readonly channel: string
  /** Milliseconds. */
  readonly lease: number
}

class Visit extends Session.Tag<Visit>()("test/Telling", {
  schema: Schema.Struct({ name: Schema.String }),
  initial: { name: "" }
}) {}

const app = HttpRouter.empty.pipe(
  HttpRouter.post("/login", Effect.as(Visit.authenticate("ann"), HttpServerResponse.empty())),
  HttpRouter.get(
    "/me",
    Effect.map(Visit.subject, (subject) => HttpServerResponse.text(Option.getOrElse(subject, () => "anonymous")))
  ),
  HttpRouter.get(
    "/me/fresh",
    Effect.map(
      Effect.zipRight(Visit.reload, Visit.subject),
      (subject) => HttpServerResponse.text(Option.getOrElse(subject, () => "anonymous"))
    )
  ),
  HttpRouter.post("/logout", Effect.as(Visit.destroy, HttpServerResponse.empty())),
  HttpRouter.use(Visit.middleware)
)

const job: Job = JSON.parse(process.argv[2] ?? "")

const ready = Layer.effectDiscard(
  HttpServer.addressWith((address) =>
    Effect.sync(() => void writeSync(1, `${address._tag === "TcpAddress" ? address.port : 0}\n`))
  )
)

const postgres = (url: string) => PgClient.layer({ url: Redacted.make(url) })

/** The channel. Each invalidation event that arrives is printed as a line. */
const channel = Layer.effect(
  SessionInvalidation,
  Effect.map(SessionInvalidation, ({ publish, subscribe }) => ({
    publish,
    subscribe: (listener) =>
      subscribe((event) => Effect.zipRight(listener(event), Effect.sync(() => void writeSync(1, `${event._tag}\n`))))
  }))
).pipe(
  Layer.provide(PgInvalidation.layerWith({ channel: job.channel, heartbeat: "500 millis" })),
  Layer.provide(postgres(job.channelUrl))
)

app.pipe(HttpServer.serve(), Layer.merge(ready)).pipe(
  Layer.provide(Visit.layer),
  Layer.provide(CachedSqlEngine.layerWithInvalidation({ lease: job.lease, prefix: job.prefix, timeout: "5 seconds" })),
  Layer.provide([channel, postgres(job.url)]),
  Layer.provide(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })),
  Layer.launch,
  NodeRuntime.runMain
)
