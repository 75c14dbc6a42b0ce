/**
 * The programs of `docs/recipes.md`, each on a real server with real requests.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import type * as HttpRouter from "@effect/platform/HttpRouter"
import type * as HttpServer from "@effect/platform/HttpServer"
import { it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Option, Redacted, Ref, type Scope, TestClock } from "effect"
import * as Path from "node:path"
import { assert, describe } from "vitest"
import * as auditLog from "../examples/recipes/audit-log.js"
import * as csrfFetch from "../examples/recipes/csrf-fetch.js"
import * as csrfForm from "../examples/recipes/csrf-form.js"
import * as impersonation from "../examples/recipes/impersonation.js"
import * as limitDeny from "../examples/recipes/limit-deny.js"
import * as limitOldestOut from "../examples/recipes/limit-oldest-out.js"
import * as logOutEverywhere from "../examples/recipes/log-out-everywhere.js"
import * as login from "../examples/recipes/login.js"
import * as mobileClient from "../examples/recipes/mobile-client.js"
import * as myDevices from "../examples/recipes/my-devices.js"
import * as rememberMe from "../examples/recipes/remember-me.js"
import * as sudoMode from "../examples/recipes/sudo-mode.js"
import * as whyLoggedOut from "../examples/recipes/why-logged-out.js"
import { begun, builtProgram } from "./support/cli.js"
import { serve, type SetCookie, setCookiesOf } from "./support/httpServer.js"
import { headersOf, type RawAnswer } from "./support/rawHttp.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

interface Visit {
  readonly method?: string
  /** The fields of a form, which is sent by POST. */
  readonly form?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
}

/** A browser with its own cookies. */
interface Browser {
  readonly visit: (path: string, visit?: Visit) => Effect.Effect<RawAnswer>
  readonly logIn: (name: string) => Effect.Effect<RawAnswer>
  /** The `Cookie` header that it sends. */
  readonly cookie: () => string | undefined
}

const browser = (base: string, own: Readonly<Record<string, string>> = {}): Browser => {
  let held: SetCookie | undefined
  const cookie = () => held === undefined ? undefined : `${held.name}=${held.value}`
  const visit: Browser["visit"] = (path, { form, headers = {}, method = form === undefined ? "GET" : "POST" } = {}) =>
    Effect.promise(async (signal) => {
      const sent = cookie()
      const response = await fetch(base + path, {
        method,
        redirect: "manual",
        signal,
        headers: { "sec-fetch-site": "same-origin", ...own, ...sent === undefined ? {} : { cookie: sent }, ...headers },
        ...form === undefined ? {} : { body: new URLSearchParams(form) }
      })
      const answer = { status: response.status, body: await response.text(), headers: [...response.headers] }
      const [set] = setCookiesOf(answer)
      if (set !== undefined) held = set.value === "" ? undefined : set
      return answer
    })
  return { visit, logIn: (name) => visit("/login", { form: { name } }), cookie }
}

const open = (server: Layer.Layer<never, unknown, HttpServer.HttpServer | HttpRouter.HttpRouter.DefaultServices>) =>
  Effect.map(serve(Layer.provide(server, NodeHttpServer.layerContext)), (port) => `http://127.0.0.1:${port}`)

const statusOf = Effect.map(({ status }: RawAnswer) => status)
const bodyOf = Effect.map(({ body }: RawAnswer) => body)
const seen = Effect.map(({ body, status }: RawAnswer) => ({ status, body }))
const json = Effect.map(({ body }: RawAnswer): unknown => JSON.parse(body))
const maxAgeOf = (answer: RawAnswer) =>
  setCookiesOf(answer).map(({ attributes }) => attributes.find(([name]) => name === "max-age")?.[1])

/** A test whose clock stands still until it is adjusted, also in the server. */
const behaves = (title: string, body: Effect.Effect<void, unknown, Scope.Scope>) => it.scoped(title, () => body)

