/** Tokens against forged requests: their masks, and the sessions that they are valid for. */
import { it } from "@effect/vitest"
import { Effect, FastCheck as fc, Layer, Option, Redacted, Schema } from "effect"
import { CookieEngine, Csrf, MemoryEngine, MemoryStore, Session, SessionEngine, StoredEngine } from "effect-session"
import { FaultyStore } from "effect-session/testing"
import { assert, describe } from "vitest"
import { isTokenOf, mask } from "../../../src/internal/session/forgery.js"
import { Handle } from "../../../src/internal/session/handle.js"
import { firstKey, keyringOf } from "../../support/keyrings.js"
import { visit } from "../../support/requestWithoutHttp.js"

const proofs = fc.uint8Array({ minLength: 32, maxLength: 32 })

describe("the mask", () => {
  it.prop("a masked proof is valid for that proof and for no other", [proofs, proofs], ([proof, other]) => {
    const token = mask(proof)
    assert.isTrue(isTokenOf(proof, token))
    assert.strictEqual(isTokenOf(other, token), Buffer.compare(proof, other) === 0)
  })

  it.prop("a proof is masked anew each time, so no two tokens are equal", [proofs], ([proof]) => {
    assert.strictEqual(new Set(Array.from({ length: 20 }, () => mask(proof))).size, 20)
  })

  it.prop("a token with any one bit changed is not valid", [proofs], ([proof]) => {
    const bytes = Buffer.from(mask(proof), "base64url")
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Uint8Array.from(bytes)
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      assert.isFalse(isTokenOf(proof, Buffer.from(changed).toString("base64url")))
    }
  })

  it.prop(
    "any other text is not valid: random, cut, longer, padded, or in the other alphabet",
    [proofs, fc.oneof(fc.string(), fc.base64String({ minLength: 80, maxLength: 92 }))],
    ([proof, text]) => {
      const token = mask(proof)
      const others = [text, token.slice(0, -1), `${token}A`, `${token}==`, ` ${token}`, `${token}\n`, token.slice(43)]
      for (const other of others) assert.isFalse(isTokenOf(proof, other))
      const inOther = token.replaceAll("-", "+").replaceAll("_", "/")
      assert.strictEqual(isTokenOf(proof, inOther), inOther === token)
    }
  )

  it("text with spare bits set in its last character is not valid", () => {
    const proof = new Uint8Array(32).fill(7)
    const token = mask(proof)
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    const last = alphabet.indexOf(token.slice(-1))
    for (const spare of [1, 2, 3]) {
      assert.isFalse(isTokenOf(proof, `${token.slice(0, -1)}${alphabet[last + spare]}`))
    }
  })
})

class App extends Session.Tag<App>()("test/Csrf", {
  schema: Schema.Struct({ n: Schema.optionalWith(Schema.Number, { default: () => 0 }) })
}) {}

const engines: ReadonlyArray<readonly [name: string, engine: Layer.Layer<SessionEngine.SessionEngine, unknown>]> = [
  ["MemoryEngine", MemoryEngine.layer],
  [
    "StoredEngine over a remote store",
    StoredEngine.layer.pipe(
      Layer.provide(FaultyStore.layerIntercepted((_, call) => call, true)),
      Layer.provide(MemoryStore.layer)
    )
  ],
  [
    "CookieEngine with a ledger",
    CookieEngine.layerLedgerWith({ timeout: "1 minute" }).pipe(
      Layer.provide(keyringOf(firstKey)),
      Layer.provide(MemoryStore.layer)
    )
  ],
  ["CookieEngine", Layer.provide(CookieEngine.layer, keyringOf(firstKey))]
]

