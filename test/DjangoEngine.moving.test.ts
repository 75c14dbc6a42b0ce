/**
 * Sessions that a real Django has made, moved to another engine by the first request that uses them.
 */
import { NodeFileSystem } from "@effect/platform-node"
import * as SqlClient from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer, Logger, LogLevel, Option, Redacted, Schema, type Scope, TestClock } from "effect"
import { Expiry, MemoryEngine, Session, SessionEngine, SessionError, type SessionService } from "effect-session"
import * as DjangoEngine from "effect-session/DjangoEngine"
import * as SqlEngine from "effect-session/SqlEngine"
import * as SqlMigrations from "effect-session/SqlMigrations"
import { mkdirSync, readdirSync } from "node:fs"
import * as Path from "node:path"
import { type Database, databases } from "./support/djangoDatabases.js"
import { visit } from "./support/requestWithoutHttp.js"
import * as Django from "./support/servers/django.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

class Shop extends Session.Tag<Shop>()("shop/Session", {
  schema: Schema.Struct({
    cart: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] }),
    visits: Schema.optionalWith(Schema.Number, { default: () => 0 })
  }),
  cookie: { prefix: "", name: "sessionid" },
  expiry: Expiry.standard
}) {}

/** Its sessions end long before the cookies of Django. */
class Brief extends Session.Tag<Brief>()("shop/Brief", {
  schema: Schema.Struct({ visits: Schema.optionalWith(Schema.Number, { default: () => 0 }) }),
  cookie: { prefix: "", name: "sessionid" },
  expiry: Expiry.earliest(Expiry.sinceModified("1 hour"), Expiry.absolute("1 day"))
}) {}

const secretKey = Redacted.make(Django.secretKey)

/** A login as Django makes it, in a session with other members. */
const loggedIn = (hash: string, more = "") =>
  `{"cart":["tea"],"visits":1,"theme":"dark","_auth_user_id":"1","_auth_user_backend":"django.contrib.auth.backends.ModelBackend",` +
  `"_auth_user_hash":${JSON.stringify(hash)}${more}}`

const password = "pbkdf2_sha256$1$salt$hash"

/** The authentication of the sources without a database. */
const authHash = (userId: string) => Effect.succeed(userId === "1" ? Option.some(password) : Option.none())

/** Now, for sessions that Django dates by the clock of the machine. */
const byTheMachine = Effect.suspend(() => TestClock.setTime(Date.now()))

const inTable = (database: Database) =>
  Shop.layer.pipe(
    Layer.provide(DjangoEngine.moving(SqlEngine.layer, { secretKey })),
    Layer.provide(SqlMigrations.layer),
    Layer.provide(database.client)
  )

/** The hash of the password of Django's user, which the table has. */
const hashOf = (worker: Django.Worker, server: Django.Served) =>
  Effect.gen(function*() {
    const browser = Django.browser()
    yield* browser.send(`${server.url}/login`, JSON.stringify(Django.user))
    const data: unknown = JSON.parse((yield* worker.load("db", browser.cookie() ?? "")) ?? "{}")
    return Schema.decodeUnknownSync(Schema.Struct({ _auth_user_hash: Schema.String }))(data)._auth_user_hash
  })

/** A place of sessions, with a Django that saves there. */
type Scene = Effect.Effect<
  {
    readonly worker: Django.Worker
    readonly hash: string
    readonly layer: Layer.Layer<SessionService.SessionService<Shop>, unknown>
  },
  unknown,
  Scope.Scope
>

