/** The events that the sessions of a tag publish. */
import { it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted, Schema, TestClock } from "effect"
import { MemoryEngine, Session, SessionEvents } from "effect-session"
import { assert, describe } from "vitest"

class App extends Session.Tag<App>()("test/Events", {
  schema: Schema.Struct({ cart: Schema.optional(Schema.String) }),
  maxPerSubject: 2
}) {}

const live = App.layer.pipe(Layer.provideMerge(MemoryEngine.layer), Layer.provideMerge(SessionEvents.layer))

/** Runs a program, and returns it with a reader of the events since the last read, without their times. */
const recorded = <A, E, R>(program: (read: Effect.Effect<ReadonlyArray<object>>) => Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const { size, take } = yield* Effect.flatMap(SessionEvents.SessionEvents, ({ subscribe }) => subscribe)
    const read = Effect.flatMap(size, (size) =>
      size === 0
        ? Effect.succeed([])
        : Effect.map(take(size), (events) => events.map(({ at: _, namespace: _n, session: _s, ...event }) => event)))
    return yield* program(read)
  }).pipe(Effect.scoped, Effect.provide(live))

describe("the life of a session publishes its events", () => {
  it.effect("from its creation to its end, with who ended it, and never with a token or data", () =>
    recorded((read) =>
      Effect.gen(function*() {
        const sessions = yield* App.service
        const run = <B, E, R>(handler: Effect.Effect<B, E, R>, cookie?: string) => visitOn(handler, cookie)
        const first = yield* run(Effect.zipRight(App.set("cart", "secret tea"), App.id))
        const id = yield* idOf(first.cookie)
        assert.deepStrictEqual(yield* read, [{ _tag: "Created", id, subject: undefined }])
        const loggedIn = yield* run(
          App.authenticate("ann", { methods: ["pwd"], level: 1, remember: true }),
          first.cookie
        )
        assert.deepStrictEqual(yield* read, [
          { _tag: "Authenticated", id, subject: "ann", methods: ["pwd"], level: 1, remembered: true },
          { _tag: "Rotated", id, subject: "ann" }
        ])
        const up = yield* run(App.elevate({ methods: ["otp"], level: 2 }), loggedIn.cookie)
        assert.deepStrictEqual(yield* read, [
          { _tag: "Elevated", id, subject: "ann", methods: ["otp"], level: 2 },
          { _tag: "Rotated", id, subject: "ann" }
        ])
        const down = yield* run(App.drop, up.cookie)
        assert.deepStrictEqual(yield* read, [
          { _tag: "Dropped", id, subject: "ann" },
          { _tag: "Rotated", id, subject: "ann" }
        ])
        const acting = yield* run(App.impersonate("bob"), down.cookie)
        const ended = yield* run(App.endImpersonation, acting.cookie)
        assert.deepStrictEqual(yield* read, [
          { _tag: "Impersonated", id, subject: "ann", as: "bob" },
          { _tag: "Rotated", id, subject: "ann" },
          { _tag: "ImpersonationEnded", id, subject: "ann" },
          { _tag: "Rotated", id, subject: "ann" }
        ])
        yield* run(App.destroy, ended.cookie)
        assert.deepStrictEqual(yield* read, [
          { _tag: "Ended", id, subject: "ann", reason: "loggedOut", by: { id, subject: "ann" } }
        ])
        yield* sessions.revokeSubject("ann")
        yield* sessions.revokeAll
        assert.deepStrictEqual(yield* read, [
          { _tag: "Ended", id: undefined, subject: "ann", reason: "subjectRevoked", by: undefined },
          { _tag: "Ended", id: undefined, subject: undefined, reason: "allRevoked", by: undefined }
        ])
      })
    ))

  it.effect("a login beyond the limit names the session that it ended, and a refused one its reason", () =>
    recorded((read) =>
      Effect.gen(function*() {
        const sessions = yield* App.service
        // Each a second after the one before, so that the first is the oldest.
        const ids = yield* Effect.forEach([1, 2, 3], () =>
          Effect.zipLeft(
            Effect.flatMap(sessions.create({}, { subject: "ann" }), ({ id }) => Effect.map(id, Option.getOrUndefined)),
            TestClock.adjust("1 second")
          ))
        const events = yield* read
        assert.deepStrictEqual<ReadonlyArray<object>>(events.filter((event) => "reason" in event), [{
          _tag: "Ended",
          id: ids[0],
          subject: "ann",
          reason: "limit",
          by: { id: ids[2], subject: "ann" }
        }])
        yield* Effect.ignore(visitOn(App.requireFresh({ within: "1 minute" })))
        assert.deepStrictEqual(yield* read, [
          { _tag: "Refused", id: undefined, subject: undefined, reason: "notFresh" }
        ])
      })
    ))
})

/** Makes a request to the service of the surrounding layer. */
const visitOn = <B, E, R>(handler: Effect.Effect<B, E, R | App>, cookie?: string) =>
  Effect.gen(function*() {
    const sessions = yield* App.service
    const session = sessions.request(cookie)
    yield* Effect.ignore(Effect.provideService(handler, App, session))
    yield* session.finish(200)
    const setCookie = session.used?.setCookie
    return {
      cookie: setCookie === undefined || setCookie === "expire"
        ? cookie
        : `${sessions.cookie.name}=${Redacted.value(setCookie.value)}`
    }
  })

const idOf = (cookie: string | undefined) =>
  Effect.gen(function*() {
    const sessions = yield* App.service
    return Option.getOrUndefined(yield* sessions.request(cookie).id)
  })
