/**
 * Every write is stopped before each of its steps, as by a process that is killed there or sleeps, and each step is made
 * to fail.
 */
import { SystemError } from "@effect/platform/Error"
import { it } from "@effect/vitest"
import { Effect, Either } from "effect"
import { SessionStoreError } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import { freshKey, hour, minute, start } from "../src/internal/testing/records.js"
import {
  atEachStep,
  containsExactly,
  isCommitStep,
  isWritable,
  leavesNoFiles,
  writes
} from "./support/fileWriteSteps.js"
import type { Step } from "./support/interceptedFileSystem.js"
import { openStore } from "./support/interceptedFileSystem.js"

const failure = ({ call }: Step) =>
  new SystemError({ module: "FileSystem", method: call, reason: "Unknown", description: "no space left on device" })

const assertUnavailable = (error: unknown) => {
  assert.instanceOf(error, SessionStoreError)
  assert.strictEqual(error.reason, "unavailable")
}

for (const [name, write] of writes) {
  describe(name, () => {
    it.live(
      "killed before any of its steps, it was done or not, and the next process goes on",
      () =>
        Effect.gen(function*() {
          const steps = yield* atEachStep(
            write,
            (stop) => () => Effect.zipRight(stop, Effect.never),
            ({ done, root, written }) =>
              Effect.gen(function*() {
                const next = yield* openStore(root, { durability: "none" })
                const there = done.some(isCommitStep) ? written.after : written.before
                yield* containsExactly(next, written, there)
                yield* isWritable(next, there)
                yield* leavesNoFiles(root, next)
              })
          )
          assert.isAbove(steps, 4)
        })
    )

    it.live(
      "asleep before any of its steps until it was swept, it goes on, or says that it could not",
      () =>
        atEachStep(
          write,
          (stop) => (_, run) => Effect.zipRight(stop, run),
          ({ done, healthy, resumed, root, written }) =>
            Effect.gen(function*() {
              yield* healthy.removeExpired({ now: Date.now() + 2 * hour, limit: 100 })
              const outcome = yield* resumed
              if (Either.isLeft(outcome)) {
                assertUnavailable(outcome.left)
              } else assert.isTrue(done.some(isCommitStep) || name === "removeExpired")
              const there = done.some(isCommitStep) ? written.after : written.before
              yield* containsExactly(healthy, written, there)
              yield* isWritable(healthy, there)
              yield* leavesNoFiles(root, healthy)
            })
        )
    )

    it.live(
      "asleep before any of its steps for less than an hour, it goes on as if nothing had been",
      () =>
        atEachStep(
          write,
          (stop) => (_, run) => Effect.zipRight(stop, run),
          ({ healthy, resumed, written }) =>
            Effect.gen(function*() {
              yield* healthy.removeExpired({ now: Date.now() + 58 * minute, limit: 100 })
              assert.isTrue(Either.isRight(yield* resumed))
              yield* containsExactly(healthy, written, written.after)
              // Its id is still its own.
              for (const { record } of written.after) {
                assert.strictEqual(yield* healthy.create(freshKey(), record, start), "exists")
              }
            })
        )
    )

    it.live(
      "with any of its steps failing, it was done or not, and says so if it was not",
      () =>
        atEachStep(
          write,
          () => (step) => Effect.fail(failure(step)),
          ({ done, healthy, root, written }, outcome) =>
            Effect.gen(function*() {
              if (outcome === undefined) {
                return yield* Effect.dieMessage("it did not end")
              }
              if (Either.isLeft(outcome)) assertUnavailable(outcome.left)
              // Cleaning up may fail in silence: what counts is done.
              const there = Either.isRight(outcome) || done.some(isCommitStep) ? written.after : written.before
              yield* containsExactly(healthy, written, there)
              yield* isWritable(healthy, there)
              yield* leavesNoFiles(root, healthy)
            })
        )
    )
  })
}
