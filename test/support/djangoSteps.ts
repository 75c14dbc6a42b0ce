/**
 * Requests on sessions of Django as sequences of steps: each statement, each call of a store and each request to Django. A test runs
 * them in every order.
 */
import { NodeFileSystem } from "@effect/platform-node"
import * as FileSystem from "@effect/platform/FileSystem"
import { SqlClient } from "@effect/sql/SqlClient"
import { Context, Effect, Exit, Layer, Option, Redacted, Schema, type Scope } from "effect"
import { Expiry, MemoryStore, Session, StoredEngine } from "effect-session"
import { type CookieValue, SessionEngine } from "effect-session/SessionEngine"
import type { SessionRecord } from "effect-session/SessionRecord"
import { SessionStore } from "effect-session/SessionStore"
import type { SessionStoreError, Store } from "effect-session/SessionStore"
import * as Engine from "../../src/internal/django/engine.js"
import * as Moving from "../../src/internal/django/moving.js"
import * as Signing from "../../src/internal/django/signing.js"
import * as Sources from "../../src/internal/django/sources.js"
import * as Start from "../../src/internal/django/start.js"
import type { Table } from "../../src/internal/django/table.js"
import { intercepted } from "../../src/internal/store/intercepted.js"
import type { Scene } from "../../src/internal/testing/interleave.js"
import { holds } from "../../src/internal/testing/law.js"
import { browserWith } from "./djangoBeside.js"
import type { Database } from "./djangoDatabases.js"
import * as Django from "./servers/django.js"
import { temporaryDirectory } from "./temporaryDirectories.js"

/** Longer than any test: a timeout would change the order under test. */
const timeout = "1 minute"

export class Shop extends Session.Tag<Shop>()("test/DjangoSteps", {
  schema: Schema.Struct({
    count: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    theme: Schema.optional(Schema.String),
    shared: Schema.optional(Schema.Boolean)
  }),
  cookie: { prefix: "", name: "sessionid" },
  expiry: Expiry.django,
  commitTimeout: timeout
}) {}

/** Runs the call of a step, or changes when and whether it runs. */
export type Around = <A, E>(step: string, call: Effect.Effect<A, E>) => Effect.Effect<A, E | SessionStoreError>

export const undisturbed: Around = (_, call) => call

/** The steps of a table. */
const stepped = (table: Table, around: Around): Table => ({
  load: (...args) => around("load", table.load(...args)),
  loadMoved: (...args) => around("loadMoved", table.loadMoved(...args)),
  exists: (...args) => around("exists", table.exists(...args)),
  create: (...args) => around("create", table.create(...args)),
  replace: (...args) => around("replace", table.replace(...args)),
  end: (...args) => around("end", table.end(...args)),
  destroy: (...args) => around("destroy", table.destroy(...args)),
  removeExpired: (...args) => around("removeExpired", table.removeExpired(...args)),
  count: (...args) => around("count", table.count(...args)),
  // Not of requests.
  check: table.check,
  sample: table.sample
})

/** A server process, which shares no memory with others. */
const processOf = <E>(engine: Layer.Layer<SessionEngine, E>) =>
  Effect.map(
    Effect.scoped(Layer.build(Layer.provide(Shop.layer, engine))),
    Context.get(Shop.service)
  )

export type Process = Effect.Effect.Success<ReturnType<typeof processOf>>

/** A live session. */
export interface Live {
  readonly id: string
  readonly count: number
  readonly theme: string | undefined
  /** It is the session that the requests share, or a copy of it. `false`: a request has begun it. */
  readonly shared: boolean
}

const Data = Schema.parseJson(
  Schema.Struct({
    count: Schema.optional(Schema.Number),
    theme: Schema.optional(Schema.String),
    shared: Schema.optional(Schema.Boolean)
  })
)

const liveOf = ({ data, id }: SessionRecord): Live => {
  const { count = 0, shared = false, theme } = Schema.decodeUnknownSync(Data)(data)
  return { id, count, theme, shared }
}

/** A place of sessions of Django, and the processes that use it. */
export interface Place {
  /** Saves a session with Django, and returns its cookie. */
  readonly save: (json: string) => Effect.Effect<string, unknown>
  readonly process: (around: Around) => Effect.Effect<Process, unknown>
  /** All live sessions, also those that no cookie leads to. */
  readonly live: Effect.Effect<ReadonlyArray<Live>, unknown>
}

/** A database with a running Django. */
export interface World {
  readonly sql: SqlClient
  readonly engine: Engine.Options
  readonly django: Django.Served
  readonly worker: Django.Worker
  readonly login: string
}

