/**
 * The options of the engine on Django's table, and its errors at the start.
 */
import * as MysqlClient from "@effect/sql-mysql2/MysqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { ConfigProvider, Context, Effect, Layer, Logger, Option, Redacted, Schema, type Scope } from "effect"
import { Expiry, Session } from "effect-session"
import * as DjangoEngine from "effect-session/DjangoEngine"
import { SessionConfigError } from "effect-session/SessionConfigError"
import type { SessionEngine } from "effect-session/SessionEngine"
import { inspect } from "node:util"
import { assert, describe } from "vitest"
import * as Beside from "./support/djangoBeside.js"
import { App, engineOptions } from "./support/djangoBeside.js"
import { type Database, databases } from "./support/djangoDatabases.js"
import { freshPrefix } from "./support/localStores.js"
import { visit } from "./support/requestWithoutHttp.js"
import * as Django from "./support/servers/django.js"

const secret = "a secret that no output has"

/** Builds the engine and a tag on it. Returns the error. */
const failing = (
  { client }: Pick<Database, "client">,
  options: Partial<DjangoEngine.DjangoEngineOptions> = {},
  tag: Layer.Layer<never, unknown, SessionEngine> = App.layer
) =>
  Effect.gen(function*() {
    const sessions = Layer.provide(tag, DjangoEngine.layer({ ...engineOptions, ...options }))
    const error = yield* Effect.flip(Layer.build(Layer.provide(sessions, client)))
    assert.instanceOf(error, SessionConfigError)
    assert.notInclude(inspect(error, { depth: 20, showHidden: true }), Django.secretKey)
    return error.message
  })

/** A client as a user of the database with these privileges. */
const granted: Readonly<
  Record<string, (world: Database, table: string, other: string) => Effect.Effect<Database, unknown, Scope.Scope>>
> = {
  postgres: ({ client, url }, onSessions, onUsers) =>
    Effect.gen(function*() {
      const sql = Context.get(yield* Layer.build(client), SqlClient)
      const user = freshPrefix()
      yield* Effect.acquireRelease(
        sql.unsafe(`CREATE ROLE ${user} LOGIN PASSWORD 'secret'`),
        () =>
          Effect.orDie(Effect.zipRight(sql.unsafe(`DROP OWNED BY ${user} CASCADE`), sql.unsafe(`DROP ROLE ${user}`)))
      )
      if (onSessions !== "") yield* sql.unsafe(`GRANT ${onSessions} ON django_session TO ${user}`)
      if (onUsers !== "") yield* sql.unsafe(`GRANT ${onUsers} ON auth_user TO ${user}`)
      const theirs = new URL(url)
      theirs.username = user
      theirs.password = "secret"
      return { url: theirs.href, client: PgClient.layer({ url: Redacted.make(theirs.href) }) }
    }),
  mariadb: ({ client, url }, onSessions, onUsers) =>
    Effect.gen(function*() {
      const sql = Context.get(yield* Layer.build(client), SqlClient)
      const user = freshPrefix()
      yield* Effect.acquireRelease(
        sql.unsafe(`CREATE USER ${user} IDENTIFIED BY 'secret'`),
        () => Effect.orDie(sql.unsafe(`DROP USER ${user}`))
      )
      const theirs = new URL(url)
      const database = theirs.pathname.slice(1)
      yield* sql.unsafe(`GRANT ${onSessions === "" ? "DROP" : onSessions} ON ${database}.django_session TO ${user}`)
      yield* sql.unsafe(`GRANT ${onUsers === "" ? "DROP" : onUsers} ON ${database}.auth_user TO ${user}`)
      theirs.username = user
      theirs.password = "secret"
      return { url: theirs.href, client: MysqlClient.layer({ url: Redacted.make(theirs.href) }) }
    })
}

