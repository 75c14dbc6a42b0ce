import { assert } from "vitest"
import { inBrowser, logIn, press } from "./support.js"

inBrowser("the pages", (law) => {
  law(
    "the login form makes no store call, and no page loads other resources",
    async ({ context, shop, tab }) => {
      const page = await tab("/login")
      assert.deepStrictEqual(shop.calls, [])
      await logIn(page, "Ada")
      await press(page, "Add Teapot to the cart")
      const requests: Array<string> = []
      context.on("request", (request) => requests.push(new URL(request.url()).pathname))
      for (const path of paths) await page.goto(path)
      assert.deepStrictEqual(requests, paths)
    }
  )

  law("no page is wider than a phone, even with a long user name", async ({ tab }) => {
    const page = await tab("/login")
    await page.setViewportSize({ width: 390, height: 844 })
    await logIn(page, "W".repeat(60))
    await press(page, "Add Teapot to the cart")
    for (const path of paths) {
      await page.goto(path)
      assert.strictEqual(await page.evaluate(() => document.documentElement.scrollWidth), 390, path)
    }
  })

  law("every focusable element has a role, a name and a visible focus outline", async ({ tab }) => {
    const page = await tab("/login")
    await logIn(page, "Ada")
    await press(page, "Add Teapot to the cart")
    for (const path of paths) {
      await page.goto(path)
      const focused = page.locator("body :focus")
      let count = 0
      for (await page.keyboard.press("Tab"); await focused.count() === 1; await page.keyboard.press("Tab")) {
        count++
        assert.match(await focused.ariaSnapshot(), /^- (link|button|textbox|checkbox|region) ".+"/)
        assert.strictEqual(await focused.evaluate((element) => getComputedStyle(element).outlineStyle), "solid")
      }
      assert.isAbove(count, 1, path)
    }
  })
})

const paths = ["/", "/cart", "/login", "/account", "/account/password"]
