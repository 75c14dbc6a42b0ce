/**
 * Concurrent requests, each in a process of its own, in every order of their store calls: no update is lost, and no ended
 * session is revived.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { Law } from "../../Law.js"
import { LawBroken } from "../../Law.js"
import * as Session from "../../Session.js"
import type { CookieValue, SessionEngine } from "../../SessionEngine.js"
import type { SessionId } from "../../SessionId.js"
import type { SessionRevocation } from "../../SessionRevocation.js"
import type { Store } from "../../SessionStore.js"
import { SessionStore } from "../../SessionStore.js"
import * as StoredEngine from "../../StoredEngine.js"
import { intercepted } from "../store/intercepted.js"
import type { Scene } from "./interleave.js"
import { everyOrder, someOrders } from "./interleave.js"
import { byChance, holds, law } from "./law.js"

/** Long enough that no call times out while the scheduler runs others: a timeout would change the order under test. */
const timeout = "1 minute"

/** A session with a counter. Every use is a touch, so that touches are part of the orders. */
class Counter extends Session.Tag<Counter>()("effect-session/testing/Counter", {
  schema: Schema.Struct({ count: Schema.optionalWith(Schema.Number, { default: () => 0 }) }),
  touchEvery: 0,
  commitTimeout: timeout
}) {}

/** The engine under test, over a store. */
type Engine = Layer.Layer<SessionEngine | SessionRevocation, unknown, SessionStore>

/** Builds a process on the store that shares no memory with the others. */
const processOn = (engine: Engine, store: Store) =>
  Effect.map(
    Effect.scoped(Layer.build(
      Counter.layer.pipe(
        Layer.provideMerge(engine),
        Layer.provide(Layer.succeed(SessionStore, store))
      )
    )),
    (context) => ({ context, service: Context.get(context, Counter.service) })
  )

type Process = Effect.Effect.Success<ReturnType<typeof processOn>>

/** The session that all requests use. */
interface Contested {
  readonly token: CookieValue
  readonly id: SessionId
}

/** The outcome of a request: whether it succeeded, and its new token. */
interface Answer {
  readonly done: boolean
  readonly token: CookieValue | undefined
}

/** A kind of request, and the effects it must have had once it is answered with success. */
interface Kind {
  readonly name: string
  readonly run: (process: Process, contested: Contested) => Effect.Effect<Answer, unknown>
  /** Increments the counter. */
  readonly counts?: true
  /** Invalidates the token that it presented. */
  readonly ends?: true
  /** Ends the session under every token. */
  readonly kills?: true
  /** The session may continue under another token. */
  readonly moves?: true
}

/** Makes a request that presents the token. */
const request = (handler: Effect.Effect<unknown, unknown, Counter>): Kind["run"] => ({ service }, { token }) =>
  Effect.gen(function*() {
    const session = service.request(`${service.cookie.name}=${Redacted.value(token)}`)
    const handled = yield* Effect.exit(Effect.provideService(handler, Counter, session))
    const error = yield* session.finish(Exit.isSuccess(handled) ? 200 : 500)
    const setCookie = session.used?.setCookie
    return {
      done: Exit.isSuccess(handled) && error === undefined,
      token: setCookie === undefined || setCookie === "expire" ? undefined : setCookie.value
    }
  })

const revocation = (
  f: (service: Process["service"], id: SessionId) => Effect.Effect<unknown, unknown, SessionRevocation>
): Kind["run"] =>
({ context, service }, { id }) =>
  Effect.map(
    Effect.exit(Effect.provide(f(service, id), context)),
    (exit) => ({ done: Exit.isSuccess(exit), token: undefined })
  )

const increment = Counter.update("count", (n) => n + 1)

const kinds: ReadonlyArray<Kind> = [
  { name: "a read", run: request(Counter.get("count")) },
  { name: "an update", run: request(increment), counts: true },
  { name: "a login", run: request(Counter.authenticate("ann")), ends: true, moves: true },
  {
    name: "an update with a new token",
    run: request(Effect.zipRight(increment, Counter.rotate)),
    counts: true,
    ends: true,
    moves: true
  },
  { name: "a logout", run: request(Counter.destroy), ends: true },
  { name: "a revocation by id", run: revocation((service, id) => service.revoke(id)), ends: true, kills: true },
  {
    name: "a revocation of the subject",
    run: revocation((service) => service.revokeSubject("ann")),
    ends: true,
    kills: true
  }
]