describe("login", () => {
  const credentials = { name: "ann", password: "tea time" }

  behaves(
    "a login moves the session to a new token and keeps the cart alone",
    Effect.gen(function*() {
      const base = yield* open(login.server)
      const { cookie, visit } = browser(base)
      yield* visit("/cart", { form: { sku: "teapot" } })
      yield* visit("/search?q=cups")
      const before = cookie()
      assert.deepStrictEqual(yield* json(visit("/")), { user: "nobody", cart: ["teapot"], lastSearch: "cups" })

      assert.strictEqual(yield* statusOf(visit("/login", { form: credentials })), 303)
      assert.notStrictEqual(cookie(), before)
      assert.deepStrictEqual(yield* json(visit("/")), { user: "ann", cart: ["teapot"] })
      const old = browser(base, { cookie: before ?? "" })
      assert.deepStrictEqual(yield* json(old.visit("/")), { user: "nobody", cart: [] })
    })
  )

  behaves(
    "a login with a wrong password is refused; a logout ends the session",
    Effect.gen(function*() {
      const base = yield* open(login.server)
      const { cookie, visit } = browser(base)
      assert.strictEqual(yield* statusOf(visit("/login", { form: { name: "ann", password: "no" } })), 401)
      assert.isUndefined(cookie())
      yield* visit("/login", { form: credentials })
      const before = cookie()
      yield* visit("/logout", { method: "POST" })
      assert.isUndefined(cookie())
      const old = browser(base, { cookie: before ?? "" })
      assert.deepStrictEqual(yield* json(old.visit("/")), { user: "nobody", cart: [] })
    })
  )
})

describe("remember me", () => {
  behaves(
    "the cookie has a Max-Age only if the visitor asks for it, and a remembered login is not fresh",
    Effect.gen(function*() {
      const base = yield* open(rememberMe.server)
      const [short, long] = [browser(base), browser(base)]
      assert.deepStrictEqual(maxAgeOf(yield* short.logIn("ann")), [undefined])
      const answer = yield* long.visit("/login", { form: { name: "ann", remember: "on" } })
      // The fixed end of the session, in seconds: an idle session ends earlier in the store.
      assert.deepStrictEqual(maxAgeOf(answer), [String(30 * 24 * 3600)])
      assert.deepStrictEqual(yield* json(short.visit("/")), { user: "ann", isRemembered: false })
      assert.deepStrictEqual(yield* json(long.visit("/")), { user: "ann", isRemembered: true })
      assert.strictEqual(yield* statusOf(short.visit("/email", { method: "POST" })), 200)
      const refused = yield* long.visit("/email", { method: "POST" })
      assert.strictEqual(refused.status, 401)
      assert.include(refused.body, "\"reason\":\"remembered\"")
    })
  )
})

describe("sudo mode", () => {
  behaves(
    "a payout needs a step-up of the last ten minutes",
    Effect.gen(function*() {
      const base = yield* open(sudoMode.server)
      const { cookie, logIn, visit } = browser(base)
      const payOut = visit("/payouts", { method: "POST" })
      const confirm = (code: string) => statusOf(visit("/confirm", { form: { code } }))
      assert.strictEqual(yield* confirm("123456"), 401)
      yield* logIn("ann")
      const refused = yield* payOut
      assert.strictEqual(refused.status, 401)
      assert.deepStrictEqual(headersOf(refused, "www-authenticate"), [
        `Session error="insufficient_user_authentication", max_age="600", level="2"`
      ])
      assert.deepStrictEqual(headersOf(yield* visit("/payouts"), "location"), ["/confirm"])

      const before = cookie()
      assert.strictEqual(yield* confirm("000000"), 403)
      assert.strictEqual(yield* statusOf(payOut), 401)
      assert.strictEqual(yield* confirm("123456"), 303)
      assert.notStrictEqual(cookie(), before)
      assert.deepStrictEqual(yield* seen(payOut), { status: 200, body: "Paid out" })
      yield* TestClock.adjust("601 seconds")
      assert.strictEqual(yield* statusOf(payOut), 401)

      yield* confirm("123456")
      assert.strictEqual(yield* statusOf(payOut), 200)
      yield* visit("/leave", { method: "POST" })
      assert.strictEqual(yield* statusOf(payOut), 401)
    })
  )
})

