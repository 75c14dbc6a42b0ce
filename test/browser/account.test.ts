import type { Page } from "playwright-core"
import { assert } from "vitest"
import { maxDevices } from "../../examples/shop/AppSession.js"
import { hold, inBrowser, logIn, press, userOn } from "./support.js"

const firefox = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"

inBrowser("the account page", (law) => {
  law(
    "a device that is logged out from another profile is logged out there, and its login page shows the reason",
    async ({ otherProfile, tab }) => {
      const [here, there] = await bothLoggedIn(tab, otherProfile)
      await here.goto("/account")
      assert.deepStrictEqual(await devicesOn(here), ["Chrome on Linux (this device)", "Firefox on Windows"])
      await there.goto("/account")
      assert.deepStrictEqual(await devicesOn(there), ["Chrome on Linux", "Firefox on Windows (this device)"])

      await press(here, "Log out Firefox on Windows")
      assert.strictEqual(await noticeOn(here), "The device is logged out.")
      assert.deepStrictEqual(await devicesOn(here), ["Chrome on Linux (this device)"])
      assert.strictEqual(await userOn(here), "Ada")
      await here.reload()
      assert.strictEqual(await noticeOn(here), undefined)

      await press(there, "Account")
      assert.strictEqual(new URL(there.url()).pathname, "/login")
      assert.strictEqual(await there.getByRole("alert").innerText(), "You were logged out on another device.")
      assert.strictEqual(await userOn(there), undefined)
    }
  )

  law(
    "\"log out all other devices\" ends the sessions of the user in other profiles, and not those of other users",
    async ({ otherProfile, tab }) => {
      const [here, there] = await bothLoggedIn(tab, otherProfile)
      const bob = await otherProfile("/")
      await logIn(bob, "Bob")
      await here.goto("/account")
      await press(here, "Log out all other devices")
      assert.strictEqual(await noticeOn(here), "All other devices are logged out.")
      assert.deepStrictEqual(await devicesOn(here), ["Chrome on Linux (this device)"])
      await press(there, "Account")
      assert.include(await there.getByRole("alert").innerText(), "which has ended all other sessions")
      await press(bob, "Account")
      assert.deepStrictEqual(await devicesOn(bob), ["Chrome on Linux (this device)"])
    }
  )

  law(
    "a login on one device more than the limit ends the oldest session, whose login page shows the reason",
    async ({ otherProfile, tab }) => {
      const first = await tab("/")
      await logIn(first, "Ada")
      const others: Array<Page> = []
      for (let count = 0; count < maxDevices; count++) {
        const other = await otherProfile("/", firefox)
        await logIn(other, "Ada")
        others.push(other)
      }
      await press(first, "Account")
      assert.include(await first.getByRole("alert").innerText(), `on ${maxDevices} other devices`)
      for (const other of others) {
        await press(other, "Account")
        assert.strictEqual((await devicesOn(other)).length, maxDevices)
      }
    }
  )
})

inBrowser("the change of the password", (law) => {
  law("after a login it asks for no other password, and logs out the other profile", async ({ otherProfile, tab }) => {
    const [here, there] = await bothLoggedIn(tab, otherProfile)
    await here.goto("/account")
    await press(here, "Change the password")
    assert.strictEqual(await headingOn(here), "Change the password")
    await here.getByLabel("New password").fill("new")
    await press(here, "Change it")
    assert.strictEqual(await noticeOn(here), "Your password is changed, and all other devices are logged out.")
    assert.deepStrictEqual(await devicesOn(here), ["Chrome on Linux (this device)"])
    await there.reload()
    assert.strictEqual(await userOn(there), undefined)
  })

  law("a remembered login enters its password again first", async ({ context, tab }) => {
    const page = await tab("/")
    await logIn(page, "Ada", { remember: true })
    const form = await tab("/account/password")
    assert.strictEqual(await headingOn(form), "Is it you?")
    const before = await context.cookies()
    await form.getByLabel("Password").fill("any")
    await press(form, "Continue")
    assert.strictEqual(await headingOn(form), "Change the password")
    // A step-up moves the session to a new token.
    assert.notDeepEqual(await context.cookies(), before)
    await form.getByLabel("New password").fill("new")
    await press(form, "Change it")
    assert.include(await noticeOn(form), "Your password is changed")
    assert.strictEqual(await userOn(form), "Ada")
  })
})