export const world = (
  database: Database
): Effect.Effect<World, unknown, Scope.Scope> =>
  Effect.gen(function*() {
    const context = yield* Layer.build(database.client)
    const sql = Context.get(context, SqlClient)
    const { engine } = yield* Effect.provide(
      Start.connected({ secretKey: Redacted.make(Django.secretKey), timeout }),
      context
    )
    const [django, worker] = yield* Effect.all([
      Django.serve({ database: database.url }),
      Django.worker({ database: database.url })
    ], { concurrency: "unbounded" })
    const [user] = yield* sql<{ readonly password: string }>`SELECT password FROM auth_user WHERE id = 1`
    return { sql, engine, django, worker, login: loginOf(yield* worker.authHash(user?.password ?? "")) }
  })

/** The members of a login of the user of the tests. */
const loginOf = (hash: string) =>
  `"_auth_user_id":"1","_auth_user_backend":"django.contrib.auth.backends.ModelBackend","_auth_user_hash":"${hash}"`

const inTable = ({ engine, sql }: World): Place["live"] =>
  Effect.gen(function*() {
    const bound = Engine.make(engine, { namespace: "test/DjangoSteps", cookieName: "sessionid" })
    const rows = yield* sql<{ readonly session_key: string }>`SELECT session_key FROM django_session`
    const opened = yield* Effect.forEach(rows, (row) => bound.open(Redacted.make(row.session_key), Date.now()))
    return opened.flatMap(Option.toArray).map(({ record }) => liveOf(record))
  })

const inStore = (store: Store): Place["live"] =>
  Effect.map(
    store.scan("test/DjangoSteps", { limit: 100, now: Date.now() }),
    (entries) => entries.flatMap((entry) => "data" in entry ? [liveOf(entry)] : [])
  )

const clear = ({ sql }: World) => sql`DELETE FROM django_session`

/** Empties the table, and returns it as a place. */
export const table = (world: World): Effect.Effect<Place, unknown> =>
  Effect.as(clear(world), {
    save: (json) => world.worker.save("db", json),
    process: (around) =>
      processOf(Layer.succeed(SessionEngine, {
        bind: (scope) =>
          Effect.succeed(Engine.make({ ...world.engine, table: stepped(world.engine.table, around) }, scope))
      })),
    live: inTable(world)
  })

/** The steps of a source. */
const steppedSource = (source: Moving.Source, around: Around): Moving.Source => ({
  ...source,
  open: (value, now) =>
    Effect.map(around("open", source.open(value, now)), (found) => {
      if (found?._tag !== "Live") return found
      const { claim } = found
      return {
        ...found,
        end: (now: number) => around("end", found.end(now)),
        ...claim === undefined ? {} : { claim: (now: number) => around("claim", claim(now)) }
      }
    }),
  finish: (...args) => around("finish", source.finish(...args)),
  remove: (...args) => around("remove", source.remove(...args)),
  forget: (...args) => around("forget", source.forget(...args))
})

/** The processes of an engine that moves the sessions of a source to a store. */
const movingTo = (
  store: Store,
  sourceOf: (namespace: string, around: Around) => Moving.Source
): Place["process"] =>
(around) =>
  processOf(
    Layer.provide(
      Layer.effect(
        SessionEngine,
        Effect.map(SessionEngine, (target) => ({
          bind: (scope) =>
            Effect.map(target.bind(scope), (to) => Moving.make(sourceOf(scope.namespace, around), to, scope))
        }))
      ),
      target(store, around)
    )
  )

const target = (store: Store, around: Around) =>
  Layer.provide(
    StoredEngine.layerWith({ timeout }),
    Layer.succeed(SessionStore, intercepted(store, around))
  )

/** Empties the table, and returns it as a place whose sessions move to a new store in memory. */
export const movingTable = (world: World): Effect.Effect<Place, unknown> =>
  Effect.map(clear(world), () => {
    const store = MemoryStore.make()
    return {
      save: (json) => world.worker.save("db", json),
      process: movingTo(store, (namespace, around) =>
        Sources.table({ ...world.engine, table: stepped(world.engine.table, around) }, namespace)),
      live: Effect.zipWith(inTable(world), inStore(store), (one, other) => [...one, ...other])
    }
  })

/** Places without a table, whose sessions move to a new store in memory. */
export interface Tableless {
  readonly login: string
  readonly files: Effect.Effect<Place, unknown>
  readonly cookies: Effect.Effect<Place, unknown>
}

const password = "pbkdf2_sha256$1$salt$hash"

