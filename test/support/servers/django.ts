/**
 * A real Django from the installed package, started and stopped with a scope: its programs are in `test/support/django`.
 */
import { Effect, Schema, type Scope } from "effect"
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import * as Path from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { CookieJar } from "tough-cookie"
import { advice, django } from "../parts.js"
import { find } from "./programs.js"
import { hasEnded } from "./server.js"

export class DjangoError extends Schema.TaggedError<DjangoError>()("DjangoError", { message: Schema.String }) {}

/** The `SECRET_KEY` by default. */
export const secretKey = "the SECRET_KEY of the Django of the tests"

/** The settings of Django that tests change, by Django's names. */
export interface Settings {
  readonly SECRET_KEY?: string
  /** Django 3.2 ignores it. */
  readonly SECRET_KEY_FALLBACKS?: ReadonlyArray<string>
  /** Default: `django.contrib.sessions.backends.db`. */
  readonly SESSION_ENGINE?: string
  readonly SESSION_FILE_PATH?: string
  /** Default: a cache in the process. */
  readonly CACHES?: { readonly default: { readonly BACKEND: string; readonly LOCATION?: string } }
  /** Default: `django.contrib.sessions.serializers.JSONSerializer`. */
  readonly SESSION_SERIALIZER?: string
  /** Default: `sessionid`. */
  readonly SESSION_COOKIE_NAME?: string
  /** In seconds. Default: two weeks. */
  readonly SESSION_COOKIE_AGE?: number
  readonly SESSION_EXPIRE_AT_BROWSER_CLOSE?: boolean
  readonly SESSION_SAVE_EVERY_REQUEST?: boolean
  /** Default: `true`. */
  readonly USE_TZ?: boolean
  /** Default: `UTC`. */
  readonly TIME_ZONE?: string
}

export interface Options {
  /** `postgres://…`, `mysql://…` or `sqlite:<file>`. Without it, only what needs no database works. */
  readonly database?: string
  readonly settings?: Settings
  /** A folder with modules of Python that the settings name. */
  readonly modules?: string
}

/** The name and the password of the user that `migrate` creates. */
export const user = { username: "ada", password: "lovelace" } as const

/** Makes Django's tables in an empty database, and the user. */
export const migrate = (database: string): Effect.Effect<void, DjangoError> =>
  Effect.scoped(Effect.flatMap(start("migrate", { database }), ({ ask }) => ask()))

export interface Served {
  /** The address, without a slash at its end. */
  readonly url: string
  /** The last 4,000 characters of the warnings and errors that Django has logged. */
  readonly log: () => string
  /** Kills the process, and waits until it has ended. */
  readonly stop: Effect.Effect<void>
}

/** Serves the views of `test/support/django/views.py` on a free port of 127.0.0.1 until the end of the scope. */
export const serve = (options: Options): Effect.Effect<Served, DjangoError, Scope.Scope> =>
  Effect.gen(function*() {
    const { ask, log, stop } = yield* start("serve", options)
    const { port } = yield* Effect.flatMap(ask(), decoded(Schema.Struct({ port: Schema.Number })))
    return { url: `http://127.0.0.1:${port}`, log, stop }
  })

/** The lifetime of one session: seconds after each save, a fixed time in ISO 8601, the end of the browser session, or the setting. */
export type Lifetime =
  | { readonly seconds: number }
  | { readonly iso: string }
  | { readonly browser: true }
  | Record<string, never>

/** The name of a backend in `django.contrib.sessions.backends`. The key of `signed_cookies` is the value of the cookie. */
export type Backend = "db" | "cached_db" | "cache" | "file" | "signed_cookies"

