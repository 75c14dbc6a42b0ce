/**
 * Cookie sessions with a ledger: which cookies are accepted after lost responses and concurrent requests.
 */
import { it } from "@effect/vitest"
import { Effect, Layer, TestClock } from "effect"
import { Lifetime, MemoryStore } from "effect-session"
import * as CookieEngine from "effect-session/CookieEngine"
import { SessionStore } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import { firstKey, keyringOf, secondKey } from "./support/keyrings.js"
import { far, increment, on, read, type Served, Tea } from "./support/ledgerEngines.js"
import { visit } from "./support/requestWithoutHttp.js"
import { recordsIn } from "./support/scanPages.js"

const law = (title: string, body: Effect.Effect<void, unknown, Served>) =>
  it.effect(title, () => Effect.provide(body, on(MemoryStore.make())))

describe("ending a session", () => {
  law(
    "a logout also ends copies of the cookie",
    Effect.gen(function*() {
      const { cookie } = yield* visit(Tea, increment)
      yield* visit(Tea, Tea.destroy, cookie)
      assert.strictEqual((yield* visit(Tea, read, cookie)).result, 0)
    })
  )

  for (
    const [title, revoke] of [
      ["its subject", Effect.flatMap(Tea.service, (service) => service.revokeSubject("ann"))],
      ["all sessions", Effect.flatMap(Tea.service, (service) => service.revokeAll)]
    ] as const
  ) {
    law(
      `a revocation of ${title} ends the session`,
      Effect.gen(function*() {
        const { cookie } = yield* visit(Tea, Effect.zipRight(Tea.authenticate("ann"), increment))
        assert.strictEqual((yield* visit(Tea, read, cookie)).result, 1)
        yield* revoke
        assert.strictEqual((yield* visit(Tea, read, cookie)).result, 0)
      })
    )
  }

  for (
    const [title, rotation] of [
      ["another login", Tea.authenticate("ann")],
      ["rotate", Tea.rotate]
    ] as const
  ) {
    law(
      `${title} rejects every older cookie at once, also if the browser never receives the new one`,
      Effect.gen(function*() {
        const one = yield* visit(Tea, Effect.zipRight(Tea.authenticate("ann"), increment))
        const two = yield* visit(Tea, increment, one.cookie)
        yield* TestClock.adjust("1 second")
        const three = yield* visit(Tea, rotation, two.cookie)
        for (const { cookie } of [one, two]) assert.strictEqual((yield* visit(Tea, read, cookie)).result, 0)
        assert.strictEqual((yield* visit(Tea, read, three.cookie)).result, 2)
      })
    )
  }

  law(
    "a logout is not undone by a concurrent touch",
    Effect.gen(function*() {
      const { cookie } = yield* visit(Tea, increment)
      yield* TestClock.adjust("3 minutes")
      const touch = yield* visit(Tea, Effect.zipRight(read, visit(Tea, Tea.destroy, cookie)), cookie)
      assert.deepStrictEqual([touch.error, touch.setCookie], [undefined, undefined])
      assert.strictEqual((yield* visit(Tea, read, cookie)).result, 0)
    })
  )
})

