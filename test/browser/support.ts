/**
 * The shop, open to visitors with a real browser.
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServer from "@effect/platform/HttpServer"
import { it } from "@effect/vitest"
import { ConfigProvider, Context, Deferred, Effect, Exit, FiberId, Layer, Logger, Scope } from "effect"
import type { SessionCookie } from "effect-session"
import { StoredEngine } from "effect-session"
import type { SessionRecord } from "effect-session/SessionRecord"
import type { SessionService } from "effect-session/SessionService"
import { SessionStore } from "effect-session/SessionStore"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core"
import { afterAll, assert, beforeAll, describe } from "vitest"
import { AppSession } from "../../examples/shop/AppSession.js"
import { freePort } from "../../examples/shop/freePort.js"
import { shop as shopRoutes } from "../../examples/shop/routes.js"
import * as Server from "../../examples/shop/server.js"
import * as StoreCosts from "../../examples/shop/StoreCosts.js"
import * as Intercept from "../support/intercept.js"
import * as Parts from "../support/parts.js"
import { recordsIn } from "../support/scanPages.js"
import { find } from "../support/servers/programs.js"
import { freshPrefix, postgresClient, sqlStore } from "../support/stores.js"

export interface Options {
  /** Default: that of `AppSession.layer`. */
  readonly cookie?: SessionCookie.CookieOptions
  /** The status of a page that the story is to be refused; the console notes it as an error. */
  readonly refused?: number
  /** Default: the shop. */
  readonly app?: HttpApp.Default<unknown, SessionService<AppSession> | StoreCosts.StoreCosts>
}

export interface Shop {
  /** As visitors write it: to a page of `localhost`, one of `127.0.0.1` is on another site. */
  readonly origin: string
  /** Every call of the store, in order. */
  readonly calls: Array<Intercept.Operation>
  /** What becomes of the store's calls; tests replace it. */
  intercept: Intercept.Interception
  /** All live sessions, past the interception. */
  readonly sessions: () => Promise<ReadonlyArray<SessionRecord>>
  /** Closes everything but the database, and opens it again. */
  readonly restart: () => Promise<void>
}

/** Opens a shop, as `npm start` does, on tables of its own in the tests' Postgres. */
export const open = ({ app = shopRoutes, cookie }: Options = {}): Effect.Effect<Shop, unknown, Scope.Scope> =>
  Effect.gen(function*() {
    const calls: Array<Intercept.Operation> = []
    const around: { intercept: Intercept.Interception } = { intercept: (_, call) => call }
    const counted = Intercept.layer((operation, call, args) =>
      Effect.suspend(() => {
        calls.push(operation)
        return around.intercept(operation, call, args)
      }), false) // not remote: a call that a test holds has no time limit
    const database = sqlStore(postgresClient({ maxConnections: 4 }), freshPrefix())
    const serving = (port: number) =>
      HttpServer.serve(app, StoreCosts.middleware).pipe(
        Layer.provideMerge(Server.layer),
        Layer.provide(
          AppSession.layerWith({ commitTimeout: "20 seconds", ...(cookie === undefined ? {} : { cookie }) })
        ),
        Layer.provide(StoredEngine.layer),
        Layer.provide(StoreCosts.layer),
        Layer.provide(counted),
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

    // One that stays its own while the shop is closed.
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

/** From now on a call of the operation goes on only when this many have been answered. Waits for the first of them. */
export const hold = (shop: Shop, held: Intercept.Operation, count: number): Promise<void> => {
  const first = Deferred.unsafeMake<void>(FiberId.none)
  const all = Deferred.unsafeMake<void>(FiberId.none)
  let left = count
  shop.intercept = (operation, call) =>
    operation !== held ? call : Effect.tap(call, () => {
      left--
      return Effect.zipRight(
        Deferred.succeed(first, undefined),
        left > 0 ? Deferred.await(all) : Deferred.succeed(all, undefined)
      )
    })
  return Effect.runPromise(Deferred.await(first))
}

/** Chromium as people use it, without what it does on its own. */
const settings = () => {
  const executablePath = find("chromium")
  if (executablePath === undefined) throw new Error(Parts.advice(Parts.browser))
  return {
    executablePath,
    // The tests may run as root, where Chromium has no sandbox.
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

/** What a law is told on: a shop, and a visitor with an empty jar. */
export interface Stage {
  readonly shop: Shop
  readonly context: BrowserContext
  /** A tab of the visitor's, with a page of the shop. */
  readonly tab: (path: string) => Promise<Page>
}

export type Law = (title: string, story: (stage: Stage) => Promise<void>, options?: Options) => void

/** Laws that share a browser. In each of them, no page may log an error. */
export const inBrowser = (name: string, laws: (law: Law) => void): void => {
  describe(name, () => {
    // Not by `layer`: that would change the tests of every file which this process runs later.
    let browser: Browser
    beforeAll(async () => {
      browser = await chromium.launch(settings())
    })
    afterAll(() => browser.close())
    laws((title, story, options) =>
      it.scopedLive(title, () =>
        Effect.gen(function*() {
          const shop = yield* Effect.orDie(open(options))
          const context = yield* Effect.acquireRelease(
            Effect.promise(() => browser.newContext({ baseURL: shop.origin })),
            (context) => Effect.promise(() => context.close())
          )
          const errors = errorsIn(context)
          const tab = async (path: string) => {
            const page = await context.newPage()
            await page.goto(path)
            return page
          }
          yield* Effect.promise(() => story({ shop, context, tab }))
          const { refused } = options ?? {}
          assert.deepStrictEqual(
            errors.filter((error) => refused === undefined || !error.includes(String(refused))),
            []
          )
          if (refused !== undefined) assert.isNotEmpty(errors)
        }))
    )
  })
}

/** For a story with a browser that has settings, and keeps them and its cookies when it is closed and opened again. */
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

/** Fills with what the console of any page calls an error, and with what scripts throw. */
const errorsIn = (context: BrowserContext): ReadonlyArray<string> => {
  const errors: Array<string> = []
  context.on("console", (message) => {
    if (message.type() === "error") errors.push(`${message.location().url}: ${message.text()}`)
  })
  context.on("weberror", (error) => errors.push(String(error.error())))
  return errors
}

/** Presses a button or follows a link, and waits for the page that it leads to. */
export const press = async (page: Page, name: string): Promise<void> => {
  const control = page.getByRole("button", { name, exact: true }).or(page.getByRole("link", { name, exact: true }))
  await Promise.all([page.waitForEvent("domcontentloaded"), control.click()])
}

/** The back button. What it brings may be a page as it was, which loads nothing. */
export const goBack = async (page: Page): Promise<void> => {
  await page.goBack({ waitUntil: "commit" })
  await page.getByRole("main").waitFor()
}

export const logIn = async (page: Page, name: string): Promise<void> => {
  await page.goto(new URL("/login", page.url()).href)
  await page.getByLabel("Name").fill(name)
  await page.getByLabel("Password").fill("any")
  await press(page, "Log in")
}

/** What a page says of its visitor: the name, or none. A page that says neither is a failure. */
export const userOn = async (page: Page): Promise<string | undefined> => {
  const [, user] = /Log out (.+)/.exec(await navigation(page)) ?? []
  if (user === undefined) assert.include(await navigation(page), "Log in")
  return user
}

/** How much is in the cart, as a page says. */
export const cartOn = async (page: Page): Promise<number> => Number(/Cart \((\d+)\)/.exec(await navigation(page))?.[1])

const navigation = (page: Page): Promise<string> => page.getByRole("navigation", { name: "Main" }).innerText()