/** Calls functions of Django. JSON is a text, because Python has numbers and strings that JavaScript does not have. */
export interface Worker {
  /** Encodes a JSON object as `session_data`. */
  readonly encode: (json: string) => Effect.Effect<string, DjangoError>
  /** Decodes `session_data`. The result is `{}` if the signature is wrong. */
  readonly decode: (data: string) => Effect.Effect<string, DjangoError>
  /** Sets the members of a JSON object in a session, or without a key in a new one, and returns its key. */
  readonly save: (
    backend: Backend,
    json: string,
    key?: string,
    lifetime?: Lifetime
  ) => Effect.Effect<string, DjangoError>
  /** Loads a session. The result is `null` if there is none, and `{}` if the signature is wrong. */
  readonly load: (backend: Backend, key: string) => Effect.Effect<string | null, DjangoError>
  /** The `_auth_user_hash` of a user with this value of the column `password`. */
  readonly authHash: (password: string) => Effect.Effect<string, DjangoError>
  readonly base62: (n: bigint) => Effect.Effect<string, DjangoError>
  /** Calls a function of `test/support/django/codec.py`. */
  readonly call: <A>(
    operation: string,
    result: Schema.Schema<A>,
    ...args: ReadonlyArray<unknown>
  ) => Effect.Effect<A, DjangoError>
}

/** Starts a Django that runs one function after the other, until the end of the scope. */
export const worker = (options: Options = {}): Effect.Effect<Worker, DjangoError, Scope.Scope> =>
  Effect.map(start("worker", options), ({ ask }): Worker => {
    const call = <A>(operation: string, result: Schema.Schema<A>) => (...args: ReadonlyArray<unknown>) =>
      ask({ operation, arguments: args }).pipe(
        Effect.flatMap(decoded(Schema.Union(Schema.Struct({ result }), Schema.Struct({ error: Schema.String })))),
        Effect.flatMap((answer) =>
          "error" in answer
            ? new DjangoError({ message: `${operation} failed: ${answer.error}` })
            : Effect.succeed(answer.result)
        )
      )
    const base62 = call("base62", Schema.String)
    return {
      encode: call("encode", Schema.String),
      decode: call("decode", Schema.String),
      save: call("save", Schema.String),
      load: call("load", Schema.NullOr(Schema.String)),
      authHash: call("authHash", Schema.String),
      base62: (n) => base62(String(n)),
      call: (operation, result, ...args) => call(operation, result)(...args)
    }
  })

/** A response as a browser sees it. */
export interface Answer {
  readonly status: number
  readonly body: string
  readonly headers: Headers
}

/** A browser: it stores the cookies of 127.0.0.1, which all ports share. */
export interface Browser {
  readonly jar: CookieJar
  /** The value of the cookie `sessionid`, or of another one. */
  readonly cookie: (name?: string) => string | undefined
  /** Requests a URL. A text is a JSON body. */
  readonly send: (url: string, json?: string) => Effect.Effect<Answer>
}

export const browser = (): Browser => {
  const jar = new CookieJar()
  const origin = "http://127.0.0.1/"
  return {
    jar,
    cookie: (name = "sessionid") => jar.getCookiesSync(origin).find(({ key }) => key === name)?.value,
    send: (url, json) =>
      Effect.promise(async (signal) => {
        const cookie = jar.getCookieStringSync(url)
        const response = await fetch(url, {
          ...(json === undefined ? {} : { method: "POST", body: json }),
          headers: { ...(json === undefined ? {} : { "content-type": "application/json" }), ...(cookie && { cookie }) },
          redirect: "manual",
          signal
        })
        for (const line of response.headers.getSetCookie()) jar.setCookieSync(line, url)
        return { status: response.status, body: await response.text(), headers: response.headers }
      })
  }
}

/** The answer of the view `/me`. */
export class Me extends Schema.Class<Me>("test/django/Me")({
  user: Schema.NullOr(Schema.String),
  /** The JSON text of the session. */
  data: Schema.String,
  key: Schema.NullOr(Schema.String),
  /** In seconds. */
  expireAge: Schema.Number,
  expireAtBrowserClose: Schema.Boolean
}) {}

