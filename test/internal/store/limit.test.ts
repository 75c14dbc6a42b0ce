/**
 * A time limit: by the clock of the machine it takes a way of its own, by any other the one of Effect. Both keep the same promises.
 */
import { Cause, Clock, Deferred, Duration, Effect, Exit, Fiber, Logger, LogLevel, TestClock, TestContext } from "effect"
import { assert, describe, it } from "vitest"
import * as Limit from "../../../src/internal/store/limit.js"

/** A clock that is right, but is not the machine's. */
const another = Clock.make()

const late = () => "late" as const

describe.each([
  ["the clock of the machine", <A, E>(effect: Effect.Effect<A, E>) => effect],
  ["another clock", <A, E>(effect: Effect.Effect<A, E>) => Effect.withClock(effect, another)]
])("by %s", (_, by) => {
  const run = <A, E>(effect: Effect.Effect<A, E>) => Effect.runPromise(by(effect))

  it("returns the result, failure or defect of the effect", async () => {
    assert.strictEqual(await run(Limit.within(Effect.succeed(1), 1000, late)), 1)
    assert.strictEqual(await run(Limit.within(Effect.delay(Effect.succeed(2), "1 millis"), 10_000, late)), 2)
    assert.deepStrictEqual(await run(Effect.exit(Limit.within(Effect.fail("no"), 1000, late))), Exit.fail("no"))
    const died = await run(Effect.exit(Limit.within(Effect.die("bug"), 1000, late)))
    assert.isTrue(Exit.isFailure(died) && Cause.isDie(died.cause))
  })

  it("goes on at the limit, also in an uninterruptible region and from what cannot be interrupted", async () => {
    const begun = performance.now()
    const hangs = Effect.uninterruptible(Effect.sleep("30 seconds"))
    assert.strictEqual(await run(Effect.flip(Effect.uninterruptible(Limit.within(hangs, 20, late)))), "late")
    assert.isBelow(performance.now() - begun, 15_000)
  })

  it("interrupts the effect at the limit, and when the caller is interrupted", async () => {
    const interrupted = (limit: number, interrupt: boolean) =>
      Effect.gen(function*() {
        const ended = yield* Deferred.make<void>()
        const begun = yield* Deferred.make<void>()
        const effect = Effect.onInterrupt(
          Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never),
          () => Deferred.succeed(ended, undefined)
        )
        const caller = yield* Effect.fork(Limit.within(effect, limit, late))
        yield* Deferred.await(begun)
        if (interrupt) yield* Fiber.interrupt(caller)
        yield* Deferred.await(ended)
        return yield* Fiber.await(caller)
      })
    assert.deepStrictEqual(await run(interrupted(20, false)), Exit.fail("late"))
    assert.isTrue(Exit.isInterrupted(await run(interrupted(60_000, true))))
  })

  it("logs no failure: it is the caller's", async () => {
    const lines: Array<unknown> = []
    const logger = Logger.make(({ message }) => void lines.push(message))
    await run(
      Effect.ignore(Limit.within(Effect.delay(Effect.fail("no"), "1 millis"), 1000, late)).pipe(
        Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
        Logger.withMinimumLogLevel(LogLevel.All)
      )
    )
    assert.deepStrictEqual(lines, [])
  })
})

it("a simulated clock moves the limit", () =>
  Effect.runPromise(
    Effect.gen(function*() {
      const caller = yield* Effect.fork(Effect.flip(Limit.within(Effect.never, 60_000, late)))
      yield* TestClock.adjust(Duration.minutes(1))
      assert.strictEqual(yield* Fiber.join(caller), "late")
    }).pipe(Effect.provide(TestContext.TestContext))
  ))
