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

describe("an end", () => {
  law(
    "by logout is one for every copy",
    Effect.gen(function*() {
      const { cookie } = yield* visit(Tea, increment)
      yield* visit(Tea, Tea.destroy, cookie)
      assert.strictEqual((yield* visit(Tea, read, cookie)).result, 0)
    })
  )

  for (
    const [title, revoke] of [
      ["its subject", Effect.flatMap(Tea.service, (service) => service.revokeSubject("ann"))],
      ["everyone", Effect.flatMap(Tea.service, (service) => service.revokeAll)]
    ] as const
  ) {
    law(
      `by a revocation of ${title} is one`,
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
      ["a new cookie", Tea.rotate]
    ] as const
  ) {
    law(
      `by ${title} is one of every older cookie, at once; who never gets the new one is out`,
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
    "of a session by a logout is not undone by a touch in flight",
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
    "that save: the later one is a conflict, and nothing is lost",
    Effect.gen(function*() {
      const one = yield* visit(Tea, increment)
      const two = yield* visit(Tea, increment, one.cookie)
      const late = yield* visit(Tea, increment, one.cookie)
      assert.deepStrictEqual([late.error?._tag, late.setCookie], ["SessionConflict", undefined])
      assert.strictEqual((yield* visit(Tea, read, two.cookie)).result, 2)
    })
  )

  law(
    "that save at the very same time, too",
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

  it.effect("that save, with changes to ended sessions discarded: a conflict is reported as no session", () =>
    Effect.gen(function*() {
      const one = yield* visit(Tea, increment)
      yield* visit(Tea, increment, one.cookie)
      assert.strictEqual((yield* visit(Tea, increment, one.cookie)).error?._tag, "SessionConflict")
    }).pipe(Effect.provide(on(MemoryStore.make(), { session: Tea.layerWith({ onGone: "discard" }) }))))

  law(
    "one of which only reads, past the touch window: it sends no cookie that would replace the saved one",
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
    "one of which logs in: the later one is gone, or a conflict",
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

describe("the use of a session", () => {
  law(
    "is written down in the ledger: the cookie stays, and is good as long as it is used",
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
    "never moves the absolute limit",
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
    "sends a cookie that would run out again, as a new generation: of it and a save one is done",
    Effect.gen(function*() {
      const one = yield* visit(Tea, Effect.zipRight(increment, Tea.setExpiry(Lifetime.inactivity("20 minutes"))))
      yield* TestClock.adjust("3 minutes")
      const touched = yield* visit(Tea, read, one.cookie)
      assert.notStrictEqual(touched.cookie, one.cookie)
      assert.strictEqual((yield* visit(Tea, increment, one.cookie)).error?._tag, "SessionConflict")
      // It has come back: nothing more is sent until the window has passed again.
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
    "can be read until ten seconds after a newer one has come back, and no longer",
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
    "can be read for as long when the newer one has saved in its turn",
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
    "is all that a browser has which never got the answer: read for an hour, written after ten seconds, and from then on the lost one is nothing",
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
    "that a slow request has read is not taken for one whose answer was lost",
    Effect.gen(function*() {
      const one = yield* visit(Tea, increment)
      const saving = Effect.zipLeft(visit(Tea, increment, one.cookie), TestClock.adjust("1 minute"))
      const slow = yield* visit(Tea, Effect.zipRight(increment, saving), one.cookie)
      assert.strictEqual(slow.error?._tag, "SessionConflict")
      assert.strictEqual((yield* visit(Tea, read, slow.result.cookie)).result, 2)
    })
  )

  law(
    "has no part in a save of the current one that was confirmed meanwhile",
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
    "seals the current generation anew; an older one is not sent",
    Effect.gen(function*() {
      const store = yield* SessionStore
      const later = Effect.provide(on(store, { keys: keyringOf(secondKey, firstKey) }))
      const one = yield* visit(Tea, increment)
      const two = yield* visit(Tea, increment, one.cookie)
      assert.deepStrictEqual((yield* later(visit(Tea, read, one.cookie))).setCookie, undefined)
      const sealed = yield* later(visit(Tea, read, two.cookie))
      assert.match(sealed.cookie ?? "", /^e1\.k2\./)
      assert.strictEqual((yield* later(visit(Tea, read, sealed.cookie))).result, 2)
      // What was sealed is as old as it was: it is no use of the session.
      yield* TestClock.adjust("20 minutes")
      assert.strictEqual((yield* later(visit(Tea, read, sealed.cookie))).result, 0)
    })
  )
})

law(
  "the ledger holds no data",
  Effect.gen(function*() {
    yield* visit(Tea, Tea.set("notes", "a secret"))
    const store = yield* SessionStore
    const kept = recordsIn(yield* store.scan("test/Tea", { limit: 10, now: 0 }))
    assert.deepStrictEqual(kept.map(({ data }) => data), [`{"current":1,"fading":[]}`])
  })
)

law(
  "a session too large for its cookie is refused before the ledger is written",
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
  it.effect(`a socket cannot save what only a cookie can hold${title}`, () =>
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
