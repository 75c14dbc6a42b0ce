/**
 * Time limits. With the system clock they use a native timer, with any other clock the one of Effect: the behaviour is the same.
 */
import { Cause, Clock, Deferred, Duration, Effect, Exit, Fiber, Logger, LogLevel, TestClock, TestContext } from "effect"
import { assert, describe, it } from "vitest"
import * as Limit from "../../../src/internal/store/limit.js"

/** A correct clock that is not the default one. */
const another = Clock.make()

const late = () => "late" as const

describe.each([
  ["the system clock", <A, E>(effect: Effect.Effect<A, E>) => effect],
  ["another clock", <A, E>(effect: Effect.Effect<A, E>) => Effect.withClock(effect, another)]
])("with %s", (_, by) => {
  const run = <A, E>(effect: Effect.Effect<A, E>) => Effect.runPromise(by(effect))

  it("returns the result, failure or defect of the effect", async () => {
    assert.strictEqual(await run(Limit.within(Effect.succeed(1), 1000, late)), 1)
    assert.strictEqual(await run(Limit.within(Effect.delay(Effect.succeed(2), "1 millis"), 10_000, late)), 2)
    assert.deepStrictEqual(await run(Effect.exit(Limit.within(Effect.fail("no"), 1000, late))), Exit.fail("no"))
    const died = await run(Effect.exit(Limit.within(Effect.die("bug"), 1000, late)))
    assert.isTrue(Exit.isFailure(died) && Cause.isDie(died.cause))
  })

  it("fails at the limit, even in an uninterruptible region and for an uninterruptible effect", async () => {
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

  it("logs no failure", async () => {
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

it("the limit follows a test clock", () =>
  Effect.runPromise(
    Effect.gen(function*() {
      const caller = yield* Effect.fork(Effect.flip(Limit.within(Effect.never, 60_000, late)))
      yield* TestClock.adjust(Duration.minutes(1))
      assert.strictEqual(yield* Fiber.join(caller), "late")
    }).pipe(Effect.provide(TestContext.TestContext))
  ))
