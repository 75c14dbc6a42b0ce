import { assert, describe, it, vi } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Option, Ref, Scheduler, TestClock } from "effect"
import * as fc from "fast-check"
import * as Queue from "../../../src/internal/session/queue.js"

/** A queue whose effects ignore whether they had to wait. */
const make = () => {
  const queue = Queue.make()
  return <A, E, R>(name: string, effect: Effect.Effect<A, E, R>) => queue(name, () => effect)
}

/** Occupies the queue under a name until released. */
const hold = (queue: ReturnType<typeof make>, name: string) =>
  Effect.gen(function*() {
    const taken = yield* Deferred.make<void>()
    const release = yield* Deferred.make<void>()
    const fiber = yield* Effect.fork(
      queue(name, Effect.zipRight(Deferred.succeed(taken, undefined), Deferred.await(release)))
    )
    yield* Deferred.await(taken)
    return { fiber, release: Effect.zipRight(Deferred.succeed(release, undefined), Fiber.join(fiber)) }
  })

/** Forks an effect that waits in the queue. */
const enqueue = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.gen(function*() {
    const arrived = yield* Deferred.make<void>()
    const fiber = yield* Effect.fork(Effect.zipRight(Deferred.succeed(arrived, undefined), effect))
    yield* Deferred.await(arrived)
    yield* yieldAll
    return fiber
  })

/** Lets every fiber run as far as it can. */
const yieldAll = Effect.yieldNow({ priority: 1 }).pipe(Effect.repeatN(50))

const log = Effect.map(Ref.make<ReadonlyArray<string>>([]), (ref) => ({
  write: (line: string) => Ref.update(ref, (lines) => [...lines, line]),
  read: Ref.get(ref)
}))

describe("order", () => {
  it.effect("effects with one name run in the order of their arrival", () =>
    Effect.gen(function*() {
      const queue = make()
      const { read, write } = yield* log
      const first = yield* hold(queue, "a")
      const names = Array.from({ length: 20 }, (_, i) => `${i}`)
      const fibers = yield* Effect.forEach(names, (name) => enqueue(queue("a", write(name))))
      assert.deepStrictEqual(yield* read, [])
      yield* first.release
      yield* Fiber.joinAll(fibers)
      assert.deepStrictEqual(yield* read, names)
    }))

  it.effect("effects with one name never overlap", () =>
    Effect.promise(() =>
      fc.assert(fc.asyncProperty(fc.array(fc.nat({ max: 5 }), { maxLength: 10 }), (pauses) =>
        Effect.gen(function*() {
          const queue = make()
          const { read, write } = yield* log
          yield* Effect.forEach(pauses, (yields, i) =>
            queue(
              "a",
              write(`${i} begins`).pipe(
                Effect.zipLeft(Effect.repeatN(Effect.yieldNow(), yields)),
                Effect.zipRight(write(`${i} ends`))
              )
            ), { concurrency: "unbounded" })
          assert.deepStrictEqual(yield* read, pauses.flatMap((_, i) => [`${i} begins`, `${i} ends`]))
        }).pipe(Effect.runPromise)))
    ))

  it.effect("effects with different names run concurrently", () =>
    Effect.gen(function*() {
      const queue = make()
      const [a, b] = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
      // Each waits for the other, so sequential execution would deadlock.
      yield* Effect.all([
        queue("a", Effect.zipRight(Deferred.succeed(a, undefined), Deferred.await(b))),
        queue("b", Effect.zipRight(Deferred.succeed(b, undefined), Deferred.await(a)))
      ], { concurrency: "unbounded" })
    }))

  it.effect("two queues are independent", () =>
    Effect.gen(function*() {
      const held = yield* hold(make(), "a")
      assert.strictEqual(yield* make()("a", Effect.succeed(1)), 1)
      yield* held.release
    }))
})

