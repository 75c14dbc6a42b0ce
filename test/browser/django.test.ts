/**
 * The bookshop of `npm run example:django` in a browser: pages of Django and of Effect at one address.
 */
import { it } from "@effect/vitest"
import { Effect } from "effect"
import type { Browser, Page } from "playwright-core"
import { afterAll, assert, beforeAll, describe } from "vitest"
import { opened, start } from "../support/bookshop.js"
import { shared } from "../support/djangoBeside.js"
import { cartOn, goBack, launch, press, userOn } from "./support.js"

describe("the bookshop of Django and Effect", () => {
  const bookshop = shared(Effect.orDie(Effect.flatMap(start(), opened)))
  let browser: Browser
  beforeAll(async () => {
    browser = await launch()
  })
  afterAll(() => browser.close())

  const law = (title: string, walk: (tab: (path: string) => Promise<Page>) => Promise<void>) =>
    it.live(title, () =>
      Effect.flatMap(bookshop, ({ url: baseURL }) =>
        Effect.promise(async () => {
          const context = await browser.newContext({ baseURL })
          const errors: Array<string> = []
          context.on("console", (message) => message.type() === "error" && errors.push(message.text()))
          await walk(async (path) => {
            const page = await context.newPage()
            await page.goto(path)
            return page
          })
          await context.close()
          assert.deepStrictEqual(errors, [])
        })))

  law(
    "an anonymous cart of Effect is in Django's pages, stays after a login of Django, and can be ordered",
    async (tab) => {
      const page = await tab("/")
      await press(page, "Piranesi")
      await press(page, "Add to cart")
      assert.deepStrictEqual([await side(page), await userOn(page), await cartOn(page)], ["Effect", undefined, 1])
      await press(page, "Catalogue")
      assert.deepStrictEqual([await side(page), await userOn(page), await cartOn(page)], ["Django", undefined, 1])
      await press(page, "Cart (1)")
      await press(page, "Order")
      await logIn(page)
      assert.deepStrictEqual([await side(page), await userOn(page), await cartOn(page)], ["Effect", "ada", 1])
      await press(page, "Order")
      assert.strictEqual(await cartOn(page), 0)
      await press(page, "Catalogue")
      assert.deepStrictEqual([await side(page), await userOn(page), await cartOn(page)], ["Django", "ada", 0])
      assert.include(await page.getByRole("main").innerText(), "Your orders, which Effect counts: 1.")
    }
  )

  for (const [one, path, other] of [["Django", "/", "/cart"], ["Effect", "/cart", "/"]] as const) {
    law(`after a logout in ${one} in one tab, the other side is anonymous in another tab`, async (tab) => {
      const first = await tab("/login/")
      await logIn(first)
      await first.goto(other)
      assert.strictEqual(await userOn(first), "ada")
      const second = await tab(path)
      assert.strictEqual(await side(second), one)
      await press(second, "Log out ada")
      await first.reload()
      assert.strictEqual(await userOn(first), undefined)
    })

    law(`after a logout in ${one}, the back button shows no page of the user`, async (tab) => {
      const page = await tab("/login/")
      await logIn(page)
      await page.goto(other)
      await page.goto(path)
      await press(page, "Log out ada")
      for (const before of [path, other]) {
        await goBack(page)
        assert.deepStrictEqual([new URL(page.url()).pathname, await userOn(page)], [before, undefined])
      }
    })
  }
})

const logIn = async (page: Page): Promise<void> => {
  await page.getByLabel("Username").fill("ada")
  await page.getByLabel("Password").fill("lovelace")
  await page.getByRole("main").getByRole("button", { name: "Log in" }).click()
  await page.getByRole("navigation").getByText("Log out").waitFor()
}

/** The side that has made a page. */
const side = async (page: Page): Promise<string | undefined> =>
  /This page is from (\w+)/.exec(await page.getByRole("contentinfo").innerText())?.[1]