describe("my devices", () => {
  behaves(
    "lists the devices of a user, and ends one of them but none of another user",
    Effect.gen(function*() {
      const base = yield* open(myDevices.server)
      const [phone, laptop, other] = ["phone", "laptop", "other"].map((name) => browser(base, { "user-agent": name }))
      if (phone === undefined || laptop === undefined || other === undefined) return assert.fail("three browsers")
      const devices = (browser: Browser) =>
        Effect.map(
          bodyOf(browser.visit("/devices")),
          (body): ReadonlyArray<Readonly<Record<string, unknown>>> => JSON.parse(body)
        )
      assert.strictEqual(yield* statusOf(phone.visit("/devices")), 401)
      yield* phone.logIn("ann")
      yield* TestClock.adjust("1 second")
      yield* laptop.logIn("ann")
      yield* other.logIn("bob")
      const own = yield* devices(laptop)
      assert.deepStrictEqual(own.map(({ browser, isCurrent }) => [browser, isCurrent]), [["phone", false], [
        "laptop",
        true
      ]])

      const logOut = (browser: Browser, id: unknown) => statusOf(browser.visit(`/devices/${id}`, { method: "DELETE" }))
      const [bobs] = yield* devices(other)
      assert.strictEqual(yield* logOut(laptop, bobs?.id), 404)
      assert.strictEqual((yield* devices(other)).length, 1)
      assert.strictEqual(yield* logOut(laptop, own[0]?.id), 204)
      assert.strictEqual(yield* statusOf(phone.visit("/devices")), 401)
      assert.deepStrictEqual((yield* devices(laptop)).map(({ browser }) => browser), ["laptop"])
    })
  )
})

describe("log out everywhere", () => {
  behaves(
    "a change of the password ends the other sessions, and moves this one to a new token",
    Effect.gen(function*() {
      const base = yield* open(logOutEverywhere.server)
      const [here, there] = [browser(base), browser(base)]
      yield* here.logIn("ann")
      yield* there.logIn("ann")
      const before = here.cookie()
      const password = "a long sentence"
      assert.strictEqual(yield* statusOf(here.visit("/password", { form: { password } })), 200)
      assert.notStrictEqual(here.cookie(), before)
      assert.strictEqual(yield* bodyOf(here.visit("/")), "ann")
      assert.strictEqual(yield* bodyOf(there.visit("/")), "nobody")
      assert.strictEqual(yield* bodyOf(browser(base, { cookie: before ?? "" }).visit("/")), "nobody")
    })
  )

  behaves(
    "the button ends this session, too, and no session of another user",
    Effect.gen(function*() {
      const base = yield* open(logOutEverywhere.server)
      const [here, there, other] = [browser(base), browser(base), browser(base)]
      yield* here.logIn("ann")
      yield* there.logIn("ann")
      yield* other.logIn("bob")
      assert.strictEqual(yield* statusOf(here.visit("/log-out-everywhere", { method: "POST" })), 303)
      assert.strictEqual(yield* bodyOf(here.visit("/")), "nobody")
      assert.strictEqual(yield* bodyOf(there.visit("/")), "nobody")
      assert.strictEqual(yield* bodyOf(other.visit("/")), "bob")
    })
  )
})

describe("limits", () => {
  const three = (base: string) => [browser(base), browser(base), browser(base)] as const

  behaves(
    "oldest out: a third login ends the oldest session",
    Effect.gen(function*() {
      const [first, second, third] = three(yield* open(limitOldestOut.server))
      for (const one of [first, second, third]) {
        assert.strictEqual(yield* statusOf(one.logIn("ann")), 303)
        yield* TestClock.adjust("1 second")
      }
      assert.deepStrictEqual(
        yield* Effect.forEach([first, second, third], (one) => bodyOf(one.visit("/"))),
        ["nobody", "ann", "ann"]
      )
    })
  )

  behaves(
    "deny: a third login gets a page with 403, until one logs out",
    Effect.gen(function*() {
      const [first, second, third] = three(yield* open(limitDeny.server))
      for (const one of [first, second]) assert.strictEqual(yield* statusOf(one.logIn("ann")), 303)
      const denied = yield* third.logIn("ann")
      assert.strictEqual(denied.status, 403)
      assert.include(denied.body, "<p>You are logged in on 2 devices already, which is the maximum. ")
      assert.isUndefined(third.cookie())
      yield* first.visit("/logout", { method: "POST" })
      assert.strictEqual(yield* statusOf(third.logIn("ann")), 303)
      assert.strictEqual(yield* bodyOf(third.visit("/")), "ann")
    })
  )
})

