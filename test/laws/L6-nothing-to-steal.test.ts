import * as NodeContext from "@effect/platform-node/NodeContext"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as SqlClient from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import { FileStore } from "effect-session"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import { readdirSync, readFileSync, statSync } from "node:fs"
import * as Path from "node:path"
import { inspect } from "node:util"
import { assert, describe } from "vitest"
import * as Tokens from "../../src/internal/crypto/sessionToken.js"
import { freshPrefix, sqliteClient, sqlStore } from "../support/localStores.js"
import { mysqlClient, ofMariadb, postgresClient } from "../support/serverClients.js"
import * as Shop from "../support/shop.js"
import { begin, ok, ShopSession, show } from "../support/shop.js"
import { stores } from "../support/stores.js"
import { temporaryDirectory } from "../support/temporaryDirectories.js"

/** All encodings from which the token could be recovered. */
const encodings = (token: string): ReadonlyArray<string> => {
  const bytes = Buffer.from(token.slice(3), "base64url")
  return [token, token.slice(3), bytes.toString("hex"), bytes.toString("base64"), bytes.toString("latin1")]
}

const assertAbsent = (token: string, where: string, text: string) => {
  for (const encoding of encodings(token)) assert.isFalse(text.includes(encoding), `the token is in ${where}`)
}

/** Runs requests that create, read, change and rotate a session, and that fail. Returns its tokens. */
const useSession = (shop: Shop.Shop) =>
  Effect.gen(function*() {
    const first = yield* begin(shop)
    yield* shop.request(show(ShopSession.value), first)
    yield* shop.request(Effect.zipRight(ShopSession.update("count", (n) => n + 1), ok), first)
    const second = yield* Effect.flatMap(
      shop.request(Effect.zipRight(ShopSession.authenticate("ann"), ok), first),
      Shop.cookieOf
    )
    yield* shop.request(show(ShopSession.value), first)
    yield* shop.request(show(ShopSession.value), `${second}; ${Shop.cookieName}=${first}`)
    yield* shop.request(Effect.zipRight(ShopSession.update("count", () => Number.NaN), ok), second)
    shop.intercept = (operation) =>
      Effect.fail(new SessionStoreError({ operation, reason: "unavailable", cause: new Error("gone") }))
    yield* shop.request(show(ShopSession.value), second)
    yield* shop.request(Effect.zipRight(ShopSession.destroy, ok), second)
    shop.intercept = (operation, call) => operation === "save" ? Effect.dieMessage("broken") : call
    yield* shop.request(Effect.zipRight(ShopSession.set("count", 9), ok), second)
    shop.intercept = (_, call) => call
    return [first, second]
  })

for (const [name, layer] of stores) {
  describe(`L6 nothing to steal: no output contains a token (${name})`, () => {
    it.live("no log line, span or response body contains a token", () =>
      Effect.gen(function*() {
        const shop = yield* Shop.make(layer(), { remote: true })
        const bodies: Array<string> = []
        const request = shop.request
        Object.assign(shop, {
          request: (...args: Parameters<typeof request>) =>
            Effect.tap(request(...args), (answer) => Effect.sync(() => bodies.push(answer.body)))
        })
        const tokens = yield* useSession(shop)
        assert.isAbove(shop.logs.length, 0)
        assert.isAbove(shop.spans.length, 0)
        assert.isAbove(bodies.length, 0)
        for (const token of tokens) {
          assertAbsent(token, "a log line", shop.logs.join("\n"))
          assertAbsent(token, "a span", shop.spans.join("\n"))
          assertAbsent(token, "a body", bodies.join("\n"))
        }
      }).pipe(Effect.scoped, Effect.orDie))

    it.live("no string output of the handle contains a token", () =>
      Effect.gen(function*() {
        const shop = yield* Shop.make(layer())
        const cookie = yield* begin(shop)
        const answer = yield* shop.request(
          Effect.gen(function*() {
            const session = yield* ShopSession
            yield* session.get("user")
            yield* session.rotate
            yield* session.save
            return HttpServerResponse.text([
              inspect(session, { depth: 20, showHidden: true }),
              JSON.stringify(session),
              String(session)
            ].join("\n"))
          }),
          cookie
        )
        assertAbsent(cookie, "the handle", answer.body)
        assertAbsent(yield* Shop.cookieOf(answer), "the handle", answer.body)
      }).pipe(Effect.scoped, Effect.orDie))
  })
}

describe("L6 nothing to steal: a copy of the store contains no token", () => {
  const clients: ReadonlyArray<readonly [string, Layer.Layer<SqlClient.SqlClient, unknown>]> = [
    ["sqlite", sqliteClient],
    ["postgres", postgresClient()],
    ...ofMariadb(["mariadb", mysqlClient()] as const)
  ]
  for (const [name, client] of clients) {
    it.live(`no table contains a token (${name})`, () =>
      Effect.gen(function*() {
        const prefix = freshPrefix()
        const context = yield* Layer.build(sqlStore(client, prefix))
        const shop = yield* Shop.make(Layer.succeedContext(Context.pick(SessionStore)(context)))
        const tokens = yield* useSession(shop)
        const sql = Context.get(context, SqlClient.SqlClient)
        const rows = yield* sql.unsafe(`SELECT * FROM ${prefix}sessions`)
        const epochs = yield* sql.unsafe(`SELECT * FROM ${prefix}session_epochs`)
        assert.isAbove(rows.length, 0)
        const ends = yield* sql.unsafe(`SELECT * FROM ${prefix}session_ends`)
        const dump = inspect([rows, epochs, ends], { depth: 10, maxStringLength: null })
        for (const token of tokens) assertAbsent(token, "the database", dump)
      }).pipe(Effect.scoped, Effect.orDie))
  }

  it.live("no name and no content of a file contains a token", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryDirectory("files")
      const shop = yield* Shop.make(Layer.provide(FileStore.layer({ directory }), NodeContext.layer))
      const tokens = yield* useSession(shop)
      const names = readdirSync(directory, { recursive: true, encoding: "utf8" })
      const files = names.map((name) => Path.join(directory, name)).filter((path) => statSync(path).isFile())
      const contents = files.map((path) => readFileSync(path, "latin1"))
      assert.isAbove(contents.join("").length, 0)
      for (const token of tokens) assertAbsent(token, "the directory", [...names, ...contents].join("\n"))
    }).pipe(Effect.scoped, Effect.orDie))
})

describe("L6 nothing to steal: SessionToken", () => {
  it("is redacted in every string output", () => {
    const token = Tokens.fromBytes(new Uint8Array(32).fill(7))
    for (const printed of [inspect(token, { showHidden: true }), JSON.stringify(token), String(token), `${token}`]) {
      assertAbsent(Redacted.value(token), "print", printed)
    }
  })
})
