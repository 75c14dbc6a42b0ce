/**
 * What a session promises while its store fails: nothing is lost in silence, and nothing is done twice.
 */
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { Fault, Plan } from "../../FaultyStore.js"
import * as FaultyStore from "../../FaultyStore.js"
import type { Law } from "../../Law.js"
import type { CookieValue } from "../../SessionEngine.js"
import type { Store } from "../../SessionStore.js"
import type { Operation } from "../../SessionStore.js"
import { byChance, equal, holds, law, range } from "./law.js"
import type { Engine } from "./service.js"
import { Account, answer, serviceOn, storedEngine } from "./service.js"

/** A session in the store, and the service with faults beside one without. */
const faulty = (engine: Engine, store: Store, plan: Plan) =>
  Effect.gen(function*() {
    const healthy = yield* serviceOn(engine, store, "1 minute")
    const created = yield* healthy.create({ count: 0 }, { subject: "ann" })
    const cookie = Option.getOrThrow(yield* created.token)
    // What hangs is soon given up.
    const failing = yield* serviceOn(engine, FaultyStore.make(store, plan), "150 millis")
    const countOf = (cookie: CookieValue) =>
      Effect.flatMap(
        healthy.open(cookie),
        Option.match({ onNone: () => Effect.succeed(undefined), onSome: (session) => session.get("count") })
      )
    return { healthy, failing, cookie, countOf }
  })

const increment = Account.update("count", (n) => n + 1)

/** Each fault once, each twice in a row, and those that differ in what a second try meets. */
const scripts: ReadonlyArray<ReadonlyArray<Fault>> = [
  ...FaultyStore.faults.flatMap((fault) => [[fault], [fault, fault]]),
  ["failAfter", "failBefore"],
  ["loseReply", "hang"],
  ["hang", "loseReply"],
  ["loseReply", "failAfter"]
]

const eachScript = (
  operation: Operation,
  check: (plan: Plan, script: ReadonlyArray<Fault>) => Effect.Effect<void, unknown>
) =>
  Effect.forEach(
    scripts,
    (script) => check(FaultyStore.schedule({ [operation]: script }), script),
    { discard: true, concurrency: 7 }
  ).pipe(Logger.withMinimumLogLevel(LogLevel.None))

/** For an engine whose cookie is another one after a save, too: each request presents the cookie that the browser then has. */
export const serviceLawsOf = (engine: Engine): ReadonlyArray<Law> => [
  law("a load that fails is an error, never an anonymous visitor, and no cookie is touched", function*(store) {
    yield* eachScript("load", (plan, script) =>
      Effect.gen(function*() {
        const { cookie, failing } = yield* faulty(engine, store, plan)
        const { cookie: after, done } = yield* answer(failing, cookie, Account.get("count"))
        yield* holds(
          `${script}: the cookie stays`,
          after !== undefined && Redacted.value(after) === Redacted.value(cookie)
        )
        if (script[0] !== "duplicate") yield* equal(`${script}: answered with success`, done, false)
      }))
  }),

  law("a save that fails: what was acknowledged is there, what was not is there at most once", function*(store) {
    yield* eachScript("save", (plan, script) =>
      Effect.gen(function*() {
        const { cookie, countOf, failing } = yield* faulty(engine, store, plan)
        const { cookie: held = cookie, done } = yield* answer(failing, cookie, increment)
        const count = (yield* countOf(held)) ?? -1
        yield* holds(
          `${script}: ${count} after ${done ? "success" : "503"}`,
          done ? count === 1 : count === 0 || count === 1
        )
        // And from there on it works. What was given up may still arrive, but not twice.
        const again = yield* answer(failing, held, increment)
        const acknowledged = [done, again.done].filter(Boolean).length
        const after = (yield* countOf(again.cookie ?? held)) ?? -1
        yield* holds(`${script}: ${after} after ${acknowledged} of 2`, after >= acknowledged && after <= 2)
      }))
  }),

  law("a rotation that fails: never two live tokens, and the browser holds the one that lives", function*(store) {
    yield* eachScript("rotate", (plan, script) =>
      Effect.gen(function*() {
        const { cookie, countOf, failing } = yield* faulty(engine, store, plan)
        const { cookie: after, done } = yield* answer(failing, cookie, Account.authenticate("ann"))
        const old = yield* countOf(cookie)
        if (done) {
          yield* holds(
            `${script}: a new token`,
            after !== undefined && Redacted.value(after) !== Redacted.value(cookie)
          )
          yield* equal(`${script}: the old token`, old, undefined)
          if (after !== undefined) yield* equal(`${script}: the new token`, yield* countOf(after), 0)
        } else {
          yield* holds(
            `${script}: the cookie stays`,
            after !== undefined && Redacted.value(after) === Redacted.value(cookie)
          )
        }
      }))
  }),

  law(
    "a creation that fails: the cookie of what was acknowledged works, and no cookie is sent for what was not",
    function*(store) {
      yield* eachScript("create", (plan, script) =>
        Effect.gen(function*() {
          const { countOf, failing } = yield* faulty(engine, store, plan)
          const { cookie, done } = yield* answer(failing, undefined, increment)
          yield* equal(`${script}: a cookie`, cookie !== undefined, done)
          if (cookie !== undefined) yield* equal(`${script}: its session`, yield* countOf(cookie), 1)
        }))
    }
  ),

  law("a logout that fails is not reported as done: the cookie stays, and the next try works", function*(store) {
    yield* eachScript("destroy", (plan, script) =>
      Effect.gen(function*() {
        const { cookie, countOf, failing, healthy } = yield* faulty(engine, store, plan)
        const { cookie: after, done } = yield* answer(failing, cookie, Account.destroy)
        yield* equal(`${script}: the cookie is gone`, after === undefined, done)
        if (done) yield* equal(`${script}: the session`, yield* countOf(cookie), undefined)
        yield* answer(healthy, cookie, Account.destroy)
        yield* equal(`${script}: after another try`, yield* countOf(cookie), undefined)
      }))
  }),

  law("a touch that fails changes nothing that was read", function*(store) {
    yield* eachScript("touch", (plan) =>
      Effect.gen(function*() {
        const { cookie, countOf, failing } = yield* faulty(engine, store, plan)
        yield* answer(failing, cookie, Account.get("count"))
        yield* equal("the count", yield* countOf(cookie), 0)
      }))
  }),

  law(
    "a third of all calls fail at random: the count is what was acknowledged, and at most what was asked",
    function*(store) {
      yield* byChance((seed) =>
        Effect.gen(function*() {
          const { cookie, countOf, failing } = yield* faulty(engine, store, FaultyStore.random({ seed, rate: 0.33 }))
          let held = cookie
          const answers = yield* Effect.forEach(range(40), () =>
            Effect.tap(
              Effect.suspend(() => answer(failing, held, increment)),
              ({ cookie }) => void (held = cookie ?? held)
            )).pipe(Logger.withMinimumLogLevel(LogLevel.None))
          const acknowledged = answers.filter(({ done }) => done).length
          const count = (yield* countOf(held)) ?? -1
          yield* holds(
            `${acknowledged} of 40 acknowledged, and ${count} counted`,
            count >= acknowledged && count <= 40
          )
        })
      )
    }
  )
]

export const serviceLaws: ReadonlyArray<Law> = serviceLawsOf(storedEngine)