describe("csrf in a form", () => {
  const fieldOf = (page: string) => /name="csrfToken" value="([^"]*)"/.exec(page)?.[1] ?? "no field"

  behaves(
    "a form passes with its token, and not without or from another site",
    Effect.gen(function*() {
      const { logIn, visit } = browser(yield* open(csrfForm.server))
      assert.strictEqual(fieldOf(yield* bodyOf(visit("/"))), "")
      const token = fieldOf(yield* bodyOf(logIn("ann")))
      const move = (csrfToken: string, site = "same-origin") =>
        seen(visit("/city", { form: { city: "Kyoto", csrfToken }, headers: { "sec-fetch-site": site } }))
      assert.deepStrictEqual(yield* move(token), { status: 200, body: "You live in Kyoto" })
      assert.deepStrictEqual(yield* move(fieldOf(yield* bodyOf(visit("/")))), {
        status: 200,
        body: "You live in Kyoto"
      })
      const missing = yield* seen(visit("/city", { form: { city: "Nara" } }))
      assert.strictEqual(missing.status, 403)
      assert.match(missing.body, /^This request has no token against forged requests/)
      assert.strictEqual((yield* move(token, "cross-site")).status, 403)
      // A page from before the next login.
      yield* visit("/login", { form: { name: "ann", csrfToken: token } })
      assert.match((yield* move(token)).body, /^The token of this request is not valid any more/)
    })
  )
})

describe("csrf in a fetch", () => {
  behaves(
    "a call passes with the token of the login in its header, and not without or from another site",
    Effect.gen(function*() {
      const base = yield* open(csrfFetch.server)
      let cookie: string | undefined
      /** The `fetch` of a page of this site, or of another one. */
      const from = (site: string): typeof fetch => async (path, init) => {
        const headers = new Headers(init?.headers)
        headers.set("sec-fetch-site", site)
        if (cookie !== undefined) headers.set("cookie", cookie)
        const response = await fetch(`${base}${path}`, { ...init, headers })
        cookie = response.headers.getSetCookie()[0]?.split(";")[0] ?? cookie
        return response
      }
      const page = from("same-origin")
      const read = (send: () => Promise<Response>) =>
        Effect.promise(async () => {
          const response = await send()
          const text = await response.text()
          const body: { readonly token?: string | null; readonly reason?: string } = JSON.parse(
            text === "" ? "{}" : text
          )
          return { status: response.status, token: body.token, reason: body.reason }
        })
      const moved = (send: typeof fetch, token: string) =>
        Effect.map(read(() => csrfFetch.move(send, token, "Kyoto")), ({ reason, status }) => [status, reason])
      const tokenOf = Effect.map(({ token }: { readonly token: string | null | undefined }) => token ?? "no token")

      const another = read(() => page("/csrf-token"))
      assert.deepInclude(yield* another, { status: 200, token: null })
      const credentials = { method: "POST", headers: { "content-type": "application/json" }, body: `{"name":"ann"}` }
      assert.strictEqual((yield* read(() => from("cross-site")("/login", credentials))).status, 403)
      const token = yield* tokenOf(read(() => page("/login", credentials)))
      assert.deepStrictEqual(yield* moved(page, token), [204, undefined])
      const later = yield* tokenOf(another)
      assert.notStrictEqual(later, token)
      assert.deepStrictEqual(yield* moved(page, later), [204, undefined])
      assert.deepStrictEqual(yield* moved(page, "invented"), [403, "token"])
      assert.deepStrictEqual(yield* moved(from("cross-site"), token), [403, "crossSite"])
      const plain = { ...credentials, method: "PUT", body: `{"city":"Nara"}` }
      assert.deepInclude(yield* read(() => page("/city", plain)), { status: 403, reason: "missingToken" })
    })
  )
})

describe("a mobile client", () => {
  behaves(
    "logs in, calls and logs out by a bearer token, and never has a cookie",
    Effect.gen(function*() {
      const base = yield* open(mobileClient.server)
      const token = yield* Ref.make(Option.none<Redacted.Redacted<string>>())
      const { account } = yield* Effect.provide(mobileClient.client(base, token), FetchHttpClient.layer)
      assert.deepStrictEqual(yield* account.me(), Option.none())
      assert.deepStrictEqual(yield* Ref.get(token), Option.none())
      yield* account.login({ payload: { name: "ann" } })
      assert.deepStrictEqual(yield* account.me(), Option.some("ann"))
      const [held] = Option.toArray(yield* Ref.get(token))
      const asked = { headers: { authorization: `Bearer ${held === undefined ? "" : Redacted.value(held)}` } }
      const answer = yield* browser(base).visit("/me", asked)
      assert.deepStrictEqual([answer.body, headersOf(answer, "set-cookie")], ["\"ann\"", []])

      yield* account.logout()
      assert.deepStrictEqual(yield* Ref.get(token), Option.none())
      assert.strictEqual(yield* bodyOf(browser(base).visit("/me", asked)), "null")
    })
  )
})

