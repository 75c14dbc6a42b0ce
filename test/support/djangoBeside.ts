/**
 * An Effect server beside Django, on one table of sessions.
 */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { SqlClient } from "@effect/sql/SqlClient"
import * as Statement from "@effect/sql/Statement"
import { Cause, Context, Effect, Exit, Layer, Logger, LogLevel, Option, Redacted, Schema, Scope } from "effect"
import { Expiry, Merge, Session } from "effect-session"
import * as DjangoEngine from "effect-session/DjangoEngine"
import { SessionMaintenance } from "effect-session/SessionMaintenance"
import type { Settings } from "effect-session/SessionService"
import { afterAll, assert, beforeAll } from "vitest"
import type { Database } from "./djangoDatabases.js"
import { serve } from "./httpServer.js"
import * as Django from "./servers/django.js"

/** The session of the tests, with the cookie and the lifetime of Django. */
export class App extends Session.Tag<App>()("test/Django", {
  schema: Schema.Struct({
    cart: Schema.optional(Schema.Array(Schema.String)),
    count: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    tags: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] }),
    since: Schema.optional(Schema.DateTimeUtc),
    text: Schema.optional(Schema.String)
  }),
  merge: { tags: Merge.union },
  cookie: { prefix: "", name: "sessionid", secure: false },
  expiry: Expiry.django
}) {}

/** A response, and the result of its handler, unless that has failed. */
export interface Visit<A> extends Django.Answer {
  readonly result: Option.Option<A>
}

/** A running Effect server. Each request passes its handler, which runs in the server. */
export interface Server {
  readonly visit: <A, E>(browser: Django.Browser, handler: Effect.Effect<A, E, App>) => Effect.Effect<Visit<A>>
  /** Requests a page, asserts the status 200, and returns the result of the handler. */
  readonly run: <A, E>(browser: Django.Browser, handler: Effect.Effect<A, E, App>) => Effect.Effect<A>
  /** All warnings and errors that were logged. */
  readonly logs: ReadonlyArray<string>
  /** The SQL statements of an effect. No other one may run at the same time. */
  readonly statementsOf: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<ReadonlyArray<string>, E, R>
  readonly maintenance: Context.Tag.Service<SessionMaintenance>
}

interface ServerOptions extends Partial<DjangoEngine.DjangoEngineOptions> {
  readonly settings?: Settings
}

/** The options of an engine for the Django of the tests, with a timeout for busy machines. */
export const engineOptions: DjangoEngine.DjangoEngineOptions = {
  secretKey: Redacted.make(Django.secretKey),
  timeout: "20 seconds"
}

/** Starts a server on a database, until the end of the scope. */
export const start = (
  { client }: Database,
  { settings, ...options }: ServerOptions = {}
): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.gen(function*() {
    const logs: Array<string> = []
    const statements: Array<string> = []
    const log = Logger.make(({ cause, logLevel, message }) => {
      if (LogLevel.greaterThanEqual(logLevel, LogLevel.Warning)) {
        logs.push(`${String(message)} ${Cause.pretty(cause, { renderErrorCause: true })}`)
      }
    })
    const handlers = new Map<string, Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, App>>()
    const router = HttpRouter.empty.pipe(
      HttpRouter.all(
        "/:id",
        Effect.flatMap(
          HttpRouter.params,
          ({ id = "" }) => handlers.get(id) ?? HttpServerResponse.empty({ status: 404 })
        )
      ),
      HttpRouter.use(App.middleware)
    )
    const engine = yield* Layer.build(
      DjangoEngine.layer({ ...engineOptions, ...options }).pipe(Layer.provide(client), Layer.provide(Logger.add(log)))
    )
    const port = yield* serve(
      HttpServer.serve(router).pipe(
        Layer.provide(App.layerWith({ commitTimeout: "20 seconds", ...settings })),
        Layer.provide(Layer.succeedContext(engine)),
        Layer.provide(Logger.add(log)),
        Layer.provide(Statement.setTransformer((statement) =>
          Effect.sync(() => {
            statements.push(statement.compile()[0])
            return statement
          })
        ))
      )
    )
    let requests = 0
    const visit = <A, E>(browser: Django.Browser, handler: Effect.Effect<A, E, App>): Effect.Effect<Visit<A>> =>
      Effect.suspend(() => {
        const id = String(requests++)
        let result = Option.none<A>()
        handlers.set(
          id,
          Effect.map(handler, (value) => {
            result = Option.some(value)
            return HttpServerResponse.empty({ status: 200 })
          })
        )
        return Effect.map(browser.send(`http://127.0.0.1:${port}/${id}`), (answer) => ({ ...answer, result }))
      })
    const server: Server = {
      visit,
      run: (browser, handler) =>
        Effect.flatMap(visit(browser, handler), ({ body, result, status }) => {
          assert.strictEqual(status, 200, `${body} ${logs.join("\n")}`)
          return Effect.orDie(result)
        }),
      logs,
      statementsOf: (effect) =>
        Effect.suspend(() => {
          statements.length = 0
          return Effect.map(effect, () => [...statements])
        }),
      maintenance: Context.get(engine, SessionMaintenance)
    }
    return server
  }).pipe(Effect.orDie)