describe("two requests with one cookie", () => {
  law(
    "both save: the later one is a conflict, and the first save is kept",
    Effect.gen(function*() {
      const one = yield* visit(Tea, increment)
      const two = yield* visit(Tea, increment, one.cookie)
      const late = yield* visit(Tea, increment, one.cookie)
      assert.deepStrictEqual([late.error?._tag, late.setCookie], ["SessionConflict", undefined])
      assert.strictEqual((yield* visit(Tea, read, two.cookie)).result, 2)
    })
  )

  law(
    "five save concurrently: one succeeds, and the others are conflicts",
    Effect.gen(function*() {
      const one = yield* visit(Tea, increment)
      const all = yield* Effect.all(Array.from({ length: 5 }, () => visit(Tea, increment, one.cookie)), {
        concurrency: "unbounded"
      })
      const [saved, ...others] = all.filter(({ error }) => error === undefined)
      assert.deepStrictEqual([others.length, (yield* visit(Tea, read, saved?.cookie)).result], [0, 2])
      for (const { error } of all) assert.include([undefined, "SessionConflict"], error?._tag)
    })
  )

  it.effect("both save, with onGone \"discard\": the later one is still a conflict", () =>
    Effect.gen(function*() {
      const one = yield* visit(Tea, increment)
      yield* visit(Tea, increment, one.cookie)
      assert.strictEqual((yield* visit(Tea, increment, one.cookie)).error?._tag, "SessionConflict")
    }).pipe(Effect.provide(on(MemoryStore.make(), { session: Tea.layerWith({ onGone: "discard" }) }))))

  law(
    "one saves and one reads after the touch window: the read sends no cookie, which would replace the saved one",
    Effect.gen(function*() {
      const one = yield* visit(Tea, increment)
      yield* TestClock.adjust("3 minutes")
      const saved = yield* visit(Tea, increment, one.cookie)
      const touched = yield* visit(Tea, read, one.cookie)
      assert.deepStrictEqual([touched.result, touched.error, touched.setCookie], [1, undefined, undefined])
      yield* TestClock.adjust("11 seconds")
      assert.strictEqual((yield* visit(Tea, read, saved.cookie)).result, 2)
    })
  )

  law(
    "one logs in: the later one fails with SessionGone or SessionConflict",
    Effect.gen(function*() {
      const one = yield* visit(Tea, increment)
      yield* visit(Tea, Tea.authenticate("ann"), one.cookie)
      assert.strictEqual((yield* visit(Tea, increment, one.cookie)).result, undefined)
      const two = yield* visit(Tea, increment)
      const crossed = yield* visit(
        Tea,
        Effect.zipRight(increment, visit(Tea, Tea.authenticate("ann"), two.cookie)),
        two.cookie
      )
      assert.strictEqual(crossed.error?._tag, "SessionGone")
      const three = yield* visit(Tea, increment)
      const late = yield* visit(
        Tea,
        Effect.zipRight(Tea.authenticate("ann"), visit(Tea, increment, three.cookie)),
        three.cookie
      )
      assert.strictEqual(late.error?._tag, "SessionConflict")
    })
  )
})

