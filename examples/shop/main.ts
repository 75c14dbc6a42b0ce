/**
 * A tea shop with sessions. `npm start` starts it, Ctrl-C stops it; visitors stay logged in across restarts.
 */
import { HttpServer, Runtime } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Cause, Console, Effect, Exit, Layer, Option } from "effect"
import { SessionCookie, SessionDevtools } from "effect-session"
import { AppSession } from "./AppSession.js"
import * as Arguments from "./arguments.js"
import * as Engines from "./engines.js"
import { shop } from "./routes.js"
import * as Server from "./server.js"

const announced = Layer.effectDiscard(
  HttpServer.addressFormattedWith((url) => Console.log(`The shop is open at ${url} - Ctrl-C closes it.`))
)

const open = (engine: Arguments.EngineName) =>
  announced.pipe(
    Layer.provide(HttpServer.serve(shop, SessionDevtools.middleware)),
    Layer.provide(Server.layer),
    // For plain HTTP on this machine. With HTTPS, use `AppSession.layer`.
    Layer.provide(AppSession.layerWith({ cookie: SessionCookie.development })),
    Layer.provide(Engines.layer(engine)),
    Layer.provide(SessionDevtools.layer),
    Layer.launch,
    Effect.mapError((error) => ({ _tag: "CannotOpen" as const, message: explain(engine, error) }))
  )

/** The variable with the URL of the server that an engine connects to. */
const variables: Readonly<Partial<Record<Arguments.EngineName, string>>> = {
  sql: "DATABASE_URL",
  mysql: "MYSQL_URL",
  redis: "REDIS_URL"
}

type Problem = Engines.Problem | Layer.Layer.Error<typeof Server.layer>

/** The reason why the shop cannot start. The innermost cause has the message of the database. */
const explain = (engine: Arguments.EngineName, error: Problem): string => {
  if (error._tag !== "SqlError" && error._tag !== "MigrationError" && error._tag !== "SessionStoreError") {
    return error.message
  }
  const variable = variables[engine]
  return `The database${variable === undefined ? "" : ` at ${variable}`} cannot be used (${innermost(error)}): ${
    variable === undefined
      ? "its files are in .data."
      : `is it running, and are the host, the user and the password right?`
  }`
}

/** The message of the innermost cause. Of several attempts to connect, the first one. */
const innermost = (error: Error): string => {
  const cause = error instanceof AggregateError ? error.errors[0] : error.cause
  return cause instanceof Error ? innermost(cause) : error.message || String(error)
}

const program = Effect.flatMap(
  Arguments.parsed,
  (engine) => engine === "help" ? Console.log(Arguments.usage) : Effect.zipRight(Server.portIsFree, open(engine))
)

const isWrongUsage = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) &&
  Option.exists(Cause.failureOption(exit.cause), (error) => error instanceof Arguments.WrongUsage)

NodeRuntime.runMain(
  program.pipe(
    Effect.tapError(({ message }) => Console.error(message)),
    Effect.tapDefect((cause) => Console.error(Cause.pretty(cause)))
  ),
  {
    disableErrorReporting: true,
    teardown: (exit, onExit) => isWrongUsage(exit) ? onExit(2) : Runtime.defaultTeardown(exit, onExit)
  }
)
