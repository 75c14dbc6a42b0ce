/**
 * The engine on Django's table beside a real Django, on each database: logins, logouts, and both sides at once.
 */
import { it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Option, Redacted } from "effect"
import { Lifetime } from "effect-session"
import { assert, describe } from "vitest"
import { range, together } from "./support/concurrency.js"
import * as Beside from "./support/djangoBeside.js"
import { App, post } from "./support/djangoBeside.js"
import { databases } from "./support/djangoDatabases.js"
import * as Django from "./support/servers/django.js"

/** Makes a user with the password of `Django.user`. Returns the primary key. */
const newUser = ({ sql }: Beside.World, username: string) =>
  Effect.gen(function*() {
    yield* sql`INSERT INTO auth_user
      (password, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined)
      SELECT password, is_superuser, ${username}, first_name, last_name, email, is_staff, is_active, date_joined
      FROM auth_user WHERE username = ${Django.user.username}`
    const rows = yield* sql<{ readonly id: unknown }>`SELECT id FROM auth_user WHERE username = ${username}`
    return String(rows[0]?.id)
  })

const passwordOf = (username: string) => ({ username, password: Django.user.password })

/** Asserts that neither side has a session of a key. */
const isDead = ({ django, effect, row }: Beside.World, key: string) =>
  Effect.gen(function*() {
    assert.isUndefined(yield* row(key))
    assert.isTrue(yield* effect.run(Beside.browserWith(key), App.isEmpty))
    assert.strictEqual((yield* Django.me(Beside.browserWith(key), django)).key, null)
  })

/** Runs `meanwhile` while a request to the Effect server is held before its last step. Returns its response. */
const whileHere = <E>(
  { effect }: Beside.World,
  browser: Django.Browser,
  first: Effect.Effect<unknown, unknown, App>,
  last: Effect.Effect<unknown, unknown, App>,
  meanwhile: Effect.Effect<unknown, E>
) =>
  Effect.gen(function*() {
    const [reached, go] = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
    const held = yield* Effect.fork(effect.visit(
      browser,
      first.pipe(
        Effect.zipRight(Deferred.succeed(reached, undefined)),
        Effect.zipRight(Deferred.await(go)),
        Effect.zipRight(last)
      )
    ))
    yield* Deferred.await(reached)
    yield* meanwhile
    yield* Deferred.succeed(go, undefined)
    return yield* Fiber.join(held)
  })

/** Runs `meanwhile` while a request to Django has loaded its session and not saved it. Returns its response. */
const whileThere = <E>({ django }: Beside.World, browser: Django.Browser, meanwhile: Effect.Effect<unknown, E>) =>
  Effect.gen(function*() {
    const held = yield* Effect.fork(browser.send(`${django.url}/hold/a`, `{"held":1}`))
    yield* browser.send(`${django.url}/held/a`)
    yield* meanwhile
    yield* browser.send(`${django.url}/release/a`)
    return yield* Fiber.join(held)
  })

/** A browser with the same cookies, whose later ones are its own. */
const copyOf = (browser: Django.Browser) => Beside.browserWith(String(browser.cookie()))

const increment = App.update("count", (count) => count + 1)

