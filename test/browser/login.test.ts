import * as Headers from "@effect/platform/Headers"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Effect } from "effect"
import { SessionCookie } from "effect-session"
import type { Page } from "playwright-core"
import { assert } from "vitest"
import { shop } from "../../examples/shop/routes.js"
import { cartOn, goBack, hold, inBrowser, logIn, press, userOn } from "./support.js"

const add = "Add Teapot to the cart"

inBrowser("login and logout", (law) => {
  for (
    const [name, options] of [
      ["the cookie of AppSession.layer", {}],
      ["the development cookie", { cookie: SessionCookie.development }]
    ] as const
  ) {
    law(
      `after a login every page shows the user, and a restart of the server keeps the login and the cart (${name})`,
      async ({ shop, tab }) => {
        const page = await tab("/")
        await press(page, add)
        await logIn(page, "Ada")
        for (const path of ["/", "/cart"]) {
          await page.goto(path)
          assert.deepStrictEqual([await userOn(page), await cartOn(page)], ["Ada", 1])
        }
        await shop.restart()
        await page.reload()
        assert.deepStrictEqual([await userOn(page), await cartOn(page)], ["Ada", 1])
        await press(page, "Cart (1)")
        assert.include(await page.locator("main").innerText(), "Teapot")
      },
      options
    )
  }

  law("after a logout in another tab, the next click is anonymous", async ({ context, tab }) => {
    const first = await tab("/login")
    await logIn(first, "Ada")
    const second = await tab("/")
    await press(second, "Log out Ada")
    assert.strictEqual(await userOn(first), "Ada")
    await press(first, "Cart (0)")
    assert.strictEqual(await userOn(first), undefined)
    assert.include(await first.locator("main").innerText(), "The cart is empty")
    assert.deepStrictEqual(await context.cookies(), [])
  })

  law("after a logout in another tab, a posted form does not restore the session", async ({ shop, tab }) => {
    const first = await tab("/")
    await press(first, "Add Kettle to the cart")
    await logIn(first, "Ada")
    const second = await tab("/")
    await press(second, "Log out Ada")
    assert.deepStrictEqual([await userOn(first), await cartOn(first)], ["Ada", 1])
    await press(first, add)
    assert.deepStrictEqual([await userOn(first), await cartOn(first)], [undefined, 1])
    const main = await first.locator("main").innerText()
    assert.include(main, "Teapot")
    assert.notInclude(main, "Kettle")
    assert.deepStrictEqual((await shop.sessions()).map(({ subject }) => subject), [undefined])
  })

  law("after a logout, the back button and a reload show no data of the user", async ({ tab }) => {
    const page = await tab("/login")
    await logIn(page, "Ada")
    await press(page, add)
    await page.goto("/login")
    await press(page, "Log out Ada")
    for (const path of ["/login", "/cart", "/"]) {
      await goBack(page)
      for (const _ of ["shown", "reloaded"]) {
        assert.strictEqual(new URL(page.url()).pathname, path)
        assert.deepStrictEqual([await userOn(page), await cartOn(page)], [undefined, 0])
        assert.notInclude(await page.content(), "Ada")
        await page.reload()
      }
    }
  })

  for (
    const [action, act] of [
      ["a posted form is anonymous", (page: Page) => press(page, add)],
      ["a reload is anonymous", (page: Page) => page.reload()]
    ] as const
  ) {
    law(
      `a page cached by the browser before the logout cannot act as the user: ${action}`,
      async ({ shop, tab }) => {
        const page = await tab("/login")
        await logIn(page, "Ada")
        await press(page, "Cart (0)")
        await press(page, "Log out Ada")
        await goBack(page)
        await goBack(page)
        assert.strictEqual(await userOn(page), "Ada")
        await act(page)
        assert.strictEqual(await userOn(page), undefined)
        assert.deepStrictEqual((await shop.sessions()).filter(({ subject }) => subject !== undefined), [])
      },
      { app: Effect.map(shop, cacheable) }
    )
  }

  for (const before of ["an anonymous visitor", "Cleo"]) {
    law(
      `if ${before} with a cart logs in as two users in two tabs at once, one login wins, and no page mixes them`,
      async ({ shop, tab }) => {
        const first = await tab("/")
        if (before === "Cleo") await logIn(first, before)
        await press(first, add)
        await first.goto("/login")
        const second = await tab("/login")
        await first.getByLabel("Name").fill("Ada")
        await second.getByLabel("Name").fill("Bob")
        hold(shop, "load", 2)
        await Promise.all([press(first, "Log in"), press(second, "Log in")])

        const sessions = await shop.sessions()
        const carts = new Map(sessions.map(({ data, subject }) => [subject, data.includes("teapot") ? 1 : 0]))
        assert.deepStrictEqual([...carts.keys()].sort(), ["Ada", "Bob"])
        // The anonymous cart goes to the first login only; Cleo's cart goes to neither.
        assert.strictEqual([...carts.values()].filter((count) => count > 0).length, before === "Cleo" ? 0 : 1)
        const showsOne = async (page: Page) => {
          const [user, other] = await userOn(page) === "Ada" ? ["Ada", "Bob"] : ["Bob", "Ada"]
          assert.strictEqual(await page.getByRole("heading", { level: 1 }).innerText(), `Catalogue for ${user}`)
          assert.notMatch(await page.content(), new RegExp(`${other}|Cleo`))
          assert.strictEqual(await cartOn(page), carts.get(user))
          return user
        }
        await showsOne(first)
        await showsOne(second)
        await first.reload()
        await second.reload()
        assert.strictEqual(await showsOne(first), await showsOne(second))
      }
    )
  }
})

/** Makes a page cacheable by the browser. */
const cacheable = (response: HttpServerResponse.HttpServerResponse) =>
  HttpServerResponse.empty({
    status: response.status,
    headers: Headers.set(Headers.remove(response.headers, "clear-site-data"), "cache-control", "private, max-age=3600")
  }).pipe(HttpServerResponse.setBody(response.body))
