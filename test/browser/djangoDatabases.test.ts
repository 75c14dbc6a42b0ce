/**
 * A browser behind the proxy of `examples/django`, with the pages of Effect and the views of a real Django, on each database.
 */
import * as HttpServer from "@effect/platform/HttpServer"
import { it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import type { Browser, Page } from "playwright-core"
import { afterAll, assert, beforeAll, describe } from "vitest"
import { app } from "../../examples/django/cart.js"
import * as Proxy from "../../examples/django/proxy.js"
import { sessions } from "../../examples/django/session.js"
import { databases } from "../support/djangoDatabases.js"
import { serve } from "../support/httpServer.js"
import * as Django from "../support/servers/django.js"
import { launch } from "./support.js"

/** Calls a view of Django from a page, with the cookies of the browser. */
const call = (
  page: Page,
  path: string,
  body?: object
): Promise<{ readonly user?: string | null; readonly data?: string }> =>
  page.evaluate(
    async ([path, body]) => {
      const response = await fetch(path, body === undefined ? {} : { method: "POST", body })
      if (!response.ok) throw new Error(`${path} answered ${response.status}`)
      return response.json()
    },
    [path, body === undefined ? undefined : JSON.stringify(body)] as const
  )

describe("a browser behind one proxy", () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await launch()
  })
  afterAll(() => browser.close())

  for (const [name, open] of databases) {
    it.scopedLive(`has one login and one cart on both sides, on ${name}`, () =>
      Effect.gen(function*() {
        const database = yield* open
        const django = yield* Django.serve({ database: database.url })
        const effect = yield* serve(
          HttpServer.serve(app).pipe(
            Layer.provide(sessions(Redacted.make(Django.secretKey))),
            Layer.provide(database.client)
          )
        )
        const port = yield* Proxy.listen({ port: 0, django: Number(new URL(django.url).port), effect })
        const context = yield* Effect.acquireRelease(
          Effect.promise(() => browser.newContext({ baseURL: `http://127.0.0.1:${port}` })),
          (context) => Effect.promise(() => context.close())
        )
        yield* Effect.promise(async () => {
          const [first, second] = [await context.newPage(), await context.newPage()]
          await first.goto("/cart")
          assert.include(await first.content(), "Cart (0)")

          await call(first, "/set", { cart: ["Piranesi"], theme: "dark" })
          await second.goto("/cart")
          assert.include(await second.content(), "<li>Piranesi</li>", "Effect reads the cart of Django")

          await call(first, "/login", Django.user)
          await second.reload()
          assert.include(await second.content(), "Log out ada", "Effect knows the user of Django's login")

          await second.getByRole("button", { name: "Order" }).click()
          assert.include(await second.content(), "Your orders: 1")
          const me = await call(first, "/me")
          assert.strictEqual(me.user, "ada")
          assert.deepInclude(JSON.parse(me.data ?? ""), { cart: [], orders: 1, theme: "dark" })

          await second.getByRole("button", { name: "Log out ada" }).click()
          assert.strictEqual((await call(first, "/me")).user, null, "a logout in Effect is one in Django")

          await call(first, "/login", Django.user)
          await second.goto("/cart")
          assert.include(await second.content(), "Log out ada")
          await call(first, "/logout", {})
          await second.reload()
          assert.include(await second.content(), "Log in</a>", "a logout in Django is one in Effect")
        })
      }), 60_000)
  }
})