for (const [name, open] of databases) {
  describe(`an Effect server beside Django on ${name}`, () => {
    const world = Beside.shared(Beside.world(open))

    describe("a login", () => {
      it.live("in Django is the subject here, and is too old for requireFresh, because its time is not known", () =>
        Effect.gen(function*() {
          const there = yield* world
          const { effect } = there
          const browser = yield* Beside.loggedIn(there)
          const fresh = Effect.flip(App.requireFresh({ within: "365 days" }))
          assert.deepStrictEqual(yield* effect.run(browser, App.subject), Option.some("1"))
          assert.strictEqual(yield* effect.run(browser, App.requireSubject), "1")
          assert.deepInclude(yield* effect.run(browser, fresh), { _tag: "SessionNotFresh", reason: "age" })
          assert.deepInclude(yield* effect.run(Django.browser(), fresh), { reason: "anonymous" })
          assert.strictEqual((yield* effect.visit(Django.browser(), App.requireSubject)).status, 401)
          assert.deepStrictEqual(yield* effect.run(browser, App.authenticatedAt), Option.none())
        }))

      it.live("here is the user in Django, and is fresh also after Django has saved the session", () =>
        Effect.gen(function*() {
          const { django, effect } = yield* world
          const browser = Django.browser()
          yield* effect.run(browser, App.authenticate("1"))
          yield* post(browser, django, "set", { a: 1 })
          const { data, key, user } = yield* Django.me(browser, django)
          assert.deepStrictEqual([user, key], ["ada", browser.cookie()])
          assert.deepInclude(JSON.parse(data), {
            a: 1,
            _auth_user_id: "1",
            _auth_user_backend: "django.contrib.auth.backends.ModelBackend"
          })
          yield* effect.run(browser, App.requireFresh({ within: "10 minutes" }))
          assert.deepStrictEqual(yield* effect.run(browser, App.subject), Option.some("1"))
        }))

      it.live("here keeps what Django alone has put into the anonymous session, and ends the old key on both sides", () =>
        Effect.gen(function*() {
          const there = yield* world
          const { django, effect } = there
          const browser = Django.browser()
          yield* post(
            browser,
            django,
            "raw",
            `{"basket":[1.0,12345678901234567890],"text":"planted","_csrftoken":"old"}`
          )
          const before = String(browser.cookie())
          yield* effect.run(browser, Effect.zipRight(App.authenticate("1"), App.set("count", 7)))
          assert.notStrictEqual(browser.cookie(), before)
          yield* isDead(there, before)
          const { data, user } = yield* Django.me(browser, django)
          assert.strictEqual(user, "ada")
          assert.match(data, /^\{"basket":\[1\.0,12345678901234567890\],"count":7,/)
          assert.notInclude(data, "planted")
          assert.notInclude(data, "_csrftoken")
        }))

      it.live("of the user who is logged in goes on in the same session, whichever side it is made on", () =>
        Effect.gen(function*() {
          const there = yield* world
          const { django, effect } = there
          const browser = yield* Beside.loggedIn(there)
          yield* effect.run(browser, App.set("count", 3))
          const id = yield* effect.run(browser, App.id)
          const before = String(browser.cookie())
          for (
            const login of [post(browser, django, "login", Django.user), effect.run(browser, App.authenticate("1"))]
          ) {
            yield* login
            assert.strictEqual(yield* effect.run(browser, App.get("count")), 3)
            assert.deepStrictEqual(yield* effect.run(browser, App.id), id)
            assert.strictEqual((yield* Django.me(browser, django)).user, "ada")
          }
          yield* isDead(there, before)
        }))

      it.live("of another user starts a new session, whichever side it is made on", () =>
        Effect.gen(function*() {
          const there = yield* world
          const { django, effect } = there
          const bob = yield* newUser(there, "bob")
          for (
            const login of [
              (browser: Django.Browser) => effect.run(browser, App.authenticate(bob)),
              (browser: Django.Browser) => post(browser, django, "login", passwordOf("bob"))
            ]
          ) {
            const browser = yield* Beside.loggedIn(there)
            yield* post(browser, django, "set", { a: 1 })
            yield* effect.run(browser, App.set("count", 3))
            const id = yield* effect.run(browser, App.id)
            const before = String(browser.cookie())
            yield* login(browser)
            yield* isDead(there, before)
            const { data, user } = yield* Django.me(browser, django)
            assert.strictEqual(user, "bob")
            assert.notProperty(JSON.parse(data), "a")
            assert.strictEqual(yield* effect.run(browser, App.get("count")), 0)
            assert.deepStrictEqual(yield* effect.run(browser, App.subject), Option.some(bob))
            assert.notDeepEqual(yield* effect.run(browser, App.id), id)
          }
        }))

      it.live("of an unknown or inactive user fails, and writes nothing", () =>
        Effect.gen(function*() {
          const there = yield* world
          const { effect, row, sql } = there
          const cyd = yield* newUser(there, "cyd")
          yield* sql`UPDATE auth_user SET is_active = false WHERE username = 'cyd'`
          const browser = Django.browser()
          yield* effect.run(browser, App.set("count", 1))
          const before = yield* row(browser.cookie())
          const rows = sql`SELECT session_key FROM django_session ORDER BY session_key`
          const all = yield* rows
          for (const subject of [cyd, "999999", "not a number", "1.0", "01", " 1", "-1", "1e3"]) {
            for (const visitor of [browser, Django.browser()]) {
              const login = Effect.zipRight(App.authenticate(subject), App.save)
              const { headers, result, status } = yield* effect.visit(visitor, Effect.flip(login))
              assert.deepInclude(yield* result, { _tag: "SessionUnavailable", reason: "store" })
              assert.deepStrictEqual([status, headers.getSetCookie()], [503, []])
            }
          }
          assert.include(effect.logs.at(-1), "Django has no active user with the id of this login")
          assert.deepStrictEqual(yield* row(browser.cookie()), before)
          assert.deepStrictEqual(yield* rows, all)
        }))

      it.live("ends on both sides with a new password", () =>
        Effect.gen(function*() {
          const there = yield* world
          const { django, effect } = there
          const dan = yield* newUser(there, "dan")
          const [here, other] = [Django.browser(), Django.browser()]
          yield* effect.run(here, App.authenticate(dan))
          yield* post(other, django, "login", passwordOf("dan"))
          yield* post(Django.browser(), django, "password", { username: "dan", password: "new" })
          for (const browser of [here, other]) {
            assert.deepStrictEqual(yield* effect.run(browser, App.subject), Option.none())
            assert.strictEqual((yield* Django.me(browser, django)).user, null)
          }
        }))

      it.live("that is made again in the request that changes the password continues, and others end", () =>
        Effect.gen(function*() {
          const there = yield* world
          const { django, effect } = there
          const fay = yield* newUser(there, "fay")
          const [here, other] = [Django.browser(), Django.browser()]
          yield* effect.run(here, App.authenticate(fay))
          yield* post(other, django, "login", passwordOf("fay"))
          const change = post(Django.browser(), django, "password", { username: "fay", password: "new" })
          yield* effect.run(here, App.subject.pipe(Effect.zipRight(change), Effect.zipRight(App.authenticate(fay))))
          assert.deepStrictEqual(yield* effect.run(here, App.subject), Option.some(fay))
          assert.strictEqual((yield* Django.me(here, django)).user, "fay")
          assert.strictEqual((yield* Django.me(other, django)).user, null)
        }))

      it.live("is anonymous on both sides while its user is not active", () =>
        Effect.gen(function*() {
          const there = yield* world
          const { django, effect, sql } = there
          const eve = yield* newUser(there, "eve")
          const browser = Django.browser()
          yield* effect.run(browser, App.authenticate(eve))
          yield* sql`UPDATE auth_user SET is_active = false WHERE username = 'eve'`
          assert.deepStrictEqual(yield* effect.run(browser, App.subject), Option.none())
          assert.strictEqual((yield* Django.me(browser, django)).user, null)
          yield* sql`UPDATE auth_user SET is_active = true WHERE username = 'eve'`
          assert.deepStrictEqual(yield* effect.run(browser, App.subject), Option.some(eve))
          assert.strictEqual((yield* Django.me(browser, django)).user, "eve")
        }))

      it.live("that has no valid hash is anonymous on both sides", () =>
        Effect.gen(function*() {
          const { django, effect, worker } = yield* world
          const backend = `"_auth_user_backend":"django.contrib.auth.backends.ModelBackend"`
          for (const hash of ["", `,"_auth_user_hash":""`, `,"_auth_user_hash":"${"0".repeat(64)}"`]) {
            const key = yield* worker.save("db", `{"_auth_user_id":"1",${backend}${hash}}`)
            const browser = Beside.browserWith(key)
            assert.deepStrictEqual(yield* effect.run(browser, App.subject), Option.none())
            assert.strictEqual((yield* Django.me(browser, django)).user, null)
          }
        }))
    })

    describe("a logout", () => {
      it.live("on one side is final on the other", () =>
        Effect.gen(function*() {
          const there = yield* world
          const { django, effect } = there
          for (
            const logout of [
              (browser: Django.Browser) => effect.run(browser, App.destroy),
              (browser: Django.Browser) => post(browser, django, "logout")
            ]
          ) {
            const browser = yield* Beside.loggedIn(there)
            const key = String(browser.cookie())
            yield* logout(browser)
            assert.isUndefined(browser.cookie())
            yield* isDead(there, key)
          }
        }))

      it.live("here makes a request in flight in Django fail with 400, and no row comes back", () =>
        Effect.gen(function*() {
          const there = yield* world
          const browser = yield* Beside.loggedIn(there)
          const key = String(browser.cookie())
          const { status } = yield* whileThere(there, browser, there.effect.run(copyOf(browser), App.destroy))
          assert.strictEqual(status, 400)
          yield* isDead(there, key)
        }))

      it.live("in Django makes a request in flight here fail with SessionGone, and no row comes back", () =>
        Effect.gen(function*() {
          const there = yield* world
          for (const change of [increment, App.rotate, App.setExpiry(Lifetime.browser)]) {
            const browser = yield* Beside.loggedIn(there)
            const key = String(browser.cookie())
            const { body, status } = yield* whileHere(
              there,
              browser,
              App.value,
              change,
              post(copyOf(browser), there.django, "logout")
            )
            assert.strictEqual(status, 409, body)
            assert.include(body, "SessionGone")
            yield* isDead(there, key)
          }
        }))

      it.live("in Django leaves a login in flight here a session of its own, without the data of the old one", () =>
        Effect.gen(function*() {
          const there = yield* world
          const browser = yield* Beside.loggedIn(there)
          yield* post(browser, there.django, "set", { basket: 1, count: 1 })
          const key = String(browser.cookie())
          const logout = post(copyOf(browser), there.django, "logout")
          const { status } = yield* whileHere(there, browser, App.value, App.authenticate("1"), logout)
          assert.strictEqual(status, 200)
          yield* isDead(there, key)
          const { data, user } = yield* Django.me(browser, there.django)
          assert.strictEqual(user, "ada")
          assert.notProperty(JSON.parse(data), "basket")
          assert.strictEqual(yield* there.effect.run(browser, App.get("count")), 0)
        }))
    })

    describe("a new key", () => {
      it.live("of a rotation or login here makes a request in flight in Django fail with 400", () =>
        Effect.gen(function*() {
          const there = yield* world
          for (const change of [App.rotate, App.authenticate("1")]) {
            const [browser, held] = [yield* Beside.loggedIn(there), Django.browser()]
            const key = String(browser.cookie())
            held.jar.setCookieSync(`sessionid=${key}; Path=/`, "http://127.0.0.1/")
            const { status } = yield* whileThere(there, held, there.effect.run(browser, change))
            assert.strictEqual(status, 400)
            yield* isDead(there, key)
            const { data, user } = yield* Django.me(browser, there.django)
            assert.strictEqual(user, "ada")
            assert.notInclude(data, "held")
          }
        }))

      it.live("of Django's cycle_key or login makes a request in flight here fail with SessionGone", () =>
        Effect.gen(function*() {
          const there = yield* world
          for (const path of ["cycle", "login"]) {
            for (const change of [increment, App.rotate]) {
              const browser = Django.browser()
              yield* post(browser, there.django, "set", { basket: 1 })
              const other = copyOf(browser)
              const key = String(browser.cookie())
              const { body, status } = yield* whileHere(
                there,
                browser,
                App.value,
                change,
                post(other, there.django, path, Django.user)
              )
              assert.strictEqual(status, 409, body)
              assert.include(body, "SessionGone")
              yield* isDead(there, key)
              const { data, key: now, user } = yield* Django.me(other, there.django)
              assert.deepStrictEqual([now, user], [other.cookie(), path === "login" ? "ada" : null])
              assert.match(data, /^\{"basket":1[,}]/)
              assert.strictEqual(yield* there.effect.run(other, App.get("count")), 0)
            }
          }
        }))
    })

    describe("at the same time", () => {
      it.live("updates of one session here are all kept", () =>
        Effect.gen(function*() {
          const { django, effect } = yield* world
          const browser = Django.browser()
          yield* post(browser, django, "set", { a: 1 })
          const updates = range(12).map((i) =>
            effect.run(browser, Effect.zipRight(increment, App.update("tags", (tags) => [...tags, `tag ${i}`])))
          )
          yield* together(updates)
          const { count, tags } = yield* effect.run(browser, App.value)
          assert.strictEqual(count, 12)
          assert.sameMembers([...tags], range(12).map((i) => `tag ${i}`))
          assert.include((yield* Django.me(browser, django)).data, `"a":1`)
        }))

      it.live("a save of Django stays, and an update here is applied to it", () =>
        Effect.gen(function*() {
          const there = yield* world
          const browser = Django.browser()
          yield* post(browser, there.django, "set", { count: 1, tags: ["old"] })
          const { status } = yield* whileHere(
            there,
            browser,
            App.value,
            Effect.zipRight(increment, App.update("tags", (tags) => [...tags, "here"])),
            post(copyOf(browser), there.django, "set", { count: 10, tags: ["there"], other: 1 })
          )
          assert.strictEqual(status, 200)
          const { data } = yield* Django.me(browser, there.django)
          assert.deepInclude(JSON.parse(data), { count: 11, tags: ["there", "here"], other: 1 })
        }))

      it.live("a set of a field that Django has changed since it was read fails with SessionConflict", () =>
        Effect.gen(function*() {
          const there = yield* world
          const browser = Django.browser()
          yield* post(browser, there.django, "set", { text: "old" })
          const { body, status } = yield* whileHere(
            there,
            browser,
            App.get("text"),
            App.set("text", "here"),
            post(copyOf(browser), there.django, "set", { text: "there" })
          )
          assert.strictEqual(status, 409)
          assert.include(body, "SessionConflict")
          assert.include((yield* Django.me(browser, there.django)).data, `"text":"there"`)
        }))

      it.live("Django overwrites what was written here since it loaded the session, as it does with its own requests", () =>
        Effect.gen(function*() {
          const there = yield* world
          const browser = Django.browser()
          yield* post(browser, there.django, "set", { count: 1 })
          const { status } = yield* whileThere(there, browser, there.effect.run(copyOf(browser), increment))
          assert.strictEqual(status, 200)
          assert.deepInclude(JSON.parse((yield* Django.me(browser, there.django)).data), { count: 1, held: 1 })
        }))

      it.live("of two logins in one anonymous session, one gets its data, whichever sides they are made on", () =>
        Effect.gen(function*() {
          const there = yield* world
          const { django, effect } = there
          for (
            const login of [
              (browser: Django.Browser) => effect.run(browser, App.authenticate("1")),
              (browser: Django.Browser) => post(browser, django, "login", Django.user)
            ]
          ) {
            const first = Django.browser()
            yield* post(first, django, "set", { basket: 1 })
            const second = copyOf(first)
            const key = String(first.cookie())
            const { status } = yield* whileHere(there, first, App.value, App.authenticate("1"), login(second))
            assert.strictEqual(status, 200)
            yield* isDead(there, key)
            const [slow, quick] = [yield* Django.me(first, django), yield* Django.me(second, django)]
            assert.deepStrictEqual([slow.user, quick.user], ["ada", "ada"])
            assert.notStrictEqual(slow.key, quick.key)
            assert.notInclude(slow.data, "basket")
            assert.include(quick.data, `"basket":1`)
          }
        }))
    })
  })

  describe(`a new SECRET_KEY beside Django on ${name}`, () => {
    const [oldKey, newKey] = ["the old key", "the new key"]
    const world = Beside.shared(Beside.world(open, {
      django: { SECRET_KEY: oldKey },
      effect: { secretKey: Redacted.make(newKey), fallbacks: [Redacted.make(oldKey)] }
    }))

    it.scopedLive("a session of the old key is read, and is signed with the new one by the next write", () =>
      Effect.gen(function*() {
        const { database, django, effect } = yield* world
        const next = yield* Django.serve({ database: database.url, settings: { SECRET_KEY: newKey } })
        const browser = Django.browser()
        yield* post(browser, django, "set", { count: 1 })
        assert.strictEqual(yield* effect.run(browser, App.get("count")), 1)
        assert.strictEqual((yield* Django.me(browser, next)).data, "{}")
        yield* effect.run(browser, increment)
        assert.include((yield* Django.me(browser, next)).data, `{"count":2,`)
        assert.strictEqual((yield* Django.me(browser, django)).data, "{}")
      }))

    it.scopedLive("a login of the old key is valid, and Django has it with the new key after the next write", () =>
      Effect.gen(function*() {
        const there = yield* world
        const { database, effect } = there
        const next = yield* Django.serve({ database: database.url, settings: { SECRET_KEY: newKey } })
        const browser = yield* Beside.loggedIn(there)
        const key = browser.cookie()
        assert.deepStrictEqual(yield* effect.run(browser, App.subject), Option.some("1"))
        yield* effect.run(browser, increment)
        assert.strictEqual(browser.cookie(), key)
        assert.strictEqual((yield* Django.me(browser, next)).user, "ada")
        assert.deepStrictEqual(yield* effect.run(browser, App.subject), Option.some("1"))
      }))

    it.scopedLive("a session of the old key is anonymous once the fallback has been removed", () =>
      Effect.gen(function*() {
        const there = yield* world
        const without = yield* Beside.start(there.database, { secretKey: Redacted.make(newKey) })
        const browser = yield* Beside.loggedIn(there)
        assert.deepStrictEqual(yield* without.run(browser, App.subject), Option.none())
        assert.deepStrictEqual(yield* there.effect.run(browser, App.subject), Option.some("1"))
      }))
  })
}