describe("why logged out", () => {
  const noticeOf = (browser: Browser) =>
    Effect.map(bodyOf(browser.visit("/login")), (body) => /<p>(.*?)<\/p>/.exec(body)?.[1])

  behaves(
    "the login page names the limit, a log out elsewhere and a time without use",
    Effect.gen(function*() {
      const base = yield* open(whyLoggedOut.server)
      const [first, second, third] = [browser(base), browser(base), browser(base)]
      assert.strictEqual(yield* noticeOf(first), "")
      for (const one of [first, second, third]) {
        yield* one.logIn("ann")
        yield* TestClock.adjust("1 second")
      }
      assert.strictEqual(yield* noticeOf(first), "You were logged out because you have logged in on another device.")
      assert.strictEqual(yield* noticeOf(second), "")
      yield* third.visit("/log-out-others", { method: "POST" })
      assert.strictEqual(yield* noticeOf(second), "You were logged out on another device, or by our support.")
      yield* TestClock.adjust("21 minutes")
      assert.strictEqual(yield* noticeOf(third), "You were logged out because you have not used this page for a while.")
      assert.strictEqual(yield* noticeOf(browser(base, { cookie: "__Host-Http-session=invented" })), "")
    })
  )
})

describe("impersonation", () => {
  behaves(
    "staff act for a customer until they stop, and cannot change the password",
    Effect.gen(function*() {
      const base = yield* open(impersonation.server)
      const [staff, customer] = [browser(base), browser(base)]
      const post = (browser: Browser, path: string) => statusOf(browser.visit(path, { method: "POST" }))
      yield* customer.logIn("ann")
      assert.strictEqual(yield* post(customer, "/act-for/bob"), 403)
      yield* staff.logIn("sam")
      assert.strictEqual(yield* post(staff, "/password"), 200)
      const before = staff.cookie()
      assert.strictEqual(yield* post(staff, "/act-for/ann"), 303)
      assert.notStrictEqual(staff.cookie(), before)
      assert.strictEqual(yield* bodyOf(staff.visit("/")), "sam acts for ann")
      assert.strictEqual(yield* bodyOf(customer.visit("/")), "ann")
      assert.strictEqual(yield* post(staff, "/password"), 401)
      assert.strictEqual(yield* post(staff, "/act-for/bob"), 403)
      assert.strictEqual(yield* post(staff, "/stop"), 303)
      assert.strictEqual(yield* bodyOf(staff.visit("/")), "sam")
      assert.strictEqual(yield* post(staff, "/password"), 200)
    })
  )
})

describe("audit log", () => {
  const program = builtProgram()

  it.scopedLive("the events are in the table, and `effect-session explain` prints why the session ended", () =>
    Effect.gen(function*() {
      const filename = Path.join(yield* temporaryDirectory("recipe"), "sessions.sqlite")
      const configured = Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["DATABASE", filename]])))
      // The end of the scope closes the server, which writes the last events first.
      const id = yield* Effect.scoped(Effect.gen(function*() {
        const { logIn, visit } = browser(yield* open(Layer.provide(auditLog.server, configured)))
        yield* logIn("ann")
        const id = yield* bodyOf(visit("/"))
        yield* visit("/logout", { method: "POST" })
        return id
      }))
      const args = ["explain", id, "--namespace", "app/Session", "--database-url", `sqlite:${filename}`]
      const { exitCode, stderr, stdout } = yield* Effect.flatMap(begun(program, args), ({ ended }) => ended)
      assert.deepStrictEqual([exitCode, stderr], [0, ""])
      assert.deepStrictEqual(stdout.replaceAll(/20\d\d-[\d-]+T[\d:.]+Z/g, "<time>").trimEnd().split("\n"), [
        `<time>  Created  subject="ann"`,
        `<time>  Authenticated  subject="ann"  methods=["pwd"]  level=1  remembered=false`,
        `<time>  Ended  subject="ann"  reason="loggedOut"  by={"id":"${id}","subject":"ann"}`,
        `It ended at <time>: logged out.`
      ])
    }))
})
