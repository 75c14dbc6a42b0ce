/**
 * Requests that race, each in a process of its own, in every order of their calls: no update is lost, and gone is gone.
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

/** Time enough: a call waits while others have their turn, and what a limit cuts off is another order than the one that is played. */
const patience = "1 minute"

/** A session that counts. Every use is a touch, so that touches race too. */
class Counter extends Session.Tag<Counter>()("effect-session/testing/Counter", {
  schema: Schema.Struct({ count: Schema.optionalWith(Schema.Number, { default: () => 0 }) }),
  touchEvery: 0,
  commitTimeout: patience
}) {}

/** What the laws are about, over a store. */
type Engine = Layer.Layer<SessionEngine | SessionRevocation, unknown, SessionStore>

/** A process of its own on the store: nothing in memory is shared with another. */
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

/** The session that the requests race for. */
interface Contested {
  readonly token: CookieValue
  readonly id: SessionId
}

/** How a request was answered: with success or not, and with which token. */
interface Answer {
  readonly done: boolean
  readonly token: CookieValue | undefined
}

/** What a kind of request does, and what it means once it is answered with success. */
interface Kind {
  readonly name: string
  readonly run: (process: Process, contested: Contested) => Effect.Effect<Answer, unknown>
  /** It counts one. */
  readonly counts?: true
  /** The token that it came with is dead afterwards. */
  readonly ends?: true
  /** The session is dead afterwards, under whichever token. */
  readonly kills?: true
  /** The session may go on under another token. */
  readonly moves?: true
}

/** A request that presents the token. */
const request = (handler: Effect.Effect<unknown, unknown, Counter>): Kind["run"] => ({ service }, { token }) =>
  Effect.gen(function*() {
    const session = service.request(`${service.cookie.name}=${Redacted.value(token)}`)
    const handled = yield* Effect.exit(Effect.provideService(handler, Counter, session))
    const error = yield* session.finish(Exit.isSuccess(handled) ? 200 : 500)
    const owed = session.used?.setCookie
    return {
      done: Exit.isSuccess(handled) && error === undefined,
      token: owed === undefined || owed === "expire" ? undefined : owed.value
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

/** A fresh session, the requests that race for it, and what must be true of every token that was ever given. */
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
        yield* holds("one session has one live token", new Set(sessions.map(({ id }) => id)).size === sessions.length)
        yield* holds("no update is done twice", counted <= is("counts").length)
        if (is("ends").every((kind) => kind.moves)) {
          yield* holds("no update is lost", counted === is("counts").length)
        }
        if (is("ends").length > 0) {
          yield* holds("the token is dead", !sessions.some(({ token }) => token === contested.token))
        }
        if (is("kills").length > 0 || (is("ends").length > 0 && is("moves").length === 0)) {
          yield* holds("the session is dead", !survives)
        }
      })
    }
  })

const pairs = kinds.flatMap((one, index) => kinds.slice(index).map((other) => [one, other] as const))

/** An engine, and what must have happened before one token of a session is left: the browser may come back with its own. */
interface Subject {
  readonly engine: Engine
  readonly afterwards: <E>(comesBack: Effect.Effect<unknown, E>) => Effect.Effect<unknown, E>
}

export const raceLawsOf = (subject: Subject): ReadonlyArray<Law> => [
  ...pairs.map(([one, other]) =>
    law(`${one.name} and ${other.name} race, in every order of their calls`, function*(store) {
      const orders = yield* everyOrder(scene(subject, store, [one, other]))
      yield* holds("there is more than one order", orders > 1)
    })
  ),
  law("three requests of any kind race, in 60 orders by chance", function*(store) {
    yield* byChance((seed) => {
      const draw = FastCheck.sample(FastCheck.array(FastCheck.constantFrom(...kinds), { minLength: 3, maxLength: 3 }), {
        numRuns: 20,
        seed
      })
      return Effect.forEach(draw, (racing) =>
        Effect.mapError(
          someOrders(scene(subject, store, racing), 3, seed),
          (error) => new LawBroken({ message: `${racing.map(({ name }) => name).join(", ")}: ${String(error)}` })
        ))
    })
  })
]

export const raceLaws: ReadonlyArray<Law> = raceLawsOf({
  engine: StoredEngine.layerWith({ timeout: patience }),
  afterwards: () => Effect.void
})