describe("results", () => {
  it.effect("a result, a failure and a defect of an effect are returned, and the next effect runs", () =>
    Effect.gen(function*() {
      const queue = make()
      assert.strictEqual(yield* queue("a", Effect.succeed(1)), 1)
      assert.deepStrictEqual(yield* Effect.exit(queue("a", Effect.fail("no"))), Exit.fail("no"))
      assert.deepStrictEqual(yield* Effect.exit(queue("a", Effect.die("broken"))), Exit.die("broken"))
      assert.strictEqual(yield* queue("a", Effect.succeed(2)), 2)
    }))

  it.effect("an effect is queued each time it is run, and not before", () =>
    Effect.gen(function*() {
      const { read, write } = yield* log
      const queued = make()("a", write("ran"))
      assert.deepStrictEqual(yield* read, [])
      yield* Effect.zipRight(queued, queued)
      assert.deepStrictEqual(yield* read, ["ran", "ran"])
    }))
})

describe("interruption", () => {
  it.effect("of the running effect starts the next one", () =>
    Effect.gen(function*() {
      const queue = make()
      const first = yield* hold(queue, "a")
      const second = yield* enqueue(queue("a", Effect.succeed(2)))
      yield* Fiber.interrupt(first.fiber)
      assert.strictEqual(yield* Fiber.join(second), 2)
    }))

  it.effect("of a waiting effect does not let later ones overtake the running one", () =>
    Effect.gen(function*() {
      const queue = make()
      const { read, write } = yield* log
      const first = yield* hold(queue, "a")
      const second = yield* enqueue(queue("a", write("second")))
      const third = yield* enqueue(queue("a", write("third")))
      yield* Fiber.interrupt(second)
      yield* yieldAll
      assert.deepStrictEqual(yield* read, [], "the first effect still runs")
      yield* first.release
      yield* Fiber.join(third)
      assert.deepStrictEqual(yield* read, ["third"])
    }))

  it.effect("of the last waiting effect does not let a new one overtake the running one", () =>
    Effect.gen(function*() {
      const queue = make()
      const { read, write } = yield* log
      const first = yield* hold(queue, "a")
      const second = yield* enqueue(queue("a", write("second")))
      yield* Fiber.interrupt(second)
      const third = yield* enqueue(queue("a", write("third")))
      assert.deepStrictEqual(yield* read, [], "the first effect still runs")
      yield* first.release
      yield* Fiber.join(third)
      assert.deepStrictEqual(yield* read, ["third"])
    }))

  /** Yields to other fibers before the operation with this number only. */
  const yieldingAt = (operation: number): Scheduler.Scheduler => {
    let seen = 0
    return {
      shouldYield: () => seen++ === operation ? 0 : false,
      scheduleTask: (task, priority, fiber) => Scheduler.defaultScheduler.scheduleTask(task, priority, fiber)
    }
  }

  it.effect("between any two operations releases the name", () =>
    Effect.gen(function*() {
      for (let operation = 0; operation < 40; operation++) {
        const queue = make()
        const cut = yield* Effect.fork(Effect.withScheduler(queue("a", Effect.never), yieldingAt(operation)))
        yield* Effect.yieldNow()
        yield* Fiber.interrupt(cut)
        const next = yield* Effect.fork(queue("a", Effect.void))
        yield* yieldAll
        assert.isTrue(Option.isSome(yield* Fiber.poll(next)), `interrupted before operation ${operation}`)
      }
    }))
})

describe("memory", () => {
  /** A queue, and the number of names in its map. */
  const observed = () => {
    const maps: Array<ReadonlyMap<unknown, unknown>> = []
    class ObservedMap<K, V> extends Map<K, V> {
      constructor() {
        super()
        maps.push(this)
      }
    }
    vi.stubGlobal("Map", ObservedMap)
    try {
      const queue = make()
      const [names, ...others] = maps
      return names !== undefined && others.length === 0
        ? { queue, size: () => names.size }
        : assert.fail("a queue keeps its names in one map")
    } finally {
      vi.unstubAllGlobals()
    }
  }

  it.effect("a name without waiting effects is removed", () =>
    Effect.gen(function*() {
      const { queue, size } = observed()
      const held = yield* Effect.forEach(["a", "b", "c"], (name) => hold(queue, name))
      const waiting = yield* enqueue(queue("a", Effect.void))
      const interrupted = yield* enqueue(queue("b", Effect.void))
      const failing = yield* enqueue(Effect.exit(queue("c", Effect.fail("no"))))
      assert.strictEqual(size(), 3)
      yield* Fiber.interrupt(interrupted)
      yield* Effect.forEach(held, ({ release }) => release)
      yield* Fiber.join(waiting)
      yield* Fiber.join(failing)
      yield* Effect.forEach(Array.from({ length: 1000 }, (_, i) => `${i}`), (name) => queue(name, Effect.void))
      assert.strictEqual(size(), 0)
    }))
})

