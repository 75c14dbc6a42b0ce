/**
 * A tea shop with sessions. `npm start` starts it, Ctrl-C stops it; visitors stay logged in across restarts.
 */
import { HttpServer } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Cause, Console, Effect, Layer } from "effect"
import { SessionCookie } from "effect-session"
import { AppSession } from "./AppSession.js"
import * as Engines from "./engines.js"
import { shop } from "./routes.js"
import * as Server from "./server.js"
import * as StoreCosts from "./StoreCosts.js"

// For plain HTTP on this machine. With HTTPS, use `AppSession.layer`.
const Sessions = AppSession.layerWith({ cookie: SessionCookie.development }).pipe(
  Layer.provideMerge(Layer.unwrapEffect(Engines.chosen))
)

const announced = Layer.effectDiscard(
  HttpServer.addressFormattedWith((url) => Console.log(`The shop is open at ${url} - Ctrl-C closes it.`))
)

const Shop = announced.pipe(
  Layer.provide(HttpServer.serve(shop, StoreCosts.middleware)),
  Layer.provide(Server.layer),
  Layer.provide(Sessions)
)

const open = Effect.zipRight(Server.portIsFree, Layer.launch(Shop))

/** The reason why the shop cannot start. The innermost cause has the message of the database. */
const explain = (error: Effect.Effect.Error<typeof open>): string =>
  error._tag === "SqlError" || error._tag === "MigrationError"
    ? `The database cannot be used: ${innermost(error)}.`
    : error.message

const innermost = (error: Error): string =>
  error.cause instanceof Error ? innermost(error.cause) : error.message || String(error)

NodeRuntime.runMain(
  open.pipe(
    Effect.tapError((error) => Console.error(explain(error))),
    Effect.tapDefect((cause) => Console.error(Cause.pretty(cause)))
  ),
  { disableErrorReporting: true }
)
