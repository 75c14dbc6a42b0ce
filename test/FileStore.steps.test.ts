/**
 * Every write, killed or suspended before each of its file system steps, and with each step failing.
 */
import { SystemError } from "@effect/platform/Error"
import { it } from "@effect/vitest"
import { Effect, Either } from "effect"
import { freshKey, hour, minute, start } from "effect-session/Fixtures"
import { SessionStoreError } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import {
  atEachStep,
  canLogIn,
  containsExactly,
  isCommitStep,
  isWritable,
  leavesNoFiles,
  recordsAfter,
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
      "killed before any step: the write is complete or has changed nothing, and the next process can write",
      () =>
        Effect.gen(function*() {
          const steps = yield* atEachStep(
            write,
            (stop) => () => Effect.zipRight(stop, Effect.never),
            ({ done, root, written }) =>
              Effect.gen(function*() {
                const next = yield* openStore(root, { durability: "none" })
                const there = recordsAfter(written, done)
                yield* containsExactly(next, written, there)
                yield* isWritable(next, there)
                yield* leavesNoFiles(root, next)
                yield* canLogIn(next)
              })
          )
          assert.isAbove(steps, 4)
        })
    )

    it.live(
      "suspended before any step until its files are swept: the write completes, or fails with `unavailable`",
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
              } else {assert.isTrue(
                  done.some(isCommitStep) || written.before === written.after || name === "removeExpired"
                )}
              const there = recordsAfter(written, done)
              yield* containsExactly(healthy, written, there)
              yield* isWritable(healthy, there)
              yield* leavesNoFiles(root, healthy)
            })
        )
    )

    it.live(
      "suspended before any step for less than an hour: the write completes",
      () =>
        atEachStep(
          write,
          (stop) => (_, run) => Effect.zipRight(stop, run),
          ({ healthy, resumed, written }) =>
            Effect.gen(function*() {
              yield* healthy.removeExpired({ now: Date.now() + 58 * minute, limit: 100 })
              assert.isTrue(Either.isRight(yield* resumed))
              yield* containsExactly(healthy, written, written.after)
              // The id is still reserved.
              for (const { record } of written.after) {
                assert.strictEqual(yield* healthy.create(freshKey(), record, start), "exists")
              }
            })
        )
    )

    it.live(
      "with any step failing: the write is complete, or fails with `unavailable` and has changed nothing",
      () =>
        atEachStep(
          write,
          () => (step) => Effect.fail(failure(step)),
          ({ done, healthy, root, written }, outcome) =>
            Effect.gen(function*() {
              if (outcome === undefined) {
                return yield* Effect.dieMessage("the write did not end")
              }
              if (Either.isLeft(outcome)) assertUnavailable(outcome.left)
              // A failed removal of old files is ignored, because the write has taken effect.
              const there = Either.isRight(outcome) ? written.after : recordsAfter(written, done)
              yield* containsExactly(healthy, written, there)
              yield* isWritable(healthy, there)
              yield* leavesNoFiles(root, healthy)
            })
        )
    )
  })
}