describe("using a session", () => {
  law(
    "is recorded in the ledger: the cookie does not change, and stays valid while the session is used",
    Effect.gen(function*() {
      const { cookie } = yield* visit(Tea, increment)
      for (let i = 0; i < 5; i++) {
        yield* TestClock.adjust("19 minutes")
        const { setCookie, result } = yield* visit(Tea, read, cookie)
        assert.deepStrictEqual([result, setCookie], [1, undefined])
      }
      yield* TestClock.adjust("20 minutes")
      assert.strictEqual((yield* visit(Tea, read, cookie)).result, 0)
    })
  )

  law(
    "never extends the absolute limit",
    Effect.gen(function*() {
      let { cookie } = yield* visit(Tea, increment)
      for (let minutes = 10; minutes < 8 * 60; minutes += 10) {
        yield* TestClock.adjust("10 minutes")
        cookie = (yield* visit(Tea, minutes % 20 === 0 ? increment : read, cookie)).cookie
      }
      assert.strictEqual((yield* visit(Tea, read, cookie)).result, 24)
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual((yield* visit(Tea, read, cookie)).result, 0)
    })
  )

  law(
    "sends a new generation if the cookie has a Max-Age that slides: of a touch and a save of one cookie, one succeeds",
    Effect.gen(function*() {
      const one = yield* visit(Tea, Effect.zipRight(increment, Tea.setExpiry(Lifetime.inactivity("20 minutes"))))
      yield* TestClock.adjust("3 minutes")
      const touched = yield* visit(Tea, read, one.cookie)
      assert.notStrictEqual(touched.cookie, one.cookie)
      assert.strictEqual((yield* visit(Tea, increment, one.cookie)).error?._tag, "SessionConflict")
      // The browser has presented the new cookie: none is sent until the touch window has passed again.
      assert.isUndefined((yield* visit(Tea, read, touched.cookie)).setCookie)
      const saved = yield* visit(Tea, increment, touched.cookie)
      yield* TestClock.adjust("3 minutes")
      const late = yield* visit(Tea, Effect.zipRight(read, visit(Tea, increment, saved.cookie)), saved.cookie)
      assert.deepStrictEqual([late.error, late.setCookie], [undefined, undefined])
    })
  )

  it.effect("costs one read; acknowledging a new cookie costs one write, which includes a due touch", () => {
    const { served, taken } = far()
    return Effect.gen(function*() {
      const one = yield* visit(Tea, increment)
      assert.deepStrictEqual(taken(), ["create"])
      yield* visit(Tea, Effect.void, one.cookie)
      assert.deepStrictEqual(taken(), [])
      yield* visit(Tea, read, one.cookie)
      assert.deepStrictEqual(taken(), ["load"])
      const two = yield* visit(Tea, increment, one.cookie)
      assert.deepStrictEqual(taken(), ["load", "save"])
      yield* visit(Tea, read, two.cookie)
      assert.deepStrictEqual(taken(), ["load", "save"])
      yield* visit(Tea, read, two.cookie)
      assert.deepStrictEqual(taken(), ["load"])
      const three = yield* visit(Tea, increment, two.cookie)
      const four = yield* visit(Tea, increment, three.cookie)
      assert.deepStrictEqual(taken(), ["load", "save", "load", "save"])
      yield* TestClock.adjust("3 minutes")
      yield* visit(Tea, read, four.cookie)
      assert.deepStrictEqual(taken(), ["load", "save"])
      yield* TestClock.adjust("3 minutes")
      yield* visit(Tea, read, four.cookie)
      assert.deepStrictEqual(taken(), ["load", "touch"])
      const five = yield* visit(Tea, Tea.rotate, four.cookie)
      assert.deepStrictEqual(taken(), ["load", "save"])
      yield* visit(Tea, read, five.cookie)
      assert.deepStrictEqual(taken(), ["load"])
    }).pipe(Effect.provide(served))
  })
})

describe("an older generation", () => {
  law(
    "is readable until ten seconds after a newer one was presented, and rejected after that",
    Effect.gen(function*() {
      const one = yield* visit(Tea, increment)
      const two = yield* visit(Tea, increment, one.cookie)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* visit(Tea, read, two.cookie)).result, 2)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* visit(Tea, read, one.cookie)).result, 1)
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* visit(Tea, read, one.cookie)).result, 0)
      assert.strictEqual((yield* visit(Tea, read, two.cookie)).result, 2)
    })
  )

  law(
    "is readable for the same ten seconds if a request with the newer one has saved",
    Effect.gen(function*() {
      const one = yield* visit(Tea, increment)
      const two = yield* visit(Tea, increment, one.cookie)
      const three = yield* visit(Tea, increment, two.cookie)
      for (const [i, { cookie }] of [one, two, three].entries()) {
        assert.strictEqual((yield* visit(Tea, read, cookie)).result, i + 1)
      }
      yield* TestClock.adjust("11 seconds")
      assert.strictEqual((yield* visit(Tea, read, one.cookie)).result, 0)
      assert.strictEqual((yield* visit(Tea, read, three.cookie)).result, 3)
    })
  )

  law(
    "whose successor was lost with its response is readable for an hour and writable after ten seconds, and a write rejects the lost one",
    Effect.gen(function*() {
      const one = yield* visit(Tea, increment)
      const lost = yield* visit(Tea, increment, one.cookie)
      assert.strictEqual((yield* visit(Tea, increment, one.cookie)).error?._tag, "SessionConflict")
      for (let i = 0; i < 6; i++) {
        yield* TestClock.adjust("10 minutes")
        const { setCookie, result } = yield* visit(Tea, read, one.cookie)
        assert.deepStrictEqual([result, setCookie], [1, undefined])
      }
      const again = yield* visit(Tea, Tea.update("count", (n) => n + 100), one.cookie)
      assert.isUndefined(again.error)
      assert.strictEqual((yield* visit(Tea, read, again.cookie)).result, 101)
      assert.strictEqual((yield* visit(Tea, read, lost.cookie)).result, 0)
    })
  )

  law(
    "presented by a slow request, during which another one saves: its save is a conflict, although ten seconds have passed",
    Effect.gen(function*() {
      const one = yield* visit(Tea, increment)
      const saving = Effect.zipLeft(visit(Tea, increment, one.cookie), TestClock.adjust("1 minute"))
      const slow = yield* visit(Tea, Effect.zipRight(increment, saving), one.cookie)
      assert.strictEqual(slow.error?._tag, "SessionConflict")
      assert.strictEqual((yield* visit(Tea, read, slow.result.cookie)).result, 2)
    })
  )

  law(
    "does not make a save of the current one conflict if that one is acknowledged meanwhile",
    Effect.gen(function*() {
      const one = yield* visit(Tea, increment)
      const two = yield* visit(Tea, increment, one.cookie)
      const three = yield* visit(Tea, Effect.zipRight(increment, visit(Tea, read, two.cookie)), two.cookie)
      assert.isUndefined(three.error)
      assert.strictEqual((yield* visit(Tea, read, three.cookie)).result, 3)
    })
  )
})

