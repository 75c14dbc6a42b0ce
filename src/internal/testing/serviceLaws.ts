/**
 * Sessions whose store fails: no change is lost without an error, and none is applied twice.
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

/** Creates a session, a service on the failing store, and one on the same store without faults. */
const faulty = (engine: Engine, store: Store, plan: Plan) =>
  Effect.gen(function*() {
    const healthy = yield* serviceOn(engine, store, "1 minute")
    const created = yield* healthy.create({ count: 0 }, { subject: "ann" })
    const cookie = Option.getOrThrow(yield* created.token)
    // Short, because some faults hang.
    const failing = yield* serviceOn(engine, FaultyStore.make(store, plan), "150 millis")
    const countOf = (cookie: CookieValue) =>
      Effect.flatMap(
        healthy.open(cookie),
        Option.match({ onNone: () => Effect.succeed(undefined), onSome: (session) => session.get("count") })
      )
    return { healthy, failing, cookie, countOf }
  })

const increment = Account.update("count", (n) => n + 1)

/** Each fault once, each twice in a row, and pairs in which the second attempt fails differently. */
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

/** Each request presents the latest cookie, so that the laws also apply to engines that set a new cookie on each save. */
export const serviceLawsOf = (engine: Engine): ReadonlyArray<Law> => [
  law("a failing `load` is an error, never an anonymous session, and no cookie changes", function*(store) {
    yield* eachScript("load", (plan, script) =>
      Effect.gen(function*() {
        const { cookie, failing } = yield* faulty(engine, store, plan)
        const { cookie: after, done } = yield* answer(failing, cookie, Account.get("count"))
        yield* holds(
          `${script}: the cookie is unchanged`,
          after !== undefined && Redacted.value(after) === Redacted.value(cookie)
        )
        if (script[0] !== "duplicate") yield* equal(`${script}: answered with success`, done, false)
      }))
  }),

  law("a failing `save`: acknowledged changes are stored, unacknowledged ones at most once", function*(store) {
    yield* eachScript("save", (plan, script) =>
      Effect.gen(function*() {
        const { cookie, countOf, failing } = yield* faulty(engine, store, plan)
        const { cookie: held = cookie, done } = yield* answer(failing, cookie, increment)
        const count = (yield* countOf(held)) ?? -1
        yield* holds(
          `${script}: ${count} after ${done ? "success" : "503"}`,
          done ? count === 1 : count === 0 || count === 1
        )
        // The next update succeeds. The one that timed out may still be applied, but only once.
        const again = yield* answer(failing, held, increment)
        const acknowledged = [done, again.done].filter(Boolean).length
        const after = (yield* countOf(again.cookie ?? held)) ?? -1
        yield* holds(`${script}: ${after} after ${acknowledged} of 2`, after >= acknowledged && after <= 2)
      }))
  }),

  law("a failing `rotate`: never two valid tokens, and the browser holds the valid one", function*(store) {
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
            `${script}: the cookie is unchanged`,
            after !== undefined && Redacted.value(after) === Redacted.value(cookie)
          )
        }
      }))
  }),

  law(
    "a failing `create`: the cookie of an acknowledged session works, and no cookie is sent for an unacknowledged one",
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

  law("a failing `destroy` fails the logout: the cookie stays, and the next attempt succeeds", function*(store) {
    yield* eachScript("destroy", (plan, script) =>
      Effect.gen(function*() {
        const { cookie, countOf, failing, healthy } = yield* faulty(engine, store, plan)
        const { cookie: after, done } = yield* answer(failing, cookie, Account.destroy)
        yield* equal(`${script}: the cookie is gone`, after === undefined, done)
        if (done) yield* equal(`${script}: the session is gone`, yield* countOf(cookie), undefined)
        yield* answer(healthy, cookie, Account.destroy)
        yield* equal(`${script}: after a second attempt`, yield* countOf(cookie), undefined)
      }))
  }),

  law("a failing `touch` does not affect the session that was read", function*(store) {
    yield* eachScript("touch", (plan) =>
      Effect.gen(function*() {
        const { cookie, countOf, failing } = yield* faulty(engine, store, plan)
        yield* answer(failing, cookie, Account.get("count"))
        yield* equal("the count", yield* countOf(cookie), 0)
      }))
  }),

  law(
    "when a third of all store calls fail at random, every acknowledged update is stored, and none that was not requested",
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
            `${acknowledged} of 40 updates acknowledged, and the count is ${count}`,
            count >= acknowledged && count <= 40
          )
        })
      )
    }
  )
]

export const serviceLaws: ReadonlyArray<Law> = serviceLawsOf(storedEngine)