/** Creates a session and the requests that use it concurrently; checks every token issued. */
const scene = (
  { afterwards, engine }: Subject,
  store: Store,
  racing: ReadonlyArray<Kind>
): Effect.Effect<Scene<unknown>, unknown> =>
  Effect.gen(function*() {
    const observer = yield* processOn(engine, store)
    const created = yield* observer.service.create({}, { subject: "ann" })
    const contested = { token: Option.getOrThrow(yield* created.token), id: Option.getOrThrow(yield* created.id) }
    const answered: Array<Kind> = []
    const tokens = [contested.token]
    return {
      requests: racing.map((kind) => (parking) =>
        Effect.flatMap(
          processOn(engine, intercepted(store, parking)),
          (process) =>
            Effect.map(kind.run(process, contested), ({ done, token }) => {
              if (done) answered.push(kind)
              if (token !== undefined) tokens.push(token)
            })
        )
      ),
      check: Effect.gen(function*() {
        yield* afterwards(
          Effect.forEach(tokens, (token) => request(Counter.get("count"))(observer, { ...contested, token }))
        )
        const live = yield* Effect.forEach(
          tokens,
          (token) =>
            Effect.flatMap(
              observer.service.open(token),
              Option.match({
                onNone: () => Effect.succeed([]),
                onSome: (session) =>
                  Effect.map(
                    Effect.all({ id: session.id, count: session.get("count") }),
                    ({ count, id }) => [{ token, count, id: Option.getOrThrow(id) }]
                  )
              })
            )
        )
        const sessions = live.flat()
        const is = (trait: "counts" | "ends" | "kills" | "moves") => answered.filter((kind) => kind[trait])
        const counted = sessions.reduce((sum, { count }) => sum + count, 0)
        const survives = sessions.some(({ id }) => id === contested.id)
        yield* holds(
          "a session has at most one valid token",
          new Set(sessions.map(({ id }) => id)).size === sessions.length
        )
        yield* holds("no update is applied twice", counted <= is("counts").length)
        if (is("ends").every((kind) => kind.moves)) {
          yield* holds("no update is lost", counted === is("counts").length)
        }
        if (is("ends").length > 0) {
          yield* holds("the presented token is invalid", !sessions.some(({ token }) => token === contested.token))
        }
        if (is("kills").length > 0 || (is("ends").length > 0 && is("moves").length === 0)) {
          yield* holds("the session has ended", !survives)
        }
      })
    }
  })

const pairs = kinds.flatMap((one, index) => kinds.slice(index).map((other) => [one, other] as const))

/** An engine, and the requests of browsers after which a session has only one valid token. */
interface Subject {
  readonly engine: Engine
  readonly afterwards: <E>(requestsOfBrowsers: Effect.Effect<unknown, E>) => Effect.Effect<unknown, E>
}

export const raceLawsOf = (subject: Subject): ReadonlyArray<Law> => [
  ...pairs.map(([one, other]) =>
    law(
      `${one.name} and ${other.name} lose no update and revive no session, in every order of their store calls`,
      function*(store) {
        const orders = yield* everyOrder(scene(subject, store, [one, other]))
        yield* holds("there is more than one order of calls", orders > 1)
      }
    )
  ),
  law(
    "three requests of any kind lose no update and revive no session, in 60 random orders of their store calls",
    function*(store) {
      yield* byChance((seed) => {
        const draw = FastCheck.sample(
          FastCheck.array(FastCheck.constantFrom(...kinds), { minLength: 3, maxLength: 3 }),
          {
            numRuns: 20,
            seed
          }
        )
        return Effect.forEach(draw, (racing) =>
          Effect.mapError(
            someOrders(scene(subject, store, racing), 3, seed),
            (error) => new LawBroken({ message: `${racing.map(({ name }) => name).join(", ")}: ${String(error)}` })
          ))
      })
    }
  )
]

export const raceLaws: ReadonlyArray<Law> = raceLawsOf({
  engine: StoredEngine.layerWith({ timeout }),
  afterwards: () => Effect.void
})
