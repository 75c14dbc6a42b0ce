/** A shop server and a real browser for the tests in this directory. */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServer from "@effect/platform/HttpServer"
import { it } from "@effect/vitest"
import { ConfigProvider, Context, Deferred, Effect, Exit, FiberId, Layer, Logger, Scope } from "effect"
import type { SessionCookie } from "effect-session"
import { SessionDevtools, StoredEngine } from "effect-session"
import type { SessionRecord } from "effect-session/SessionRecord"
import type { SessionRevocation } from "effect-session/SessionRevocation"
import type { SessionService } from "effect-session/SessionService"
import { SessionStore } from "effect-session/SessionStore"
import type { Operation } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core"
import { afterAll, assert, beforeAll, describe } from "vitest"
import { AppSession } from "../../examples/shop/AppSession.js"
import { EngineName } from "../../examples/shop/frame.js"
import { freePort } from "../../examples/shop/freePort.js"
import { shop as shopRoutes } from "../../examples/shop/routes.js"
import * as Server from "../../examples/shop/server.js"
import { freshPrefix, sqlStore } from "../support/localStores.js"
import * as Parts from "../support/parts.js"
import { recordsIn } from "../support/scanPages.js"
import { postgresClient } from "../support/serverClients.js"
import { find } from "../support/servers/programs.js"

export interface Options {
  /** Default: the cookie of `AppSession.layer`. */
  readonly cookie?: SessionCookie.CookieOptions
  /** The expected error status of a page, which the console logs as an error. */
  readonly refused?: number
  /** Default: the routes of the shop. */
  readonly app?: HttpApp.Default<
    unknown,
    SessionService<AppSession> | SessionRevocation | EngineName
  >
}

export interface Shop {
  /** The URL on `localhost`. A page of `127.0.0.1` is cross-site to it. */
  readonly origin: string
  /** Every store call, in order. */
  readonly calls: Array<Operation>
  /** Intercepts the store calls; tests replace it. */
  intercept: FaultyStore.Interception
  /** Returns all live sessions, without the interception. */
  readonly sessions: () => Promise<ReadonlyArray<SessionRecord>>
  /** Restarts the server and the store; the database stays. */
  readonly restart: () => Promise<void>
}

/** Opens a shop like `npm start`, on its own tables in the tests' Postgres. */
export const open = ({ app = shopRoutes, cookie }: Options = {}): Effect.Effect<Shop, unknown, Scope.Scope> =>
  Effect.gen(function*() {
    const calls: Array<Operation> = []
    const around: { intercept: FaultyStore.Interception } = { intercept: (_, call) => call }
    const counted = FaultyStore.layerIntercepted((operation, call, args) =>
      Effect.suspend(() => {
        calls.push(operation)
        return around.intercept(operation, call, args)
      }), false) // not remote: a call held by a test has no timeout
    const database = sqlStore(postgresClient({ maxConnections: 4 }), freshPrefix())
    const serving = (port: number) =>
      HttpServer.serve(app, SessionDevtools.middleware).pipe(
        Layer.provideMerge(Server.layer),
        Layer.provide(
          AppSession.layerWith({ commitTimeout: "20 seconds", ...(cookie === undefined ? {} : { cookie }) })
        ),
        Layer.provide(StoredEngine.layer),
        Layer.provide(Layer.succeed(EngineName, "sql")),
        Layer.provide(counted),
        // The cookie of most tests is the default one, which is Secure.
        Layer.provide(SessionDevtools.layerWith({ allowSecureCookie: true })),
        Layer.provide(Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["PORT", String(port)]])))),
        Layer.provide(Logger.remove(Logger.defaultLogger))
      )
    const outer = yield* Effect.scope
    const start = (port: number) =>
      Effect.gen(function*() {
        const scope = yield* Scope.fork(outer, outer.strategy)
        const stores = yield* Layer.buildWithScope(database, scope)
        const server = yield* Layer.buildWithScope(Layer.provide(serving(port), Layer.succeedContext(stores)), scope)
        return { scope, store: Context.get(stores, SessionStore), server: Context.get(server, HttpServer.HttpServer) }
      })

    // The port stays the same across restarts.
    const port = yield* freePort
    let running = yield* start(port)
    return Object.assign(around, {
      origin: `http://localhost:${port}`,
      calls,
      sessions: () =>
        Effect.runPromise(Effect.map(running.store.scan("app/Session", { limit: 100, now: Date.now() }), recordsIn)),
      restart: () =>
        Effect.runPromise(Effect.gen(function*() {
          yield* Scope.close(running.scope, Exit.void)
          running = yield* start(port)
        }))
    })
  })

/**
 * From now on, calls of the operation return only when `count` of them have completed, except the next `passing` ones. Waits for the
 * first one that is held.
 */
export const hold = (shop: Shop, held: Operation, count: number, passing = 0): Promise<void> => {
  const first = Deferred.unsafeMake<void>(FiberId.none)
  const all = Deferred.unsafeMake<void>(FiberId.none)
  let left = count
  let passed = 0
  shop.intercept = (operation, call) =>
    operation !== held || passed++ < passing ? call : Effect.tap(call, () => {
      left--
      return Effect.zipRight(
        Deferred.succeed(first, undefined),
        left > 0 ? Deferred.await(all) : Deferred.succeed(all, undefined)
      )
    })
  return Effect.runPromise(Deferred.await(first))
}

