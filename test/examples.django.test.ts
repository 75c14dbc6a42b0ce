/**
 * The bookshop of `npm run example:django`: a visitor who goes from pages of Django to pages of Effect and back.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { existsSync, writeFileSync } from "node:fs"
import * as Path from "node:path"
import { opened, start } from "./support/bookshop.js"
import { shared } from "./support/djangoBeside.js"
import * as Django from "./support/servers/django.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

/** A visitor, with the page that they see. */
interface Visitor {
  readonly open: (path: string) => Promise<void>
  /** Sends the form of the page that has this button, with other fields. Follows redirects. */
  readonly press: (button: string, fields?: Readonly<Record<string, string>>) => Promise<void>
  /** The side that has made the page, the user that it shows, and the number of books in the cart. */
  readonly sees: () => { readonly from: string; readonly user: string | undefined; readonly cart: number }
  readonly main: () => string
}

const visitor = (url: string): Visitor => {
  const { jar } = Django.browser()
  let html = ""
  let at = url
  const go = async (path: string, fields?: URLSearchParams): Promise<void> => {
    at = new URL(path, at).href
    const cookie = jar.getCookieStringSync(at)
    const response = await fetch(at, {
      ...(fields === undefined ? {} : { method: "POST", body: fields }),
      headers: { origin: url, ...(cookie && { cookie }) },
      redirect: "manual"
    })
    for (const cookie of response.headers.getSetCookie()) jar.setCookieSync(cookie, at)
    html = await response.text()
    const location = response.headers.get("location")
    if (location !== null) return go(location)
    assert.strictEqual(response.status, 200, `${at}: ${html}`)
  }
  return {
    open: (path) => go(path),
    press: (button, fields = {}) => {
      const form = [...html.matchAll(/<form method="post"(?: action="([^"]*)")?>([\s\S]*?)<\/form>/g)]
        .find(([, , content = ""]) => content.includes(`>${button}</button>`))
      assert.isDefined(form, `no button "${button}" in ${html}`)
      const [, action = "", content = ""] = form ?? []
      const own = [...content.matchAll(/<(?:input type="hidden"|button) name="([^"]*)" value="([^"]*)"/g)]
      return go(
        action === "" ? at : action,
        new URLSearchParams([...own.map(([, name = "", value = ""]) => [name, value]), ...Object.entries(fields)])
      )
    },
    sees: () => ({
      from: /This page is from (\w+)/.exec(html)?.[1] ?? "",
      user: /Log out (\w+)/.exec(html)?.[1],
      cart: Number(/Cart \((\d+)\)/.exec(html)?.[1])
    }),
    main: () => /<main>([\s\S]*)<\/main>/.exec(html)?.[1] ?? ""
  }
}

describe("npm run example:django", () => {
  const bookshop = shared(Effect.orDie(Effect.flatMap(start(), opened)))

  const law = (title: string, walk: (visitor: Visitor, user: Readonly<Record<string, string>>) => Promise<void>) =>
    it.live(
      title,
      () =>
        Effect.flatMap(
          bookshop,
          ({ password, url, username }) => Effect.promise(() => walk(visitor(url), { username, password }))
        )
    )

  law(
    "a login in Django is the user of a page of Effect, and a logout there ends it in Django",
    async (visitor, user) => {
      await visitor.open("/login/")
      await visitor.press("Log in", user)
      assert.deepStrictEqual(visitor.sees(), { from: "Django", user: user.username, cart: 0 })
      await visitor.open("/cart")
      assert.deepStrictEqual(visitor.sees(), { from: "Effect", user: user.username, cart: 0 })
      await visitor.press(`Log out ${user.username}`)
      assert.deepStrictEqual(visitor.sees(), { from: "Django", user: undefined, cart: 0 })
    }
  )

  law("a logout in Django ends the login and the cart of Effect", async (visitor, user) => {
    await visitor.open("/login/?next=/cart/add?book=Piranesi")
    await visitor.press("Log in", user)
    await visitor.press("Add to cart")
    assert.deepStrictEqual(visitor.sees(), { from: "Effect", user: user.username, cart: 1 })
    await visitor.open("/")
    await visitor.press(`Log out ${user.username}`)
    await visitor.open("/cart")
    assert.deepStrictEqual(visitor.sees(), { from: "Effect", user: undefined, cart: 0 })
  })

  law(
    "Django shows the cart of Effect, Effect shows the visits of Django, and a login keeps both",
    async (visitor, user) => {
      await visitor.open("/")
      assert.include(visitor.main(), "Your visits: 1. Your orders, which Effect counts: 0.")
      await visitor.open("/cart/add?book=Middlemarch")
      await visitor.press("Add to cart")
      assert.include(visitor.main(), "<li>Middlemarch</li>")
      await visitor.open("/")
      assert.deepStrictEqual(visitor.sees(), { from: "Django", user: undefined, cart: 1 })
      assert.include(visitor.main(), "Your visits: 2.")
      // An order needs a login, which leads back to the cart.
      await visitor.open("/cart")
      await visitor.press("Order")
      assert.strictEqual(visitor.sees().from, "Django")
      await visitor.press("Log in", user)
      assert.deepStrictEqual(visitor.sees(), { from: "Effect", user: user.username, cart: 1 })
      await visitor.press("Order")
      assert.deepStrictEqual(visitor.sees(), { from: "Effect", user: user.username, cart: 0 })
      assert.include(visitor.main(), "Your orders: 1. Your visits to the catalogue, which Django counts: 2.")
      await visitor.open("/")
      assert.include(visitor.main(), "Your visits: 3. Your orders, which Effect counts: 1.")
    }
  )

  it.live("each side refuses a form without its token", () =>
    Effect.flatMap(bookshop, ({ url }) =>
      Effect.promise(async () => {
        const first = await fetch(url)
        const cookie = first.headers.getSetCookie().map((cookie) => cookie.split(";")[0]).join("; ")
        for (const [path, body] of [["/login/", "username=ada"], ["/cart", "book=Emma"]] as const) {
          const { status } = await fetch(`${url}${path}`, {
            method: "POST",
            headers: { cookie, origin: url, "content-type": "application/x-www-form-urlencoded" },
            body
          })
          assert.strictEqual(status, 403, path)
        }
      })))

  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    it.scopedLive(`${signal} ends Django, the Effect server, the proxy and Postgres`, () =>
      Effect.gen(function*() {
        const bookshop = yield* start()
        yield* opened(bookshop)
        assert.isTrue(existsSync(bookshop.postgres))
        bookshop.signal(signal)
        // Complete when no process has the output any more. Postgres has one of its own.
        const { stderr } = yield* bookshop.output
        assert.strictEqual(stderr, "")
        assert.isFalse(existsSync(bookshop.postgres))
      }))
  }

  it.scopedLive("without Django prints one sentence with the packages to install", () =>
    Effect.gen(function*() {
      // Python looks here first, so that none has Django.
      const directory = yield* temporaryDirectory("no-django")
      writeFileSync(Path.join(directory, "django.py"), "raise ImportError\n")
      const bookshop = yield* start({ PYTHONPATH: directory })
      const { code, stderr } = yield* bookshop.output
      assert.match(stderr, /^The example needs Django .*python3-django python3-psycopg2.*\.\n$/)
      assert.strictEqual(code, 1)
    }))
})