/** Returns whether a token is valid for the session of a cookie; `undefined` without one. */
const verify = (cookie: string | undefined, token: Option.Option<string>) =>
  Effect.map(
    visit(
      App,
      Effect.flatMap(App, (session) => Handle.forgeryOf(session)?.verify ?? Effect.dieMessage("not a handle")),
      cookie
    ),
    ({ result }) => Option.getOrUndefined(Option.map(result, (verify) => verify(Option.getOrElse(token, () => "none"))))
  )

const token = Csrf.token(App)

/** Two requests with the same cookie: `during` runs and ends while the first one has its token and is not committed. */
const interleaved = <E, E2>(
  cookie: string,
  first: Effect.Effect<void, E, App>,
  during: Effect.Effect<void, E2, App>
) =>
  Effect.gen(function*() {
    const service = yield* App.service
    const session = service.request(`${service.cookie.name}=${cookie}`)
    const token = yield* Effect.provideService(Effect.zipRight(first, Csrf.token(App)), App, session)
    yield* visit(App, during, cookie)
    const error = yield* session.finish(200)
    const setCookie = session.used?.setCookie
    return {
      token,
      error,
      cookie: setCookie === undefined || setCookie === "expire" ? undefined : Redacted.value(setCookie.value)
    }
  })

describe("the session that a token is valid for", () => {
  for (const [name, engine] of engines) {
    const test = <E>(
      title: string,
      effect: Effect.Effect<void, E, Layer.Layer.Success<typeof App.layer>>
    ) => it.effect(`${name}: ${title}`, () => Effect.provide(effect, Layer.provide(App.layer, engine)))

    test(
      "there is no token without a session, and asking creates none",
      Effect.gen(function*() {
        const { result, setCookie, error } = yield* visit(App, token)
        assert.deepStrictEqual([result, setCookie, error], [Option.none(), undefined, undefined])
      })
    )

    test(
      "a token stays valid after saves, differs each time, and ends with a rotation and with the session",
      Effect.gen(function*() {
        const login = yield* visit(App, App.authenticate("ann"))
        const first = yield* visit(App, token, login.cookie)
        const saved = yield* visit(App, Effect.zipRight(App.update("n", (n) => n + 1), token), login.cookie)
        assert.isTrue(yield* verify(saved.cookie, first.result))
        assert.isTrue(yield* verify(saved.cookie, saved.result))
        assert.notDeepEqual(first.result, saved.result)
        const rotated = yield* visit(App, App.rotate, saved.cookie)
        assert.isFalse(yield* verify(rotated.cookie, first.result))
        const ended = yield* visit(App, Effect.zipRight(App.destroy, token), rotated.cookie)
        assert.deepStrictEqual([ended.result, ended.setCookie], [Option.none(), "expire"])
      })
    )

    test(
      "a token is of one session: another session of the same subject refuses it",
      Effect.gen(function*() {
        const [a, b] = yield* Effect.all([
          visit(App, Effect.zipRight(App.authenticate("ann"), token)),
          visit(App, Effect.zipRight(App.authenticate("ann"), token))
        ])
        assert.deepStrictEqual(
          yield* Effect.all([
            verify(a.cookie, a.result),
            verify(a.cookie, b.result),
            verify(b.cookie, a.result),
            verify(b.cookie, b.result)
          ]),
          [true, false, false, true]
        )
      })
    )

    const changes: ReadonlyArray<readonly [title: string, change: Effect.Effect<void, unknown, App>]> = [
      ["a rotation", App.rotate],
      ["a login of the same subject", App.authenticate("ann")],
      ["a login of another subject", App.authenticate("bob")],
      ["a logout and a new session", Effect.zipRight(App.destroy, App.set("n", 9))],
      ["a rotation that was saved by the handler", Effect.zipRight(App.rotate, App.save)],
      ["a rotation after a saved one", Effect.all([App.rotate, App.save, App.rotate], { discard: true })]
    ]
    for (const [title, change] of changes) {
      test(
        `the page of the answer to ${title} gets tokens for the session that the answer leaves`,
        Effect.gen(function*() {
          const before = yield* visit(App, Effect.zipRight(App.authenticate("ann"), token))
          const { cookie, error, result } = yield* visit(
            App,
            Effect.zipRight(change, Effect.all([token, token])),
            before.cookie
          )
          assert.isUndefined(error)
          for (const one of result) assert.isTrue(yield* verify(cookie, one))
          assert.isFalse(yield* verify(cookie, before.result))
        })
      )
    }

    test(
      "the page that creates a session gets a token for it, also if it logs in after the token was made",
      Effect.gen(function*() {
        const created = yield* visit(App, Effect.zipRight(App.set("n", 1), token))
        assert.isTrue(yield* verify(created.cookie, created.result))
        const login = yield* visit(
          App,
          Effect.all([App.set("n", 1), token, App.authenticate("ann")]).pipe(Effect.map(([, token]) => token))
        )
        assert.isTrue(yield* verify(login.cookie, login.result))
      })
    )

    test(
      "a change that is discarded or rolled back leaves the token of the session as it was",
      Effect.gen(function*() {
        const { cookie } = yield* visit(App, App.authenticate("ann"))
        const discarded = yield* visit(App, Effect.all([App.rotate, App.discard, token]), cookie)
        assert.isTrue(yield* verify(cookie, discarded.result[2]))
        const rolledBack = yield* visit(
          App,
          Effect.zipRight(Effect.ignore(App.withRollback(Effect.zipRight(App.rotate, Effect.fail("no")))), token),
          cookie
        )
        assert.isTrue(yield* verify(rolledBack.cookie, rolledBack.result))
      })
    )
  }

  for (const [name, engine] of engines) {
    const test = <E>(title: string, effect: Effect.Effect<void, E, Layer.Layer.Success<typeof App.layer>>) =>
      it.live(`${name}: ${title}`, () => Effect.provide(effect, Layer.provide(App.layer, engine)))

    // With a cookie engine a concurrent save is a conflict, or its update is lost.
    if (!name.startsWith("CookieEngine")) {
      test(
        "a token of a rotation is valid although another request has saved the session meanwhile",
        Effect.gen(function*() {
          const { cookie } = yield* visit(App, App.authenticate("ann"))
          assert.isDefined(cookie)
          const { error, ...after } = yield* interleaved(cookie ?? "", App.rotate, App.update("n", (n) => n + 1))
          assert.isUndefined(error)
          assert.isTrue(yield* verify(after.cookie, after.token))
          assert.strictEqual((yield* visit(App, App.get("n"), after.cookie)).result, 1)
        })
      )
    }

    test(
      "a token of a login is valid although the session has ended meanwhile, and a new one was created",
      Effect.gen(function*() {
        const { cookie } = yield* visit(App, App.authenticate("ann"))
        const { error, ...after } = yield* interleaved(cookie ?? "", App.authenticate("ann"), App.destroy)
        assert.isUndefined(error)
        assert.isTrue(yield* verify(after.cookie, after.token))
      })
    )
  }
})

it.effect("an engine without a secret for tokens fails with the reason", () =>
  Effect.gen(function*() {
    const { cookie } = yield* visit(App, App.authenticate("ann"))
    const { cause } = yield* Effect.flip(Effect.sandbox(visit(App, token, cookie))).pipe(
      Effect.map((cause) => ({ cause: String(cause) }))
    )
    assert.include(cause, "implement secretOf of its BoundEngine")
  }).pipe(Effect.provide(Layer.provide(
    App.layer,
    Layer.effect(
      SessionEngine.SessionEngine,
      Effect.map(SessionEngine.SessionEngine, ({ bind }) => ({
        bind: (scope: SessionEngine.Scope) =>
          Effect.map(bind(scope), (engine) => {
            const { secretOf: _, synchronous: __, ...without } = engine
            return without
          })
      }))
    ).pipe(Layer.provide(MemoryEngine.layer))
  ))))