/** Launch options of Chromium, without background activity. */
export const settings = () => {
  const executablePath = find("chromium")
  if (executablePath === undefined) throw new Error(Parts.advice(Parts.browser))
  return {
    executablePath,
    // The tests may run as root, which Chromium's sandbox does not support.
    chromiumSandbox: false,
    args: [
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync"
    ],
    ignoreDefaultArgs: ["--disable-back-forward-cache"]
  }
}

/** Starts a browser without pages, for tests that serve their own site. */
export const launch = (): Promise<Browser> => chromium.launch(settings())

/** The environment of a browser test: a shop, and a visitor without cookies. */
export interface Stage {
  readonly shop: Shop
  readonly context: BrowserContext
  /** Opens a page of the shop in a new tab of the visitor. */
  readonly tab: (path: string) => Promise<Page>
  /** Opens a page of the shop in another profile of the browser, with its own cookies. */
  readonly otherProfile: (path: string, userAgent?: string) => Promise<Page>
}

export type Law = (title: string, story: (stage: Stage) => Promise<void>, options?: Options) => void

/** Defines browser tests that share a browser. A test fails if a page logs an unexpected error. */
export const inBrowser = (name: string, laws: (law: Law) => void): void => {
  describe(name, () => {
    // Not with `layer`, which would change the tests of every file that this process runs later.
    let browser: Browser
    beforeAll(async () => {
      browser = await launch()
    })
    afterAll(() => browser.close())
    laws((title, story, options) =>
      it.scopedLive(title, () =>
        Effect.gen(function*() {
          const shop = yield* Effect.orDie(open(options))
          const scope = yield* Effect.scope
          const errors: Array<ReadonlyArray<string>> = []
          const newProfile = (userAgent?: string) =>
            Effect.acquireRelease(
              Effect.promise(() =>
                browser.newContext({ baseURL: shop.origin, ...(userAgent === undefined ? {} : { userAgent }) })
              ),
              (context) => Effect.promise(() => context.close())
            ).pipe(Effect.tap((context) => errors.push(errorsIn(context))), Scope.extend(scope))
          const tabIn = async (context: BrowserContext, path: string) => {
            const page = await context.newPage()
            await page.goto(path)
            return page
          }
          const context = yield* newProfile()
          yield* Effect.promise(() =>
            story({
              shop,
              context,
              tab: (path) => tabIn(context, path),
              otherProfile: async (path, userAgent) => tabIn(await Effect.runPromise(newProfile(userAgent)), path)
            })
          )
          const { refused } = options ?? {}
          assert.deepStrictEqual(
            errors.flat().filter((error) => refused === undefined || !error.includes(String(refused))),
            []
          )
          if (refused !== undefined) assert.isNotEmpty(errors.flat())
        }))
    )
  })
}

/** Runs `story` with a browser profile that keeps its preferences and cookies across restarts. */
export const withProfile = async (
  preferences: object,
  story: (open: () => Promise<BrowserContext>) => Promise<void>
): Promise<void> => {
  const directory = await mkdtemp(Path.join(tmpdir(), "effect-session-browser-"))
  const contexts: Array<BrowserContext> = []
  const errors: Array<ReadonlyArray<string>> = []
  try {
    await mkdir(Path.join(directory, "Default"))
    await writeFile(Path.join(directory, "Default", "Preferences"), JSON.stringify(preferences))
    await story(async () => {
      const context = await chromium.launchPersistentContext(directory, settings())
      contexts.push(context)
      errors.push(errorsIn(context))
      return context
    })
    assert.deepStrictEqual(errors.flat(), [])
  } finally {
    for (const context of contexts) await context.close()
    await rm(directory, { recursive: true, force: true })
  }
}

/** Collects console errors and uncaught exceptions of all pages. */
const errorsIn = (context: BrowserContext): ReadonlyArray<string> => {
  const errors: Array<string> = []
  context.on("console", (message) => {
    if (message.type() === "error") errors.push(`${message.location().url}: ${message.text()}`)
  })
  context.on("weberror", (error) => errors.push(String(error.error())))
  return errors
}

/** Presses a button, or follows a link if no button has this name, and waits for the next page. */
export const press = async (page: Page, name: string): Promise<void> => {
  const button = page.getByRole("button", { name, exact: true })
  const control = await button.count() > 0 ? button : page.getByRole("link", { name, exact: true })
  await Promise.all([page.waitForEvent("domcontentloaded"), control.click()])
}

/** Goes back. The page may come from the back/forward cache, which fires no load event. */
export const goBack = async (page: Page): Promise<void> => {
  await page.goBack({ waitUntil: "commit" })
  await page.getByRole("main").waitFor()
}

export const logIn = async (page: Page, name: string, options?: { readonly remember: boolean }): Promise<void> => {
  await page.goto(new URL("/login", page.url()).href)
  await page.getByLabel("Name").fill(name)
  await page.getByLabel("Password").fill("any")
  if (options?.remember === true) await page.getByLabel("Remember me").check()
  await press(page, "Log in")
}

/** The user name that a page shows, or undefined for an anonymous page. Fails if the page shows neither. */
export const userOn = async (page: Page): Promise<string | undefined> => {
  const [, user] = /Log out (.+)/.exec(await navigation(page)) ?? []
  if (user === undefined) assert.include(await navigation(page), "Log in")
  return user
}

/** The number of items in the cart that a page shows. */
export const cartOn = async (page: Page): Promise<number> => Number(/Cart \((\d+)\)/.exec(await navigation(page))?.[1])

const navigation = (page: Page): Promise<string> => page.getByRole("navigation", { name: "Main" }).innerText()
