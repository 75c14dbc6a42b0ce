import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Effect } from "effect"
import { createServer } from "node:http"
import type { BrowserContext, Page } from "playwright-core"
import { assert } from "vitest"
import { AppSession } from "../../examples/shop/AppSession.js"
import { html } from "../../examples/shop/html.js"
import { page as pageOf } from "../../examples/shop/layout.js"
import { cartOn, inBrowser, logIn, press, type Shop, type Stage, userOn, withProfile } from "./support.js"

const name = "__Host-Http-session"

inBrowser("the cookie after a restart of the browser", (law) => {
  for (
    const [title, remember, expected] of [
      ["\"remember me\" keeps the login", true, "Ada"],
      ["without \"remember me\" the login is gone", false, undefined]
    ] as const
  ) {
    law(title, ({ shop }) =>
      withProfile({}, async (open) => {
        const before = await open()
        await logIn(await tabIn(before, shop), "Ada", { remember })
        assert.strictEqual(await userOn(await tabIn(before, shop)), "Ada")
        await before.close()
        assert.strictEqual(await userOn(await tabIn(await open(), shop)), expected)
      }))
  }
})

inBrowser("the test cookie", (law) => {
  const probe = HttpRouter.empty.pipe(
    HttpRouter.get("/", Effect.as(AppSession.setTestCookie, HttpServerResponse.redirect("/back", { status: 303 }))),
    HttpRouter.get(
      "/back",
      AppSession.testCookieWorked.pipe(
        Effect.tap((worked) => worked ? AppSession.deleteTestCookie : Effect.void),
        Effect.map((worked) => pageOf({ title: worked ? "Welcome" : "Please allow cookies", body: html`` }))
      )
    ),
    HttpRouter.use(AppSession.middleware)
  )
  const blocked = { profile: { default_content_setting_values: { cookies: 2 } } }
  for (
    const [title, preferences, expected] of [
      ["works if cookies are allowed, and leaves no cookie", {}, "Welcome"],
      ["does not work if the browser blocks cookies", blocked, "Please allow cookies"]
    ] as const
  ) {
    law(title, ({ shop }) =>
      withProfile(preferences, async (open) => {
        const context = await open()
        const page = await tabIn(context, shop)
        assert.strictEqual(await page.getByRole("heading", { level: 1 }).innerText(), expected)
        assert.deepStrictEqual(await context.cookies(), [])
      }), { app: probe })
  }
})

inBrowser("the session cookie and scripts (R22)", (law) => {
  /** Tries to delete the visitor's session cookie by script, and to replace it. */
  const attack = (page: Page, value: string) =>
    page.evaluate(async ({ name, value }) => {
      await cookieStore.delete(name).catch(() => {})
      for (const attributes of ["Secure; Path=/; Max-Age=0", "", "Path=/", "Secure; Path=/"]) {
        document.cookie = `${name}=${value}; ${attributes}`
      }
      await cookieStore.set(name, value).catch(() => {})
      return document.cookie
    }, { name, value })

  const flood = (page: Page, attributes: string) =>
    page.evaluate((attributes) => {
      for (let index = 0; index < 200; index++) document.cookie = `flood${index}=x; Path=/${attributes}`
      return document.cookie.split("; ").length
    }, attributes)

  law(
    "scripts cannot read, replace or evict it with 200 cookies of their own",
    async (stage) => {
      const { attacker, cookie, page } = await withAttacker(stage)
      const before = await cookie()
      assert.notInclude(await attack(page, attacker), name)
      assert.deepStrictEqual(await cookie(), before)
      assert.isAbove(await flood(page, ""), 100)
      assert.notInclude(await attack(page, attacker), name)
      assert.deepStrictEqual(await cookie(), before)
      await page.reload()
      assert.strictEqual(await userOn(page), "Ada")
    }
  )

  law(
    "if 200 Secure cookies evict it, scripts cannot replace it",
    async (stage) => {
      const { attacker, cookie, page } = await withAttacker(stage)
      assert.isAbove(await flood(page, "; Secure"), 100)
      await attack(page, attacker)
      assert.notStrictEqual((await cookie())?.value, attacker)
      await page.reload()
      assert.include([undefined, "Ada"], await userOn(page))
    }
  )

  /** Ada's page, and the session cookie of another user. */
  const withAttacker = async ({ context, tab }: Stage) => {
    const cookie = async () => (await context.cookies()).find((cookie) => cookie.name === name)
    const page = await tab("/")
    await logIn(page, "Mallory")
    const attacker = (await cookie())?.value
    assert.isDefined(attacker)
    await context.clearCookies()
    await logIn(page, "Ada")
    assert.strictEqual((await cookie())?.httpOnly, true)
    return { attacker, cookie, page }
  }
})

inBrowser("a visitor who comes from another site", (law) => {
  law("by a link is logged in (Lax)", ({ shop, tab }) =>
    elsewhere(shop, async (site) => {
      const page = await tab("/login")
      await logIn(page, "Ada")
      await page.goto(site)
      await press(page, "To the shop")
      assert.strictEqual(await userOn(page), "Ada")
    }))

  law("by a link is anonymous until the next click (Strict)", ({ shop, tab }) =>
    elsewhere(shop, async (site) => {
      const page = await tab("/login")
      await logIn(page, "Ada")
      await page.goto(site)
      await press(page, "To the shop")
      assert.strictEqual(await userOn(page), undefined)
      await press(page, "Catalogue")
      assert.strictEqual(await userOn(page), "Ada")
    }), { cookie: { sameSite: "strict" } })

  law(
    "by a posted form changes nothing, and stays logged in (Lax)",
    ({ shop, tab }) =>
      elsewhere(shop, async (site) => {
        const page = await tab("/login")
        await logIn(page, "Ada")
        const before = await shop.sessions()
        await page.goto(site)
        shop.calls.length = 0
        await press(page, "Free tea")
        // The POST loaded no session and created none.
        assert.include(await page.content(), "another site")
        assert.deepStrictEqual(shop.calls, [])
        assert.deepStrictEqual(await shop.sessions(), before)
        await page.goto(`${shop.origin}/`)
        assert.deepStrictEqual([await userOn(page), await cartOn(page)], ["Ada", 0])
      }),
    { refused: 403 }
  )
})

const tabIn = async (context: BrowserContext, shop: Shop): Promise<Page> => {
  const page = await context.newPage()
  await page.goto(shop.origin)
  return page
}

/** Serves another site with a link and a form to the shop. */
const elsewhere = async (shop: Shop, story: (site: string) => Promise<void>): Promise<void> => {
  const server = createServer((_, response) =>
    response.setHeader("content-type", "text/html").end(
      `<link rel="icon" href="data:,"><a href="${shop.origin}/">To the shop</a>
       <form method="post" action="${shop.origin}/cart"><button name="sku" value="teapot">Free tea</button></form>`
    )
  )
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  try {
    const address = server.address()
    await story(`http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}/`)
  } finally {
    server.closeAllConnections()
    server.close()
  }
}