export const tableless: Effect.Effect<Tableless, unknown, Scope.Scope> = Effect.gen(function*() {
  const directory = yield* temporaryDirectory("django-steps")
  const worker = yield* Django.worker({ settings: { SESSION_FILE_PATH: directory } })
  const fs = Context.get(yield* Layer.build(NodeFileSystem.layer), FileSystem.FileSystem)
  const options = { secretKey: Redacted.make(Django.secretKey), authHash: () => Effect.succeedSome(password) }
  const formats = yield* Start.sourceFormats(options)
  const cookieFormats = yield* Start.sourceFormats({ ...options, salt: Signing.salts.signedCookies })
  const filesOf = (namespace: string) => Sources.files(formats, { fs, directory, prefix: "sessionid" }, namespace)
  const inDirectory: Place["live"] = Effect.gen(function*() {
    const source = filesOf("test/DjangoSteps")
    const names = (yield* fs.readDirectory(directory)).filter((name) => !name.endsWith(".moved"))
    const found = yield* Effect.forEach(
      names,
      (name) => source.open(name.replaceAll(/^sessionid|\.claimed$/g, ""), Date.now())
    )
    return found.flatMap((found) => found?._tag === "Live" ? [liveOf(found.record)] : [])
  })
  return {
    login: loginOf(yield* worker.authHash(password)),
    files: Effect.gen(function*() {
      for (const name of yield* fs.readDirectory(directory)) yield* fs.remove(`${directory}/${name}`)
      const store = MemoryStore.make()
      return {
        save: (json) => worker.save("file", json),
        process: movingTo(store, (namespace, around) => steppedSource(filesOf(namespace), around)),
        live: Effect.zipWith(inDirectory, inStore(store), (one, other) => [...one, ...other])
      }
    }),
    cookies: Effect.gen(function*() {
      const store = MemoryStore.make()
      const markers = yield* StoredEngine.make(store).bind({ namespace: "test/DjangoSteps", cookieName: "sessionid" })
      return {
        save: (json) => worker.save("signed_cookies", json),
        process: movingTo(
          store,
          (namespace, around) => steppedSource(Sources.signedCookies(cookieFormats, namespace, markers), around)
        ),
        live: inStore(store)
      }
    })
  }
})

/** The outcome of a request: whether it succeeded, and the cookie of the browser after it. */
export interface Answer {
  readonly done: boolean
  readonly cookie: string | undefined
}

/** A kind of request, and the effects that it must have had once it is answered with success. */
export interface Kind {
  readonly name: string
  readonly run: (place: Place, around: Around, cookie: string) => Effect.Effect<Answer, unknown>
  /** Increments the counter. */
  readonly counts?: true
  /** Invalidates the cookie that it presented. */
  readonly ends?: true
  /** The session may continue under another cookie. */
  readonly continues?: true
  /** Sets the theme. */
  readonly saves?: true
  /** Saves the session as it was read, so updates that were made meanwhile are lost: Django does so. */
  readonly overwrites?: true
}

/** Makes a request that presents a cookie. */
export const visited = (process: Process, handler: Effect.Effect<unknown, unknown, Shop>, cookie: string) =>
  Effect.gen(function*() {
    const session = process.request(`sessionid=${cookie}`)
    const handled = yield* Effect.exit(Effect.provideService(handler, Shop, session))
    const error = yield* session.finish(Exit.isSuccess(handled) ? 200 : 500)
    const setCookie = session.used?.setCookie
    return {
      done: Exit.isSuccess(handled) && error === undefined,
      cookie: setCookie === undefined ? cookie : setCookie === "expire" ? undefined : Redacted.value(setCookie.value)
    }
  })

const handled = (handler: Effect.Effect<unknown, unknown, Shop>): Kind["run"] => (place, around, cookie) =>
  Effect.flatMap(place.process(around), (process) => visited(process, handler, cookie))

const increment = Shop.update("count", (n) => n + 1)

const read: Kind = { name: "a read", run: handled(Shop.get("count")) }
export const update: Kind = { name: "an update", run: handled(increment), counts: true }
const login: Kind = { name: "a login", run: handled(Shop.authenticate("1")), ends: true, continues: true }
const rotation: Kind = {
  name: "an update with a new token",
  run: handled(Effect.zipRight(increment, Shop.rotate)),
  counts: true,
  ends: true,
  continues: true
}
const logout: Kind = { name: "a logout", run: handled(Shop.destroy), ends: true }

/** The requests to this library. */
export const kinds: ReadonlyArray<Kind> = [read, update, login, rotation, logout]

let held = 0