/** Requests `/me`. Dies if Django responds with an error. */
export const me = (browser: Browser, { url }: Served): Effect.Effect<Me> =>
  Effect.flatMap(browser.send(`${url}/me`), ({ body }) => decoded(Schema.parseJson(Me))(body))

const decoded = <A, I>(schema: Schema.Schema<A, I>) => (answer: unknown) =>
  Effect.orDie(Schema.decodeUnknown(schema)(answer))

interface Running {
  /** Writes a line, if there is one, and returns the next line of output that no other caller awaits. Fails if the process ends before. */
  readonly ask: (request?: unknown) => Effect.Effect<unknown, DjangoError>
  readonly log: () => string
  readonly stop: Effect.Effect<void>
}

const main = fileURLToPath(new URL("../django/main.py", import.meta.url))

/** Starts a program. It ends with this process, too, because that closes its input. */
const start = (
  command: "migrate" | "serve" | "worker",
  { database, modules, settings }: Options
): Effect.Effect<Running, DjangoError, Scope.Scope> =>
  Effect.gen(function*() {
    const interpreter = python()
    if (interpreter === undefined) return yield* new DjangoError({ message: advice(django) })
    const { DATABASE_URL: _, ...inherited } = process.env
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        // Its own process group: Ctrl-C ends the tests only, whose scope ends Django.
        spawn(interpreter, ["-B", main, command], {
          detached: true,
          stdio: "pipe",
          env: {
            ...inherited,
            ...(database === undefined ? {} : { DATABASE_URL: database }),
            ...(modules === undefined ? {} : { PYTHONPATH: modules }),
            DJANGO_SETTINGS: JSON.stringify({ SECRET_KEY: secretKey, ...settings })
          }
        })
      ),
      kill
    )
    const lines: Array<unknown> = []
    const waiting: Array<(answer: Effect.Effect<unknown, DjangoError>) => void> = []
    let log = ""
    let failed: DjangoError | undefined
    createInterface({ input: child.stdout }).on("line", (line) => {
      const answer: unknown = JSON.parse(line)
      const resume = waiting.shift()
      if (resume === undefined) lines.push(answer)
      else resume(Effect.succeed(answer))
    })
    child.stderr.on("data", (chunk: Buffer) => log = `${log}${chunk}`.slice(-4000))
    child.stdin.on("error", () => {})
    const fail = (event: string) => {
      failed ??= new DjangoError({ message: `Django (${command}) ${event}. Its output: ${log || "none."}` })
      for (const resume of waiting.splice(0)) resume(failed)
    }
    child.once("error", ({ message }) => fail(`cannot be run: ${message}`))
    child.once("close", (code, signal) => fail(`ended with ${code ?? signal}`))
    return {
      // An interrupted caller keeps its place, so that the next one does not get its answer.
      ask: (request) =>
        Effect.async((resume) => {
          if (request !== undefined) child.stdin.write(`${JSON.stringify(request)}\n`)
          if (lines.length > 0) resume(Effect.succeed(lines.shift()))
          else if (failed !== undefined) resume(failed)
          else waiting.push(resume)
        }),
      log: () => log,
      stop: kill(child)
    }
  })

/** Kills the process, and waits until it has ended. */
const kill = (child: ChildProcess) =>
  Effect.async<void>((resume) => {
    if (hasEnded(child)) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })

let found: string | undefined

/** The first Python that has Django: that of `django-admin`, or one on the path, or Debian's. */
const python = (): string | undefined => {
  const admin = find("django-admin")
  const [, interpreter] = admin === undefined ? [] : /^#! *(\S*python\S*)/.exec(readFileSync(admin, "utf8")) ?? []
  const onPath = (process.env.PATH ?? "").split(Path.delimiter).map((folder) => Path.join(folder, "python3"))
  return found ??= [...(interpreter === undefined ? [] : [interpreter]), ...onPath, "/usr/bin/python3"].find(
    (python) => spawnSync(python, ["-c", "import django"]).status === 0
  )
}
