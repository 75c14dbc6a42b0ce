/**
 * Sites whose Django keeps its sessions in a cache: the class of docs/django-migration.md, and the engine `cached_db`, with a real Django.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import * as Path from "node:path"
import * as Beside from "./support/djangoBeside.js"
import { databases } from "./support/djangoDatabases.js"
import * as Django from "./support/servers/django.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

const { App } = Beside

/** The module of the page. */
const [, sessions = ""] = /```python\n(from django\.contrib\.sessions\.backends\.base [\s\S]*?)```/
  .exec(readFileSync("docs/django-migration.md", "utf8")) ?? []

/** A cache in files. If there is a file `hold`, the next read renames it, and returns what it has read when that file is gone. */
const cache = `
import os
import time
from django.core.cache.backends.filebased import FileBasedCache

hold = os.path.join(os.path.dirname(__file__), "hold")


class Cache(FileBasedCache):
    def get(self, *args, **options):
        value = super().get(*args, **options)
        if os.path.exists(hold):
            os.rename(hold, hold + "ing")
            while os.path.exists(hold + "ing"):
                time.sleep(0.01)
        return value
`

for (const [name, open] of databases) {
  describe(`beside Django on ${name}, whose sessions were in a cache`, () => {
    const site = Beside.shared(
      Effect.gen(function*() {
        const database = yield* open
        const modules = yield* temporaryDirectory("modules")
        writeFileSync(Path.join(modules, "shop_sessions.py"), sessions)
        writeFileSync(Path.join(modules, "shop_cache.py"), cache)
        const settings = {
          CACHES: { default: { BACKEND: "shop_cache.Cache", LOCATION: yield* temporaryDirectory("cache") } }
        }
        const serve = (SESSION_ENGINE: string) =>
          Django.serve({ database: database.url, modules, settings: { ...settings, SESSION_ENGINE } })
        return {
          hold: Path.join(modules, "hold"),
          /** Django with the engine of before, with the class of the page, and with others. */
          inCache: yield* serve("django.contrib.sessions.backends.cache"),
          moving: yield* serve("shop_sessions"),
          inTable: yield* serve("django.contrib.sessions.backends.db"),
          inBoth: yield* serve("django.contrib.sessions.backends.cached_db"),
          effect: yield* Beside.start(database)
        }
      }).pipe(Effect.orDie)
    )

    /** A browser that has logged in to a Django, and has a cart there. */
    const visitorOf = (django: Django.Served) =>
      Effect.gen(function*() {
        const browser = Django.browser()
        yield* Beside.post(browser, django, "login", Django.user)
        yield* Beside.post(browser, django, "set", { cart: ["tea"] })
        return browser
      })

    const userIn = (django: Django.Served, browser: Django.Browser) =>
      Effect.map(Django.me(browser, django), ({ user }) => user)

    it.live("a session of Django's cache moves to the table when it is loaded, and Effect has its user and data", () =>
      Effect.gen(function*() {
        const { effect, inCache, inTable, moving } = yield* site
        const browser = yield* visitorOf(inCache)
        const key = browser.cookie()
        assert.isNull(yield* userIn(inTable, Beside.browserWith(String(key))))
        assert.strictEqual(yield* userIn(moving, browser), Django.user.username)
        assert.strictEqual(browser.cookie(), key)
        assert.deepStrictEqual(yield* effect.run(browser, App.subject), Option.some("1"))
        assert.deepStrictEqual(yield* effect.run(browser, App.get("cart")), ["tea"])
        // The end of the move: Django's own engine has it, and the cache does not.
        assert.strictEqual(yield* userIn(inTable, browser), Django.user.username)
        assert.isNull(yield* userIn(inCache, Beside.browserWith(String(key))))
      }))

    it.live("a new session is in the table only", () =>
      Effect.gen(function*() {
        const { inCache, inTable, moving } = yield* site
        const browser = yield* visitorOf(moving)
        assert.strictEqual(yield* userIn(inTable, browser), Django.user.username)
        assert.isNull(yield* userIn(inCache, Beside.browserWith(String(browser.cookie()))))
      }))

    it.live("of 8 requests that load the session at the same time, each has it", () =>
      Effect.gen(function*() {
        const { inCache, moving } = yield* site
        for (let round = 0; round < 5; round++) {
          const key = (yield* visitorOf(inCache)).cookie()
          const users = yield* Effect.all(
            Array.from({ length: 8 }, () => userIn(moving, Beside.browserWith(String(key)))),
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual(users, Array.from({ length: 8 }, () => Django.user.username))
        }
      }))

    it.live("a logout in Effect is final for a session that has moved from the cache", () =>
      Effect.gen(function*() {
        const { effect, inCache, moving } = yield* site
        const browser = yield* visitorOf(inCache)
        const key = String(browser.cookie())
        assert.strictEqual(yield* userIn(moving, browser), Django.user.username)
        yield* effect.run(browser, App.destroy)
        assert.isNull(yield* userIn(moving, Beside.browserWith(key)))
      }))

    it.live("a logout during a move is final", () =>
      Effect.gen(function*() {
        const { effect, hold, inCache, moving } = yield* site
        const browser = yield* visitorOf(inCache)
        const key = String(browser.cookie())
        writeFileSync(hold, "")
        const held = yield* Effect.fork(userIn(moving, Beside.browserWith(key)))
        yield* Effect.repeat(Effect.delay(Effect.sync(() => existsSync(`${hold}ing`)), "10 millis"), {
          until: (isHeld) => isHeld
        })
        assert.strictEqual(yield* userIn(moving, browser), Django.user.username)
        yield* effect.run(browser, App.destroy)
        rmSync(`${hold}ing`)
        assert.isNull(yield* held)
        assert.isNull(yield* userIn(moving, Beside.browserWith(key)))
      }))

    it.live("a session of `cached_db` is in the table", () =>
      Effect.gen(function*() {
        const { effect, inBoth, inTable } = yield* site
        const browser = yield* visitorOf(inBoth)
        assert.strictEqual(yield* userIn(inTable, browser), Django.user.username)
        assert.deepStrictEqual(yield* effect.run(browser, App.get("cart")), ["tea"])
      }))

    it.live("with `cached_db`, Django still shows a session that has ended in Effect", () =>
      Effect.gen(function*() {
        const { effect, inBoth, inTable } = yield* site
        const browser = yield* visitorOf(inBoth)
        const key = String(browser.cookie())
        yield* effect.run(browser, App.destroy)
        assert.strictEqual(yield* userIn(inBoth, Beside.browserWith(key)), Django.user.username)
        assert.isNull(yield* userIn(inTable, Beside.browserWith(key)))
      }))
  })
}
