import { SessionCookie } from "effect-session"
import type { Page } from "playwright-core"
import { assert } from "vitest"
import { inBrowser, logIn, press } from "./support.js"

const hostile = `"><img src=x onerror=alert(1)><script>alert(2)</script>`

inBrowser("the devtools of the shop", (law) => {
  const options = { cookie: SessionCookie.development }

  law("show the session and the requests of the visitor, from a link at the foot of each page", async ({ tab }) => {
    const page = await tab("/login")
    await logIn(page, "Ada")
    await press(page, "Add Teapot to the cart")
    await press(page, "Session devtools")
    assert.strictEqual(new URL(page.url()).pathname, "/_session")
    const text = await page.getByRole("main").innerText()
    for (const expected of ["app/Session", "session-dev-app.Session", "teapot", "Ada", "pwd"]) {
      assert.include(text, expected)
    }
    const row = (name: string) => page.getByRole("row").filter({ hasText: name }).first().innerText()
    assert.match(await row("POST /cart "), /303[^]*loaded[^]*Save[^]*cart[^]*load[^]*hit[^]*save[^]*saved/)
    assert.match(await row("POST /login"), /303[^]*no_cookie[^]*Create[^]*create[^]*created[^]*HttpOnly; SameSite=Lax/)
  }, options)

  law("hostile data of a session and a hostile path do not become HTML", async ({ context, tab }) => {
    const dialogs: Array<string> = []
    context.on("dialog", (dialog) => {
      dialogs.push(dialog.message())
      void dialog.dismiss()
    })
    const page = await tab("/login")
    await logIn(page, hostile.slice(0, 60))
    await page.goto(`/${encodeURIComponent(hostile)}`).catch(() => {})
    await page.goto(`/'"<b>`).catch(() => {})
    await page.goto("/_session")
    assert.include(await page.getByRole("main").innerText(), hostile.slice(0, 30))
    assert.strictEqual(await page.locator("img, script, b, iframe, object").count(), 0)
    assert.deepStrictEqual(dialogs, [])
  }, { ...options, refused: 404 })

  law("load nothing, and are readable in light and dark", async ({ context, tab }) => {
    const page = await tab("/login")
    await logIn(page, "Ada")
    const requests: Array<string> = []
    context.on("request", (request) => requests.push(new URL(request.url()).pathname))
    await page.goto("/_session")
    assert.deepStrictEqual(requests.filter((path) => path !== "/favicon.ico"), ["/_session"])
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme })
      for (const selector of ["h1", ".soft", "td"]) {
        assert.isAbove(await contrastOf(page, selector), 4.5, `${selector} in ${colorScheme}`)
      }
    }
    await page.setViewportSize({ width: 390, height: 844 })
    assert.strictEqual(await page.evaluate(() => document.documentElement.scrollWidth), 390)
  }, options)
})

/** The contrast of the text of an element to the page, by WCAG 2.2. */
const contrastOf = (page: Page, selector: string): Promise<number> =>
  page.locator(selector).first().evaluate((element) => {
    const luminance = (color: string) => {
      const [r = 0, g = 0, b = 0] = (color.match(/[\d.]+/g) ?? []).slice(0, 3).map((value) => {
        const part = Number(value) / 255
        return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
      })
      return 0.2126 * r + 0.7152 * g + 0.0722 * b
    }
    const [low = 0, high = 0] = [
      luminance(getComputedStyle(element).color),
      luminance(getComputedStyle(document.body).backgroundColor)
    ].sort((a, b) => a - b)
    return (high + 0.05) / (low + 0.05)
  })