for (const [name, open] of databases) {
  describe(`an engine on ${name}`, () => {
    const database = Beside.shared(open)

    it.scopedLive("does not serve a tag with an idle limit", () =>
      Effect.gen(function*() {
        const tag = App.layerWith({ expiry: Expiry.earliest(Expiry.idle("1 hour"), Expiry.absolute("1 day")) })
        assert.strictEqual(
          yield* failing(yield* database, {}, tag),
          "test/Django: The expiry policy has an idle limit, and every use would have to write Django's table. Use Expiry.django, " +
            "or Expiry.sinceModified with the length of SESSION_COOKIE_AGE. (help: django-tag-unsupported)"
        )
      }))

    it.scopedLive("does not serve a tag whose fields begin with an underscore in their encoding", () =>
      Effect.gen(function*() {
        class Reserved extends Session.Tag<Reserved>()("test/Reserved", {
          schema: Schema.Struct({
            fine: Schema.optional(Schema.String),
            _own: Schema.optional(Schema.String),
            hash: Schema.optional(Schema.String).pipe(Schema.fromKey("_auth_user_hash"))
          }),
          expiry: Expiry.django
        }) {}
        assert.strictEqual(
          yield* failing(yield* database, {}, Reserved.layer),
          "test/Reserved: Django reserves the names of fields that begin with an underscore: _own, _auth_user_hash. Rename them, in the " +
            "encoding too. (help: django-tag-unsupported)"
        )
      }))

    it.scopedLive("serves one tag, which may be built again, and no other one", () =>
      Effect.gen(function*() {
        class Other extends Session.Tag<Other>()("test/Other", {
          schema: Schema.Struct({ name: Schema.optional(Schema.String) }),
          expiry: Expiry.django
        }) {}
        const { client } = yield* database
        yield* Layer.build(
          Layer.mergeAll(App.layer, Layer.fresh(App.layer)).pipe(
            Layer.provide(DjangoEngine.layer(engineOptions)),
            Layer.provide(client)
          )
        )
        const others: ReadonlyArray<Layer.Layer<never, SessionConfigError, SessionEngine>> = [
          Other.layer,
          App.layerWith({ cookie: { prefix: "", name: "another", secure: false } })
        ]
        for (const other of others) {
          assert.match(
            yield* failing({ client }, {}, Layer.zipWith(App.layer, other, () => Context.empty())),
            /^test\/(Other|Django): The table of Django serves the session "test\/Django" already.*\(help: django-tag-unsupported\)$/
          )
        }
      }))

    for (
      const [what, options] of [
        ["an empty secret key", { secretKey: Redacted.make("") }],
        ["an empty fallback", { fallbacks: [Redacted.make("fine"), Redacted.make("")] }]
      ] as const
    ) {
      it.scopedLive(`does not start with ${what}`, () =>
        Effect.gen(function*() {
          assert.strictEqual(
            yield* failing(yield* database, options),
            "DjangoEngine: A secret key is empty. Give SECRET_KEY, and each of SECRET_KEY_FALLBACKS, of Django's settings. " +
              "(help: django-key-invalid)"
          )
        }))
    }

    it.scopedLive("does not start with a time zone that does not exist", () =>
      Effect.gen(function*() {
        assert.match(
          yield* failing(yield* database, { timeZone: "Europe/Nowhere" }),
          /^DjangoEngine: timeZone is no time zone\. Give TIME_ZONE of Django's settings.*\(help: option-out-of-range\)$/
        )
      }))

    for (const table of ["", "a b", "django_session; DROP TABLE auth_user", "a.b.c", "\"x\"", "1a"]) {
      it.scopedLive(`does not start with the name ${JSON.stringify(table)} of a table`, () =>
        Effect.gen(function*() {
          assert.match(
            yield* failing(yield* database, { table }),
            /^DjangoEngine: table must be the name of a table.*\(help: table-names-invalid\)$/
          )
        }))
    }

    it.scopedLive("does not start without the table, and the error has the command that makes it", () =>
      Effect.gen(function*() {
        assert.match(
          yield* failing(yield* database, { table: "elsewhere" }),
          /^DjangoEngine: The table elsewhere is missing \(.*elsewhere.*\)\. Run "python manage\.py migrate".*\(help: django-table-unusable\)$/
        )
      }))

    it.scopedLive("does not start without auth_user, unless it is given authHash", () =>
      Effect.gen(function*() {
        const world = yield* Beside.world(open)
        const passwords = yield* world.sql<{ readonly password: string }>`SELECT password FROM auth_user`
        const browser = yield* Beside.loggedIn(world)
        yield* world.sql`ALTER TABLE auth_user RENAME TO shop_user`
        assert.match(
          yield* failing(world.database),
          /^DjangoEngine: The table auth_user is missing.*give authHash\. \(help: django-table-unusable\)$/
        )
        const asked: Array<string> = []
        const server = yield* Beside.start(world.database, {
          authHash: (user) =>
            Effect.sync(() => {
              asked.push(user)
              return user === "1" ? Option.fromNullable(passwords[0]?.password) : Option.none()
            })
        })
        assert.deepStrictEqual(yield* server.run(browser, App.subject), Option.some("1"))
        assert.deepStrictEqual(asked, ["1"])
        const { status } = yield* server.visit(Django.browser(), App.authenticate("uuid-of-nobody"))
        assert.strictEqual(status, 503)
        assert.deepStrictEqual(asked, ["1", "uuid-of-nobody"])
        yield* world.sql`ALTER TABLE shop_user RENAME TO auth_user`
        const here = Django.browser()
        yield* server.run(here, App.authenticate("1"))
        assert.strictEqual((yield* Django.me(here, world.django)).user, "ada")
      }))

    it.scopedLive("answers with 503 if authHash fails or dies, and not with an anonymous session", () =>
      Effect.gen(function*() {
        const world = yield* Beside.world(open)
        const browser = yield* Beside.loggedIn(world)
        for (
          const authHash of [
            () => Effect.fail("down"),
            () => Effect.die(new Error("down")),
            () => {
              throw new Error("down")
            }
          ]
        ) {
          const server = yield* Beside.start(world.database, { authHash })
          assert.strictEqual((yield* server.visit(browser, App.subject)).status, 503)
          assert.isDefined(browser.cookie())
        }
      }))

    it.scopedLive("uses the table, the salt and the backend of its options", () =>
      Effect.gen(function*() {
        const world = yield* Beside.world(open)
        const server = yield* Beside.start(world.database, { backend: "shop.auth.Backend", salt: "shop.SessionStore" })
        const browser = Django.browser()
        yield* server.run(browser, App.authenticate("1"))
        assert.deepStrictEqual(yield* server.run(browser, App.subject), Option.some("1"))
        // Django has another salt.
        assert.strictEqual((yield* Django.me(browser, world.django)).data, "{}")
        const ofBackend = yield* Beside.start(world.database, { backend: "shop.auth.Backend" })
        const other = Django.browser()
        yield* ofBackend.run(other, App.authenticate("1"))
        const data = yield* world.worker.load("db", String(other.cookie()))
        assert.include(data, `"_auth_user_backend":"shop.auth.Backend"`)
        yield* world.sql`ALTER TABLE django_session RENAME TO shop_session`
        const elsewhere = yield* Beside.start(world.database, { table: "shop_session" })
        assert.deepStrictEqual(yield* elsewhere.run(other, App.subject), Option.some("1"))
        if (name === "postgres") {
          const qualified = yield* Beside.start(world.database, { table: "public.shop_session" })
          assert.deepStrictEqual(yield* qualified.run(other, App.subject), Option.some("1"))
        }
      }))

    it.scopedLive("takes its secrets from SECRET_KEY and SECRET_KEY_FALLBACKS", () =>
      Effect.gen(function*() {
        const { client, url } = yield* database
        const worker = yield* Django.worker({ database: url })
        const key = yield* worker.save("db", `{"text":"of Django"}`)
        const ofVariables = (variables: Record<string, string>) =>
          DjangoEngine.layerConfig().pipe(
            Layer.provide(client),
            Layer.provide(Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(variables)))))
          )
        const visited = (variables: Record<string, string>) =>
          Effect.map(
            Effect.flatMap(
              Layer.build(Layer.provide(App.layer, ofVariables(variables))),
              (context) => Effect.provide(visit(App, App.getOption("text"), key), context)
            ).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))),
            ({ result }) => Option.getOrUndefined(result)
          )
        assert.strictEqual(yield* visited({ SECRET_KEY: Django.secretKey }), "of Django")
        assert.strictEqual(
          yield* visited({ SECRET_KEY: "new", SECRET_KEY_FALLBACKS: `older,${Django.secretKey}` }),
          "of Django"
        )
        assert.isUndefined(yield* visited({ SECRET_KEY: "new" }))
        const error = yield* Effect.flip(Layer.build(ofVariables({})))
        assert.match(String(error), /SECRET_KEY/)
        assert.match(String(yield* Effect.flip(Layer.build(ofVariables({ SECRET_KEY: "" })))), /django-key-invalid/)
      }))

    it.scopedLive("shows no secret in its services, and a server none in its logs", () =>
      Effect.gen(function*() {
        const { client } = yield* database
        const context = yield* Layer.build(
          App.layer.pipe(
            Layer.provideMerge(
              DjangoEngine.layer({
                ...engineOptions,
                secretKey: Redacted.make(secret),
                fallbacks: [Redacted.make(secret)]
              })
            ),
            Layer.provide(client)
          )
        )
        const shown = inspect(context, { depth: 50, showHidden: true, getters: true })
        assert.include(shown, "SessionEngine")
        assert.notInclude(shown, secret)
        assert.notInclude(JSON.stringify(context), secret)
      }))

    const privileges = granted[name]
    if (privileges !== undefined) {
      const all = "SELECT, INSERT, UPDATE, DELETE"
      for (const missing of all.split(", ")) {
        it.scopedLive(`does not start for a user without ${missing} on the table`, () =>
          Effect.gen(function*() {
            const some = all.split(", ").filter((one) => one !== missing).join(", ")
            assert.match(
              yield* failing(yield* privileges(yield* database, some, "SELECT")),
              /^DjangoEngine: The table django_session may not be used by this user of the database \(.*\)\. Grant the user SELECT, INSERT, UPDATE and DELETE on it\. \(help: django-table-unusable\)$/
            )
          }))
      }

      it.scopedLive("does not start for a user who may not read auth_user, unless it is given authHash", () =>
        Effect.gen(function*() {
          const restricted = yield* privileges(yield* database, all, "")
          assert.match(
            yield* failing(restricted),
            /^DjangoEngine: The table auth_user may not be used.*Grant the user SELECT on it.*give authHash\. \(help: django-table-unusable\)$/
          )
          const server = yield* Beside.start(restricted, { authHash: () => Effect.succeedNone })
          const browser = Django.browser()
          yield* server.run(browser, App.set("count", 1))
          yield* server.run(browser, App.rotate)
          yield* server.run(browser, App.destroy)
        }))

      it.scopedLive("serves a user who may do no more than it needs", () =>
        Effect.gen(function*() {
          const server = yield* Beside.start(yield* privileges(yield* database, all, "SELECT"))
          const browser = Django.browser()
          yield* server.run(browser, App.authenticate("1"))
          assert.deepStrictEqual(yield* server.run(browser, App.subject), Option.some("1"))
          yield* server.run(browser, App.destroy)
          yield* server.maintenance.removeExpired({ now: 0, limit: 1 })
        }))
    } else {
      it.scopedLive("does not start on a file that cannot be written", () =>
        Effect.gen(function*() {
          const { url } = yield* database
          const filename = url.slice("sqlite:".length)
          assert.match(
            yield* failing({ client: SqliteClient.layer({ filename, readonly: true }) }),
            /^DjangoEngine: The database is read-only \(.*\)\..*let this process write the file.*\(help: django-table-unusable\)$/
          )
        }))
    }
  })
}
