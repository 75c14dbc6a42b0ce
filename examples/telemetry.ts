/**
 * A server with telemetry: sessions are stored in SQLite with a cache, both stores are observed, and OpenTelemetry prints the
 * spans and, every minute and on exit, the metrics.
 *
 * `npx tsx examples/telemetry.ts`, then `curl -ib jar -c jar http://127.0.0.1:3000/` a few times. Ctrl-C stops it.
 */
import * as NodeSdk from "@effect/opentelemetry/NodeSdk"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { ConsoleMetricExporter, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics"
import { BatchSpanProcessor, ConsoleSpanExporter } from "@opentelemetry/sdk-trace-base"
import { Config, Effect, Layer, Schema } from "effect"
import { Session, SessionCookie, StoredEngine } from "effect-session"
import * as CacheStore from "effect-session/CacheStore"
import * as ObservedStore from "effect-session/ObservedStore"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import * as TieredStore from "effect-session/TieredStore"
import { createServer } from "node:http"

class AppSession extends Session.Tag<AppSession>()("app/Session", {
  schema: Schema.Struct({ visits: Schema.optionalWith(Schema.Int, { default: () => 0 }) }),
  carryOver: ["visits"],
  cookie: SessionCookie.development
}) {}

const visit = Effect.gen(function*() {
  yield* AppSession.update("visits", (n) => n + 1)
  const visits = yield* AppSession.get("visits")
  return HttpServerResponse.text(`Visit ${visits}\n`)
})

const look = Effect.map(AppSession.get("visits"), (visits) => HttpServerResponse.text(`${visits} visits\n`))

const login = Effect.gen(function*() {
  const user = yield* HttpServerRequest.schemaBodyJson(Schema.Struct({ id: Schema.NonEmptyString }))
  yield* AppSession.authenticate(user.id)
  return HttpServerResponse.empty()
})

const cache = ObservedStore.layerWith({ tier: "cache" }).pipe(Layer.provide(CacheStore.layer))

const origin = ObservedStore.layerWith({ tier: "origin" }).pipe(
  Layer.provide(SqlStore.layer),
  Layer.provide(SqlMigrations.layer),
  Layer.provide(SqliteClient.layerConfig({
    filename: Config.string("DATABASE").pipe(Config.withDefault("sessions.sqlite"))
  }))
)

const telemetry = NodeSdk.layer(() => ({
  resource: { serviceName: "shop" },
  spanProcessor: new BatchSpanProcessor(new ConsoleSpanExporter()), // ← OTLPTraceExporter, for a collector
  metricReader: new PeriodicExportingMetricReader({ exporter: new ConsoleMetricExporter() }) // ← OTLPMetricExporter
}))

const server = HttpRouter.empty.pipe(
  HttpRouter.get("/", visit),
  HttpRouter.get("/look", look),
  HttpRouter.post("/login", login),
  HttpRouter.use(AppSession.middleware),
  HttpServer.serve(),
  HttpServer.withLogAddress
).pipe(
  Layer.provide(NodeHttpServer.layerConfig(createServer, {
    host: Config.succeed("127.0.0.1"),
    port: Config.integer("PORT").pipe(Config.withDefault(3000))
  })),
  Layer.provide(AppSession.layer),
  Layer.provide(StoredEngine.layer),
  Layer.provide(TieredStore.layer(cache, origin, { lease: "30 seconds" })),
  Layer.provide(telemetry)
)

NodeRuntime.runMain(Layer.launch(server))