describe("a new first key", () => {
  law(
    "seals the current generation again, and sends no older one",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const later = Effect.provide(on(store, { keys: keyringOf(secondKey, firstKey) }))
      const one = yield* visit(Tea, increment)
      const two = yield* visit(Tea, increment, one.cookie)
      assert.deepStrictEqual((yield* later(visit(Tea, read, one.cookie))).setCookie, undefined)
      const sealed = yield* later(visit(Tea, read, two.cookie))
      assert.match(sealed.cookie ?? "", /^e1\.k2\./)
      assert.strictEqual((yield* later(visit(Tea, read, sealed.cookie))).result, 2)
      // Sealing it again does not extend the session.
      yield* TestClock.adjust("20 minutes")
      assert.strictEqual((yield* later(visit(Tea, read, sealed.cookie))).result, 0)
    })
  )
})

law(
  "the ledger contains no session data",
  Effect.gen(function*() {
    yield* visit(Tea, Tea.set("notes", "a secret"))
    const store = yield* SessionStore
    const stored = recordsIn(yield* store.scan("test/Tea", { limit: 10, now: 0 }))
    assert.deepStrictEqual(stored.map(({ data }) => data), [`{"current":1,"fading":[]}`])
  })
)

law(
  "a session too large for its cookie fails with SessionTooLarge before the ledger is written",
  Effect.gen(function*() {
    const one = yield* visit(Tea, increment)
    const large = yield* visit(Tea, Tea.set("notes", "x".repeat(4000)), one.cookie)
    assert.strictEqual(large.error?._tag, "SessionTooLarge")
    assert.isUndefined((yield* visit(Tea, increment, one.cookie)).error)
  })
)

for (
  const [title, engine] of [["", CookieEngine.layer], [", with a ledger", CookieEngine.layerLedger]] as const
) {
  it.effect(`save over a socket, which cannot send a cookie, fails with SessionCommitted${title}`, () =>
    Effect.gen(function*() {
      const { cookie } = yield* visit(Tea, increment)
      const service = yield* Tea.service
      const session = service.request(`${service.cookie.name}=${cookie}`)
      session.detach()
      yield* session.update("count", (n) => n + 1)
      assert.strictEqual((yield* Effect.flip(session.save))._tag, "SessionCommitted")
      assert.strictEqual((yield* visit(Tea, read, cookie)).result, 1)
    }).pipe(Effect.provide(Tea.layer.pipe(
      Layer.provide(engine),
      Layer.provide(keyringOf(firstKey)),
      Layer.provide(MemoryStore.layer)
    ))))
}
