/**
 * The pages, over real HTTP.
 */
import { Cookies, HttpClient, HttpClientRequest } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Option, Redacted, Ref } from "effect"
import { MemoryEngine } from "effect-session"
import { SessionTest } from "effect-session/testing"
import { AppSession } from "../src/AppSession.js"
import * as Password from "../src/password.js"
import * as Server from "../src/server.js"
import * as Users from "../src/Users.js"

const application = Server.layer.pipe(
  Layer.provide(Users.layerDemo),
  Layer.provide(AppSession.layer),
  Layer.provide(MemoryEngine.layer),
  Layer.provideMerge(NodeHttpServer.layerTest),
  Layer.provide(Logger.remove(Logger.defaultLogger))
)

/** A browser with its own cookies, which sends forms with the token of the page that it shows. */
const openBrowser = Effect.gen(function*() {
  const cookies = yield* Ref.make(Cookies.empty)
  const client = HttpClient.withCookiesRef(yield* HttpClient.HttpClient, cookies)
  let token = ""
  const shown = (request: HttpClientRequest.HttpClientRequest) =>
    Effect.gen(function*() {
      const response = yield* client.execute(HttpClientRequest.setHeader(request, "sec-fetch-site", "same-origin"))
      const body = yield* response.text
      token = /name="csrfToken" value="([^"]*)"/.exec(body)?.[1] ?? token
      return { status: response.status, location: response.headers["location"], body }
    })
  return {
    visit: (path: string) => shown(HttpClientRequest.get(path)),
    send: (path: string, fields: Readonly<Record<string, string>>) =>
      shown(HttpClientRequest.post(path).pipe(HttpClientRequest.bodyUrlParams({ csrfToken: token, ...fields })))
  }
})

const ada = { name: "ada", password: "correct horse battery staple" }

describe("the pages", () => {
  it.scoped("a login shows this device, and a logout ends the session", () =>
    Effect.gen(function*() {
      const browser = yield* openBrowser
      assert.strictEqual((yield* browser.visit("/account")).location, "/login")
      assert.strictEqual((yield* browser.send("/login", ada)).location, "/account")
      const { body } = yield* browser.visit("/account")
      assert.include(body, "This device")
      yield* browser.send("/logout", {})
      assert.strictEqual((yield* browser.visit("/account")).location, "/login")
    }).pipe(Effect.provide(application)))

  it.scoped("an unknown name and a wrong password have the same answer", () =>
    Effect.gen(function*() {
      const browser = yield* openBrowser
      const wrong = yield* browser.send("/login", { ...ada, password: "wrong" })
      const unknown = yield* browser.send("/login", { ...ada, name: "nobody" })
      assert.strictEqual(wrong.status, 401)
      assert.deepStrictEqual(unknown, wrong)
    }).pipe(Effect.provide(application)))

  it.scoped("the button logs out all other devices", () =>
    Effect.gen(function*() {
      const [here, there] = [yield* openBrowser, yield* openBrowser]
      yield* here.send("/login", ada)
      yield* there.send("/login", ada)
      yield* here.visit("/account")
      yield* here.send("/account/log-out-others", {})
      assert.strictEqual((yield* here.visit("/account")).status, 200)
      assert.strictEqual((yield* there.visit("/account")).location, "/login")
    }).pipe(Effect.provide(application)))

  it.scoped("a form without its token is refused", () =>
    Effect.gen(function*() {
      const browser = yield* openBrowser
      yield* browser.send("/login", ada)
      assert.strictEqual((yield* browser.send("/theme", { theme: "dark", csrfToken: "forged" })).status, 403)
      yield* browser.visit("/")
      assert.strictEqual((yield* browser.send("/theme", { theme: "dark" })).status, 303)
      assert.include((yield* browser.visit("/")).body, "color-scheme: dark")
    }).pipe(Effect.provide(application)))
})

describe("the session", () => {
  it.effect("a login keeps the theme", () =>
    Effect.gen(function*() {
      yield* AppSession.authenticate("ada")
      assert.strictEqual(yield* AppSession.get("theme"), "dark")
      assert.deepStrictEqual(yield* AppSession.subject, Option.some("ada"))
    }).pipe(Effect.provide(SessionTest.layer(AppSession, { theme: "dark" }))))
})

describe("passwords", () => {
  it.effect("a hash verifies its own password and no other", () =>
    Effect.gen(function*() {
      const hashed = yield* Password.hash(Redacted.make("a long sentence"))
      assert.isTrue(yield* Password.verify(Redacted.make("a long sentence"), hashed))
      assert.isFalse(yield* Password.verify(Redacted.make("another sentence"), hashed))
    }))
})