inBrowser("the note of the delivery, changed in two tabs", (law) => {
  for (
    const [button, expected] of [
      ["Keep yours", "Ring twice"],
      ["Keep the other", "Leave it at the door"],
      ["Save both", "Leave it at the door Ring twice"]
    ] as const
  ) {
    law(`shows both side by side, and keeps the chosen one: ${button}`, async ({ tab }) => {
      const [first, second] = await twoCarts(tab)
      await write(first, "Leave it at the door")
      await write(second, "Ring twice")
      assert.strictEqual(await headingOn(second), "Which note?")
      const [yours, other] = await Promise.all(
        ["Your note", "The other note"].map(async (name) => {
          const side = second.getByRole("region", { name })
          return { text: await side.getByRole("paragraph").innerText(), box: await side.boundingBox() }
        })
      )
      assert.deepStrictEqual([yours?.text, other?.text], ["Ring twice", "Leave it at the door"])
      assert.strictEqual(yours?.box?.y, other?.box?.y)
      await press(second, button)
      assert.strictEqual(await noteOn(second), expected)
      await first.reload()
      assert.strictEqual(await noteOn(first), expected)
    }, { refused: 409 })
  }

  law("also at the same moment: one is saved, and the other is answered with 409", async ({ shop, tab }) => {
    const [first, second] = await twoCarts(tab)
    await first.getByLabel("Note").fill("Leave it at the door")
    await second.getByLabel("Note").fill("Ring twice")
    // Both requests load the same note, before either writes.
    hold(shop, "load", 2)
    await Promise.all([press(first, "Save the note"), press(second, "Save the note")])
    const headings = await Promise.all([headingOn(first), headingOn(second)])
    assert.sameMembers(headings, ["Cart", "Which note?"])
    const loser = headings[0] === "Cart" ? second : first
    const lost = loser === first ? "Leave it at the door" : "Ring twice"
    assert.include(await loser.getByRole("region", { name: "Your note" }).innerText(), lost)
    await press(loser, "Keep yours")
    assert.strictEqual(await noteOn(loser), lost)
  }, { refused: 409 })

  law("the same note in both tabs is no conflict", async ({ tab }) => {
    const [first, second] = await twoCarts(tab)
    await write(first, "Ring twice")
    await write(second, "Ring twice")
    assert.strictEqual(await noteOn(second), "Ring twice")
  })
})

inBrowser("the forms of the shop", (law) => {
  law("every form has the token of the session, and the footer names the engine", async ({ tab }) => {
    const page = await tab("/")
    await logIn(page, "Ada")
    await press(page, "Add Teapot to the cart")
    for (const path of ["/", "/cart", "/login", "/account", "/account/confirm", "/account/password"]) {
      await page.goto(path)
      const forms = await page.locator("form[method=post]").count()
      assert.isAbove(forms, 0)
      assert.strictEqual(
        await page.locator("form[method=post] input[name=csrfToken][value]:not([value=''])").count(),
        forms,
        path
      )
      assert.strictEqual(await page.getByRole("contentinfo").innerText(), "Session engine: sql · Session devtools")
    }
  })

  law("a form without its token, or with one from before a login, changes nothing", async ({ shop, tab }) => {
    const page = await tab("/")
    await logIn(page, "Ada")
    const earlier = await tab("/account")
    const forged = await tab("/account")
    await logIn(page, "Ada")
    const before = await shop.sessions()
    await press(earlier, "Log out Ada")
    assert.include(await earlier.getByRole("alert").innerText(), "not valid any more")
    await forged.locator("input[name=csrfToken]").evaluateAll((inputs) => inputs.forEach((input) => input.remove()))
    await press(forged, "Log out Ada")
    assert.include(await forged.getByRole("alert").innerText(), "no token")
    assert.deepStrictEqual(await shop.sessions(), before)
    await page.reload()
    assert.strictEqual(await userOn(page), "Ada")
  }, { refused: 403 })
})

/** Ada, logged in with two profiles. */
const bothLoggedIn = async (
  tab: (path: string) => Promise<Page>,
  otherProfile: (path: string, userAgent?: string) => Promise<Page>
): Promise<readonly [here: Page, there: Page]> => {
  const here = await tab("/")
  await logIn(here, "Ada")
  const there = await otherProfile("/", firefox)
  await logIn(there, "Ada")
  return [here, there]
}

/** Two tabs with the cart of one visitor, in which there is a teapot. */
const twoCarts = async (tab: (path: string) => Promise<Page>): Promise<readonly [Page, Page]> => {
  const first = await tab("/")
  await press(first, "Add Teapot to the cart")
  return [first, await tab("/cart")]
}

const write = async (page: Page, note: string): Promise<void> => {
  await page.getByLabel("Note").fill(note)
  await press(page, "Save the note")
}

const noteOn = (page: Page): Promise<string> => page.getByLabel("Note").inputValue()

const headingOn = (page: Page): Promise<string> => page.getByRole("heading", { level: 1 }).innerText()

const noticeOn = async (page: Page): Promise<string | undefined> => {
  const notice = page.getByRole("status")
  return await notice.count() === 0 ? undefined : notice.innerText()
}

/** The browsers in the list of devices, oldest first. */
const devicesOn = (page: Page): Promise<ReadonlyArray<string>> =>
  page.locator(".devices li").evaluateAll((items) =>
    items.map((item) => {
      const name = item.querySelector("h2")?.textContent ?? ""
      return item.querySelector("strong")?.textContent === "This device" ? `${name} (this device)` : name
    })
  )