describe("waited", () => {
  it.effect("is true for an effect that had to wait for another one of its name", () =>
    Effect.gen(function*() {
      const queue = Queue.make()
      const release = yield* Deferred.make<void>()
      const first = yield* Effect.fork(queue("a", (waited) => Effect.as(Deferred.await(release), waited)))
      yield* Effect.yieldNow()
      const second = yield* Effect.fork(queue("a", Effect.succeed))
      const other = yield* queue("b", Effect.succeed)
      yield* Effect.yieldNow()
      yield* Deferred.succeed(release, undefined)
      assert.deepStrictEqual([yield* Fiber.join(first), yield* Fiber.join(second), other], [false, true, false])
      assert.isFalse(yield* queue("a", Effect.succeed))
    }))
})

describe("with isolated requests", () => {
  it.effect("an effect polls with its own timer until the previous one has ended", () =>
    Effect.gen(function*() {
      const queue = Queue.make(true)
      const release = yield* Deferred.make<void>()
      const first = yield* Effect.fork(queue("a", (waited) => Effect.as(Deferred.await(release), waited)))
      yield* Effect.yieldNow()
      const second = yield* Effect.fork(queue("a", Effect.succeed))
      assert.isFalse(yield* queue("b", Effect.succeed))
      yield* Deferred.succeed(release, undefined)
      assert.isFalse(yield* Fiber.join(first))
      yield* yieldAll
      assert.isTrue(Option.isNone(yield* Fiber.poll(second)), "no other fiber resumes it")
      yield* TestClock.adjust("2 millis")
      assert.isTrue(yield* Fiber.join(second))
      assert.isFalse(yield* queue("a", Effect.succeed))
    }))

  it.effect("effects with one name do not overlap if each ends within a second", () =>
    Effect.gen(function*() {
      const queue = Queue.make(true)
      const { read, write } = yield* log
      const numbers = Array.from({ length: 5 }, (_, i) => i)
      const all = yield* Effect.fork(Effect.forEach(numbers, (i) =>
        queue("a", () =>
          write(`${i} begins`).pipe(Effect.zipLeft(Effect.sleep("100 millis")), Effect.zipRight(write(`${i} ends`)))), {
        concurrency: "unbounded"
      }))
      yield* TestClock.adjust("600 millis")
      yield* Fiber.join(all)
      const lines = yield* read
      assert.deepStrictEqual(
        lines,
        lines.filter((line) =>
          line.endsWith("begins")
        ).flatMap((line) => [line, line.replace("begins", "ends")])
      )
      assert.lengthOf(lines, 10)
    }))

  it.effect("an effect waits at most a second for one that never ends, and releases the name", () =>
    Effect.gen(function*() {
      const queue = Queue.make(true)
      yield* Effect.fork(queue("a", () => Effect.never))
      yield* Effect.yieldNow()
      const next = yield* Effect.fork(queue("a", Effect.succeed))
      yield* TestClock.adjust("999 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(next)))
      yield* TestClock.adjust("1 millis")
      assert.isTrue(yield* Fiber.join(next))
      assert.isFalse(yield* queue("a", Effect.succeed))
    }))

  it.effect("an interruption of a running or waiting effect releases the name", () =>
    Effect.gen(function*() {
      const queue = Queue.make(true)
      const first = yield* Effect.fork(queue("a", () => Effect.never))
      yield* Effect.yieldNow()
      const second = yield* Effect.fork(queue("a", Effect.succeed))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(second)
      yield* Fiber.interrupt(first)
      assert.isFalse(yield* queue("a", Effect.succeed))
    }))
})
