import { assert } from "vitest"
import { cartOn, hold, inBrowser, press } from "./support.js"

inBrowser("the cart", (law) => {
  law("concurrent additions in two tabs are both kept", async ({ shop, tab }) => {
    const first = await tab("/")
    await press(first, "Add Teapot to the cart")
    await first.goto("/")
    const second = await tab("/")
    // Both requests load the cart with only the teapot, before either writes.
    hold(shop, "load", 2)
    await Promise.all([press(first, "Add Kettle to the cart"), press(second, "Add Cup to the cart")])
    for (const page of [first, second]) {
      await page.goto("/cart")
      const main = await page.getByRole("main").innerText()
      for (const name of ["Teapot", "Kettle", "Cup"]) assert.include(main, name)
      assert.strictEqual(await cartOn(page), 3)
    }
  })

  law(
    "a second click on Add before the next page has loaded adds a second item; a reload of that page adds nothing",
    async ({ shop, tab }) => {
      const page = await tab("/")
      // A form of a visitor with a session: the page has the token.
      await press(page, "Add Cup to the cart")
      await page.goto("/")
      shop.calls.length = 0
      const box = await page.getByRole("button", { name: "Add Teapot to the cart" }).boundingBox()
      assert.isNotNull(box)
      // By mouse position, because Playwright's click would wait for the navigation of the first click.
      const click = () => page.mouse.click(box.x + box.width / 2, box.y + box.height / 2)
      const writes = () => shop.calls.filter((call) => call !== "load")

      // The first POST loads, too.
      const following = hold(shop, "load", 2, 1)
      await click()
      await following
      // The first POST is written, and the page that was clicked is still shown.
      assert.deepStrictEqual([writes(), new URL(page.url()).pathname], [["save"], "/"])
      await Promise.all([page.waitForEvent("domcontentloaded"), click()])
      assert.deepStrictEqual([writes(), new URL(page.url()).pathname], [["save", "save"], "/cart"])
      assert.strictEqual(await cartOn(page), 3)
      await page.reload()
      assert.strictEqual(await cartOn(page), 3)
      assert.deepStrictEqual(writes(), ["save", "save"])
    }
  )
})