/** The requests to Django. */
export const djangoKinds = ({ django: { url } }: World): ReadonlyArray<Kind> => {
  const asked = (path: string, body = "{}"): Kind["run"] => (_, around, cookie) => {
    const browser = browserWith(cookie)
    return around(
      path,
      Effect.map(
        // Django begins a new session for a cookie that is not valid, so first find out whether it is.
        Effect.all([browserWith(cookie).send(`${url}/me`), browser.send(`${url}/${path}`, body)]),
        ([me, { status }]) => ({ done: status === 200 && me.body.includes("shared"), cookie: browser.cookie() })
      )
    )
  }
  return [
    { name: "a save of Django", run: asked("set", `{"theme":"light"}`), saves: true },
    {
      name: "a save of Django that has read the session before",
      run: (_, around, cookie) =>
        Effect.gen(function*() {
          const browser = browserWith(cookie)
          const name = `request${held++}`
          const saving = yield* around(
            "hold",
            Effect.zipLeft(
              Effect.fork(browser.send(`${url}/hold/${name}`, `{"theme":"light"}`)),
              Django.browser().send(`${url}/held/${name}`)
            )
          )
          yield* around("release", Django.browser().send(`${url}/release/${name}`, "{}"))
          const { status } = yield* saving
          return { done: status === 200 && browser.cookie() === cookie, cookie: browser.cookie() }
        }),
      saves: true,
      overwrites: true
    },
    { name: "a logout of Django", run: asked("logout"), ends: true },
    { name: "a cycle_key of Django", run: asked("cycle"), ends: true, continues: true }
  ]
}

/** A session of Django with a login, and requests that use it at the same time. */
export const scene = (
  makePlace: Effect.Effect<Place, unknown>,
  login: string,
  racing: ReadonlyArray<Kind>
): Effect.Effect<Scene<unknown>, unknown> =>
  Effect.gen(function*() {
    const place = yield* makePlace
    const presented = yield* place.save(`{"count":0,"theme":"dark","shared":true,${login}}`)
    const answered: Array<Kind> = []
    const cookies = new Set<string>()
    return {
      requests: racing.map((kind) => (suspendCall) =>
        Effect.map(
          kind.run(
            place,
            (_, call) => Effect.zipRight(suspendCall("load", Effect.void, []), call),
            presented
          ),
          ({ cookie, done }) => {
            if (done) answered.push(kind)
            if (cookie !== undefined && cookie !== presented) cookies.add(cookie)
          }
        )
      ),
      check: Effect.gen(function*() {
        const observer = yield* place.process(undisturbed)
        const live = yield* place.live
        const shared = live.filter(({ shared }) => shared)
        const counted = live.reduce((sum, { count }) => sum + count, 0)
        const opens = (cookie: string) => opensShared(observer, Redacted.make(cookie))
        const is = (trait: "counts" | "ends" | "continues" | "saves" | "overwrites") =>
          answered.filter((kind) => kind[trait])
        const ended = is("ends").length > 0
        const overwrites = racing.some(({ overwrites }) => overwrites)
        yield* holds(`there is one session: ${JSON.stringify(live)}`, shared.length <= 1)
        yield* holds("no update is applied twice", counted <= is("counts").length)
        const ownCookies = (yield* Effect.forEach(cookies, opens)).filter((opens) => opens)
        yield* holds("a session has at most one new cookie", ownCookies.length <= 1)
        if (ended) yield* holds("the presented cookie is not valid", !(yield* opens(presented)))
        if (ended && is("continues").length === 0) yield* holds("the session has ended", shared.length === 0)
        if (!ended) yield* holds("the session is alive", yield* opens(presented))
        if (is("ends").every(({ continues }) => continues)) {
          if (!overwrites) yield* holds("no update is lost", counted === is("counts").length)
          if (is("saves").length > 0) {
            yield* holds("no save of Django is lost", shared.some(({ theme }) => theme === "light"))
          }
        }
        if (shared.length > 0 && ownCookies.length === 0) {
          yield* holds("a browser has the cookie of the live session", yield* opens(presented))
        }
      })
    }
  })

/** Whether a cookie opens the session that the requests share. */
export const opensShared = (process: Process, cookie: CookieValue) =>
  Effect.flatMap(
    process.open(cookie),
    Option.match({
      onNone: () => Effect.succeed(false),
      onSome: (session) => Effect.map(session.get("shared"), (shared) => shared === true)
    })
  )

/** All pairs of requests. */
export const pairsOf = (kinds: ReadonlyArray<Kind>) =>
  kinds.flatMap((one, index) => kinds.slice(index).map((other) => [one, other] as const))