/** A row of the table. */
export interface Row {
  readonly session_key: string
  readonly session_data: string
  /** SQLite has texts. */
  readonly expire_date: Date | string
}

/** A database with Django and an Effect server on it. */
export interface World {
  readonly database: Database
  readonly sql: SqlClient
  readonly django: Django.Served
  readonly effect: Server
  /** The worker of Django. */
  readonly worker: Django.Worker
  /** The row of a key, as the database has it. */
  readonly row: (key: string | undefined) => Effect.Effect<Row | undefined>
}

/** Makes a database, and starts both servers on it. */
export const world = (
  open: Effect.Effect<Database, never, Scope.Scope>,
  options: { readonly django?: Django.Settings; readonly effect?: ServerOptions } = {}
): Effect.Effect<World, never, Scope.Scope> =>
  Effect.gen(function*() {
    const database = yield* open
    const sql = Context.get(yield* Layer.build(database.client), SqlClient)
    const settings = options.django ?? {}
    const [django, worker, effect] = yield* Effect.all([
      Django.serve({ database: database.url, settings }),
      Django.worker({ database: database.url, settings }),
      start(database, options.effect)
    ], { concurrency: "unbounded" })
    const row = (key: string | undefined) =>
      Effect.map(
        Effect.orDie(sql<Row>`SELECT * FROM django_session WHERE session_key = ${key ?? ""}`),
        ([row]) => row
      )
    return { database, sql, django, effect, worker, row }
  }).pipe(Effect.orDie)

/** Makes a value that the tests of a `describe` block share. */
export const shared = <A>(make: Effect.Effect<A, never, Scope.Scope>): Effect.Effect<A> => {
  let opened: { readonly scope: Scope.CloseableScope; readonly value: A } | undefined
  beforeAll(async () => {
    const scope = Effect.runSync(Scope.make())
    opened = {
      scope,
      value: await Effect.runPromise(
        Effect.onError(Scope.extend(make, scope), (cause) => Scope.close(scope, Exit.failCause(cause)))
      )
    }
  })
  afterAll(() => opened && Effect.runPromise(Scope.close(opened.scope, Exit.void)))
  return Effect.suspend(() =>
    opened === undefined ? Effect.dieMessage("beforeAll has not run") : Effect.succeed(opened.value)
  )
}

/** Sends a JSON text, or an object, to a view of Django, and asserts the status. */
export const post = (
  browser: Django.Browser,
  { url }: Django.Served,
  path: string,
  body: object | string = {},
  status = 200
): Effect.Effect<Django.Answer> =>
  Effect.tap(
    browser.send(`${url}/${path}`, typeof body === "string" ? body : JSON.stringify(body)),
    (answer) => assert.strictEqual(answer.status, status, answer.body)
  )

/** A browser with a login of Django. */
export const loggedIn = ({ django }: World): Effect.Effect<Django.Browser> => {
  const browser = Django.browser()
  return Effect.as(post(browser, django, "login", Django.user), browser)
}

/** A browser with a cookie of Django. */
export const browserWith = (key: string): Django.Browser => {
  const browser = Django.browser()
  browser.jar.setCookieSync(`sessionid=${key}; Path=/`, "http://127.0.0.1/")
  return browser
}