/** The behaviour of a move that does not depend on the place. */
const moves = (backend: Django.Backend, scene: Scene) => {
  it.scoped("of 8 requests that move the same session at the same time, none loses its update and all get one cookie", () =>
    Effect.gen(function*() {
      const { layer, worker } = yield* scene
      const old = yield* worker.save(backend, `{"visits":0}`)
      yield* Effect.gen(function*() {
        const visits = yield* Effect.all(
          Array.from({ length: 8 }, () => visit(Shop, Shop.update("visits", (n) => n + 1), old)),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(visits.map(({ error }) => error), Array(8).fill(undefined))
        const cookies = new Set(visits.map(({ cookie }) => cookie))
        assert.strictEqual(cookies.size, 1)
        const [cookie] = cookies
        assert.strictEqual((yield* visit(Shop, Shop.get("visits"), cookie)).result, 8)
      }).pipe(Effect.provide(layer))
    }))

  it.scoped("a logout is final for the old cookie, whether its session has moved or not", () =>
    Effect.gen(function*() {
      const { hash, layer, worker } = yield* scene
      const moved = yield* worker.save(backend, loggedIn(hash))
      const unmoved = yield* worker.save(backend, loggedIn(hash, `,"other":1`))
      yield* Effect.gen(function*() {
        const { cookie } = yield* visit(Shop, Shop.subject, moved)
        yield* visit(Shop, Shop.destroy, cookie)
        assert.deepStrictEqual((yield* visit(Shop, Shop.subject, moved)).result, Option.none())
        yield* visit(Shop, Shop.destroy, unmoved)
        assert.deepStrictEqual((yield* visit(Shop, Shop.subject, unmoved)).result, Option.none())
      }).pipe(Effect.provide(layer))
    }))

  it.scoped("a logout while another request moves the session is final", () =>
    Effect.gen(function*() {
      const { hash, layer, worker } = yield* scene
      const old = yield* worker.save(backend, loggedIn(hash))
      yield* Effect.gen(function*() {
        const { error } = yield* visit(
          Shop,
          Effect.zipRight(Shop.set("visits", 5), visit(Shop, Shop.destroy, old)),
          old
        )
        assert.instanceOf(error, SessionError.SessionGone)
        assert.deepStrictEqual((yield* visit(Shop, Shop.subject, old)).result, Option.none())
      }).pipe(Effect.provide(layer))
    }))

  it.scoped("a logout of the moved session while another request moves it again is final", () =>
    Effect.gen(function*() {
      const { hash, layer, worker } = yield* scene
      const old = yield* worker.save(backend, loggedIn(hash))
      const movedAndEnded = Effect.flatMap(
        visit(Shop, Shop.subject, old),
        ({ cookie }) => Effect.as(visit(Shop, Shop.destroy, cookie), cookie)
      )
      yield* Effect.gen(function*() {
        const { error, result } = yield* visit(Shop, Effect.zipRight(Shop.set("visits", 5), movedAndEnded), old)
        assert.instanceOf(error, SessionError.SessionGone)
        for (const cookie of [old, result]) {
          assert.deepStrictEqual((yield* visit(Shop, Shop.subject, cookie)).result, Option.none())
        }
      }).pipe(Effect.provide(layer))
    }))

  it.scoped("a login ends the session of the old cookie", () =>
    Effect.gen(function*() {
      const { layer, worker } = yield* scene
      const old = yield* worker.save(backend, `{"visits":4}`)
      yield* Effect.gen(function*() {
        const { cookie } = yield* visit(Shop, Shop.authenticate("1"), old)
        assert.deepStrictEqual((yield* visit(Shop, Shop.subject, cookie)).result, Option.some("1"))
        assert.strictEqual((yield* visit(Shop, Shop.get("visits"), old)).result, 0)
      }).pipe(Effect.provide(layer))
    }))

  it.scoped("a login whose password has changed does not move", () =>
    Effect.gen(function*() {
      const { layer, worker } = yield* scene
      const old = yield* worker.save(backend, loggedIn("0".repeat(64)))
      const { cookie, result } = yield* Effect.provide(visit(Shop, Shop.subject, old), layer)
      assert.deepStrictEqual(result, Option.none())
      assert.strictEqual(cookie, old)
    }))
}

for (const [name, open] of databases) {
  describe(`DjangoEngine.moving from the table on ${name}`, () => {
    const scene = Effect.gen(function*() {
      const database = yield* open
      const server = yield* Django.serve({ database: database.url })
      const worker = yield* Django.worker({ database: database.url })
      const hash = yield* hashOf(worker, server)
      yield* byTheMachine
      return { database, server, worker, hash }
    })

    moves("db", Effect.map(scene, (scene) => ({ ...scene, layer: inTable(scene.database) })))

    it.scoped("the first request that reads a session of Django moves it, with its data, its login and its end", () =>
      Effect.gen(function*() {
        const { database, hash, worker } = yield* scene
        const key = yield* worker.save("db", loggedIn(hash), undefined, { seconds: 3600 })
        yield* Effect.gen(function*() {
          const first = yield* visit(Shop, Effect.all([Shop.value, Shop.subject]), key)
          assert.deepStrictEqual(first.result[0], { cart: ["tea"], visits: 1 })
          assert.deepStrictEqual(first.result[1], Option.some("1"))
          assert.isUndefined(first.error)
          assert.match(first.cookie ?? "", /^r1\./)
          assert.strictEqual(yield* worker.load("db", key), null, "Django does not find the session any more")
          const second = yield* visit(Shop, Effect.all([Shop.value, Shop.subject, Shop.endsAt]), first.cookie)
          assert.deepStrictEqual(second.result[0], { cart: ["tea"], visits: 1 })
          assert.deepStrictEqual(second.result[1], Option.some("1"))
          assert.strictEqual(second.cookie, first.cookie)
          const end = Option.getOrThrow(second.result[2])
          const now = yield* TestClock.currentTimeMillis
          assert.isAtMost(Math.abs(end.epochMillis - now - 3_600_000), 60_000)
        }).pipe(Effect.provide(inTable(database)))
      }))

    it.scoped("a request that does not use the session moves nothing", () =>
      Effect.gen(function*() {
        const { database, worker } = yield* scene
        const key = yield* worker.save("db", `{"cart":["tea"]}`)
        const { setCookie } = yield* visit(Shop, Effect.void, key).pipe(Effect.provide(inTable(database)))
        assert.isUndefined(setCookie)
        assert.deepInclude(JSON.parse((yield* worker.load("db", key)) ?? ""), { cart: ["tea"] })
      }))

    it.scoped("an update moves the session with the change, and with members that the schema does not have", () =>
      Effect.gen(function*() {
        const { database, hash, worker } = yield* scene
        const key = yield* worker.save("db", loggedIn(hash, `,"big":12345678901234567890`))
        yield* Effect.gen(function*() {
          const { cookie, error } = yield* visit(Shop, Shop.update("visits", (n) => n + 1), key)
          assert.isUndefined(error)
          const { result } = yield* visit(Shop, Shop.value, cookie)
          assert.deepStrictEqual(result, { cart: ["tea"], visits: 2 })
        }).pipe(Effect.provide(inTable(database)))
        const [row] = yield* Effect.flatMap(
          SqlClient.SqlClient,
          (sql) => sql<{ readonly data: string }>`SELECT data FROM effect_sessions`
        ).pipe(Effect.provide(database.client))
        assert.deepInclude(JSON.parse(row?.data ?? ""), {
          theme: "dark",
          big: { "effect-session/unreadable": "12345678901234567890" }
        })
      }))

    it.scoped("a request that comes with the old cookie after the move uses the moved session and gets its cookie", () =>
      Effect.gen(function*() {
        const { database, worker } = yield* scene
        const key = yield* worker.save("db", `{"visits":1}`)
        yield* Effect.gen(function*() {
          const first = yield* visit(Shop, Shop.update("visits", (n) => n + 1), key)
          const late = yield* visit(Shop, Shop.update("visits", (n) => n + 1), key)
          assert.isUndefined(late.error)
          assert.strictEqual(late.cookie, first.cookie)
          const read = yield* visit(Shop, Shop.value, key)
          assert.strictEqual(read.cookie, first.cookie)
          assert.strictEqual((yield* visit(Shop, Shop.get("visits"), first.cookie)).result, 3)
        }).pipe(Effect.provide(inTable(database)))
      }))

    it.scoped("a browser that presents the old and the new cookie has the moved session", () =>
      Effect.gen(function*() {
        const { database, hash, worker } = yield* scene
        const key = yield* worker.save("db", loggedIn(hash))
        yield* Effect.gen(function*() {
          const { cookie } = yield* visit(Shop, Shop.subject, key)
          for (const both of [`${cookie}; sessionid=${key}`, `${key}; sessionid=${cookie}`]) {
            const { result, setCookie } = yield* visit(Shop, Shop.subject, both)
            assert.deepStrictEqual(result, Option.some("1"))
            assert.isUndefined(setCookie)
          }
        }).pipe(Effect.provide(inTable(database)))
      }))

    it.scoped("a logout ends the moved session for both cookies", () =>
      Effect.gen(function*() {
        const { database, hash, worker } = yield* scene
        const key = yield* worker.save("db", loggedIn(hash))
        yield* Effect.gen(function*() {
          const { cookie } = yield* visit(Shop, Shop.subject, key)
          yield* visit(Shop, Shop.destroy, cookie)
          assert.deepStrictEqual((yield* visit(Shop, Shop.subject, cookie)).result, Option.none())
          assert.deepStrictEqual((yield* visit(Shop, Shop.subject, key)).result, Option.none())
          assert.deepStrictEqual((yield* visit(Shop, Shop.absence, key)).result, Option.some("loggedOut"))
        }).pipe(Effect.provide(inTable(database)))
      }))

    it.scoped("a logout with the old cookie ends the session, before and after its move", () =>
      Effect.gen(function*() {
        const { database, hash, worker } = yield* scene
        yield* Effect.gen(function*() {
          const unmoved = yield* worker.save("db", loggedIn(hash))
          assert.strictEqual((yield* visit(Shop, Shop.destroy, unmoved)).setCookie, "expire")
          assert.strictEqual(yield* worker.load("db", unmoved), null)
          const moved = yield* worker.save("db", loggedIn(hash))
          const { cookie } = yield* visit(Shop, Shop.subject, moved)
          yield* visit(Shop, Shop.destroy, moved)
          assert.deepStrictEqual((yield* visit(Shop, Shop.subject, cookie)).result, Option.none())
          assert.deepStrictEqual((yield* visit(Shop, Shop.subject, moved)).result, Option.none())
        }).pipe(Effect.provide(inTable(database)))
      }))

    it.scoped("a logout in Django while a request moves the session is final", () =>
      Effect.gen(function*() {
        const { database, server } = yield* scene
        const browser = Django.browser()
        yield* browser.send(`${server.url}/login`, JSON.stringify(Django.user))
        const key = browser.cookie()
        yield* Effect.gen(function*() {
          const { cookie, error } = yield* visit(
            Shop,
            Effect.zipRight(Shop.set("visits", 5), browser.send(`${server.url}/logout`, "{}")),
            key
          )
          assert.instanceOf(error, SessionError.SessionGone)
          assert.strictEqual(cookie, key, "no cookie of a new session")
          assert.deepStrictEqual((yield* visit(Shop, Shop.subject, key)).result, Option.none())
        }).pipe(Effect.provide(inTable(database)))
      }))

    it.scoped("a login with the moved session while another request moves it again ends the old session", () =>
      Effect.gen(function*() {
        const { database, worker } = yield* scene
        const key = yield* worker.save("db", `{"visits":1}`)
        const movedAndRotated = Effect.flatMap(
          visit(Shop, Shop.value, key),
          ({ cookie }) => visit(Shop, Shop.authenticate("1"), cookie)
        )
        yield* Effect.gen(function*() {
          const { error, result } = yield* visit(Shop, Effect.zipRight(Shop.set("visits", 5), movedAndRotated), key)
          assert.instanceOf(error, SessionError.SessionGone)
          assert.strictEqual((yield* visit(Shop, Shop.get("visits"), key)).result, 0)
          assert.deepStrictEqual((yield* visit(Shop, Shop.subject, result.cookie)).result, Option.some("1"))
        }).pipe(Effect.provide(inTable(database)))
      }))

    it.scoped("a save of Django while a request moves the session is not lost", () =>
      Effect.gen(function*() {
        const { database, worker } = yield* scene
        const key = yield* worker.save("db", `{"visits":1,"cart":["tea"]}`)
        yield* Effect.gen(function*() {
          const { cookie, error } = yield* visit(
            Shop,
            Effect.zipRight(
              Shop.update("visits", (n) => n + 1),
              worker.save("db", `{"cart":["tea","milk"]}`, key)
            ),
            key
          )
          assert.isUndefined(error)
          assert.deepStrictEqual((yield* visit(Shop, Shop.value, cookie)).result, { cart: ["tea", "milk"], visits: 2 })
        }).pipe(Effect.provide(inTable(database)))
      }))

    it.scoped("a login moves the session to a token that the old cookie does not lead to", () =>
      Effect.gen(function*() {
        const { database, worker } = yield* scene
        const key = yield* worker.save("db", `{"visits":1}`)
        yield* Effect.gen(function*() {
          const { cookie, error } = yield* visit(Shop, Shop.authenticate("1"), key)
          assert.isUndefined(error)
          assert.deepStrictEqual((yield* visit(Shop, Shop.subject, cookie)).result, Option.some("1"))
          assert.deepStrictEqual((yield* visit(Shop, Shop.subject, key)).result, Option.none())
          assert.strictEqual(yield* worker.load("db", key), null)
        }).pipe(Effect.provide(inTable(database)))
      }))

    it.scoped("the absolute limit of the tag begins with the move", () =>
      Effect.gen(function*() {
        const { database, worker } = yield* scene
        const key = yield* worker.save("db", `{"visits":1}`, undefined, { seconds: 365 * 86_400 })
        yield* Effect.gen(function*() {
          const { cookie } = yield* visit(Shop, Shop.value, key)
          yield* TestClock.adjust(Duration.days(29))
          assert.strictEqual((yield* visit(Shop, Shop.update("visits", (n) => n + 1), cookie)).error, undefined)
          yield* TestClock.adjust(Duration.days(2))
          assert.strictEqual((yield* visit(Shop, Shop.get("visits"), cookie)).result, 0)
        }).pipe(Effect.provide(inTable(database)))
      }))

    it.scoped("the secret of tokens against forged requests is the same before and after the move", () =>
      Effect.gen(function*() {
        const { database, worker } = yield* scene
        const value = Redacted.make(yield* worker.save("db", `{"visits":1}`))
        yield* Effect.gen(function*() {
          const now = yield* TestClock.currentTimeMillis
          const { bind } = yield* SessionEngine.SessionEngine
          const engine = yield* bind({ namespace: "shop", cookieName: "sessionid" })
          const opened = Option.getOrThrow(yield* engine.open(value, now))
          const before = engine.secretOf?.(opened)
          const moved = yield* engine.write({ _tag: "Touch", value, record: opened.record }, now)
          assert(moved._tag === "Written")
          assert.lengthOf(before ?? [], 32)
          assert.deepStrictEqual(engine.secretOf?.(moved), before)
        }).pipe(
          Effect.provide(
            DjangoEngine.moving(SqlEngine.layer, { secretKey }).pipe(
              Layer.provide(SqlMigrations.layer),
              Layer.provide(database.client)
            )
          )
        )
      }))

    it.scoped("a changed password ends the login before the move", () =>
      Effect.gen(function*() {
        const { database, hash, server, worker } = yield* scene
        const key = yield* worker.save("db", loggedIn(hash))
        yield* Django.browser().send(`${server.url}/password`, JSON.stringify({ ...Django.user, password: "other" }))
        const { result } = yield* visit(Shop, Shop.subject, key).pipe(Effect.provide(inTable(database)))
        assert.deepStrictEqual(result, Option.none())
      }))
  })
}

describe("DjangoEngine.movingFiles", () => {
  const scene = Effect.gen(function*() {
    const directory = Path.join(yield* temporaryDirectory("django-files"), "sessions")
    mkdirSync(directory)
    const worker = yield* Django.worker({ settings: { SESSION_FILE_PATH: directory } })
    const hash = yield* worker.authHash(password)
    yield* byTheMachine
    const layer = Shop.layer.pipe(
      Layer.provide(DjangoEngine.movingFiles(MemoryEngine.layer, { secretKey, directory, authHash })),
      Layer.provide(NodeFileSystem.layer)
    )
    return { directory, worker, hash, layer }
  })

  moves("file", scene)

  it.scoped("the first request that reads a session moves it, and Django does not find it any more", () =>
    Effect.gen(function*() {
      const { directory, hash, layer, worker } = yield* scene
      const key = yield* worker.save("file", loggedIn(hash))
      assert.deepStrictEqual(readdirSync(directory), [`sessionid${key}`])
      yield* Effect.gen(function*() {
        const first = yield* visit(Shop, Effect.all([Shop.value, Shop.subject]), key)
        assert.deepStrictEqual(first.result, [{ cart: ["tea"], visits: 1 }, Option.some("1")])
        assert.match(first.cookie ?? "", /^r1\./)
        const late = yield* visit(Shop, Shop.update("visits", (n) => n + 1), key)
        assert.strictEqual(late.cookie, first.cookie)
        assert.strictEqual((yield* visit(Shop, Shop.get("visits"), first.cookie)).result, 2)
        yield* visit(Shop, Shop.destroy, first.cookie)
        assert.deepStrictEqual((yield* visit(Shop, Shop.subject, key)).result, Option.none())
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(readdirSync(directory).sort(), [`sessionid${key}.id`, `sessionid${key}.moved`])
    }))

  it.scoped("a session expires SESSION_COOKIE_AGE after its file was written", () =>
    Effect.gen(function*() {
      const { layer, worker } = yield* scene
      const key = yield* worker.save("file", `{"visits":3}`)
      yield* TestClock.adjust(Duration.days(15))
      assert.strictEqual((yield* Effect.provide(visit(Shop, Shop.get("visits"), key), layer)).result, 0)
    }))

  it.scoped("a cookie that names a file elsewhere finds nothing", () =>
    Effect.gen(function*() {
      const { layer } = yield* scene
      for (const value of ["..", "../../etc/passwd", "a".repeat(41), "sessions/abcdefgh"]) {
        assert.strictEqual((yield* Effect.provide(visit(Shop, Shop.get("visits"), value), layer)).result, 0)
      }
    }))

  it.scoped("a logout deletes the file of a session that has not moved", () =>
    Effect.gen(function*() {
      const { directory, layer, worker } = yield* scene
      const key = yield* worker.save("file", `{"visits":3}`)
      yield* Effect.provide(visit(Shop, Shop.destroy, key), layer)
      assert.deepStrictEqual(readdirSync(directory), [])
    }))
})

describe("DjangoEngine.movingSignedCookies", () => {
  const scene = Effect.gen(function*() {
    const worker = yield* Django.worker()
    const hash = yield* worker.authHash(password)
    yield* byTheMachine
    const layer = Shop.layer.pipe(
      Layer.provide(DjangoEngine.movingSignedCookies(MemoryEngine.layer, { secretKey, authHash }))
    )
    return { worker, hash, layer }
  })

  moves("signed_cookies", scene)

  it.scoped("the first request that reads a session moves it, and later ones with the old cookie use it", () =>
    Effect.gen(function*() {
      const { hash, layer, worker } = yield* scene
      const old = yield* worker.save("signed_cookies", loggedIn(hash, `,"long":${JSON.stringify("a".repeat(900))}`))
      yield* Effect.gen(function*() {
        const first = yield* visit(Shop, Effect.all([Shop.value, Shop.subject]), old)
        assert.deepStrictEqual(first.result, [{ cart: ["tea"], visits: 1 }, Option.some("1")])
        assert.match(first.cookie ?? "", /^r1\./)
        const late = yield* visit(Shop, Shop.update("visits", (n) => n + 1), old)
        assert.strictEqual(late.cookie, first.cookie)
        assert.strictEqual((yield* visit(Shop, Shop.get("visits"), first.cookie)).result, 2)
      }).pipe(Effect.provide(layer))
    }))

  it.scoped("a logout is final for the old cookie as long as that is valid, also if the moved session would have expired before", () =>
    Effect.gen(function*() {
      const { hash, worker } = yield* scene
      const layer = Brief.layer.pipe(
        Layer.provide(DjangoEngine.movingSignedCookies(MemoryEngine.layer, { secretKey, authHash }))
      )
      const old = yield* worker.save("signed_cookies", loggedIn(hash))
      yield* Effect.gen(function*() {
        const { cookie } = yield* visit(Brief, Brief.set("visits", 2), old)
        assert.deepStrictEqual((yield* visit(Brief, Brief.subject, cookie)).result, Option.some("1"))
        yield* visit(Brief, Brief.destroy, cookie)
        yield* TestClock.adjust("2 hours")
        assert.deepStrictEqual((yield* visit(Brief, Brief.subject, old)).result, Option.none())
      }).pipe(Effect.provide(layer))
    }))

  it.scoped("a cookie that a visitor has invented writes no warning to the log", () =>
    Effect.gen(function*() {
      const { layer, worker } = yield* scene
      const old = yield* worker.save("signed_cookies", `{"visits":4}`)
      const warnings: Array<unknown> = []
      const log = Logger.make(({ logLevel, message }) => {
        if (LogLevel.greaterThanEqual(logLevel, LogLevel.Warning)) warnings.push(message)
      })
      const { result } = yield* visit(Shop, Shop.get("visits"), `${old.slice(0, -1)}${old.endsWith("A") ? "E" : "A"}`)
        .pipe(
          Effect.provide(Layer.merge(layer, Logger.replace(Logger.defaultLogger, log)))
        )
      assert.strictEqual(result, 0)
      assert.deepStrictEqual(warnings, [])
    }))

  it.scoped("a cookie that is older than SESSION_COOKIE_AGE is anonymous", () =>
    Effect.gen(function*() {
      const { layer, worker } = yield* scene
      const old = yield* worker.save("signed_cookies", `{"visits":4}`)
      yield* TestClock.adjust(Duration.days(15))
      assert.strictEqual((yield* Effect.provide(visit(Shop, Shop.get("visits"), old), layer)).result, 0)
    }))
})
