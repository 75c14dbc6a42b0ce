import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Schema } from "effect"
import { SessionConfigError } from "effect-session/SessionConfigError"

const error = new SessionConfigError({ subject: "app/Session", problem: "The name is empty." })

describe("SessionConfigError", () => {
  it("its message is the subject followed by the problem", () => {
    assert.strictEqual(error.message, "app/Session: The name is empty.")
    assert.include(Cause.pretty(Cause.fail(error)), "app/Session: The name is empty.")
  })

  it.effect("is yieldable, and caught by its tag", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(error)
      assert.deepStrictEqual(exit, Exit.fail(error))
      const caught = yield* Effect.catchTag(error, "SessionConfigError", ({ subject }) => Effect.succeed(subject))
      assert.strictEqual(caught, "app/Session")
    }))

  it.effect("can be encoded and decoded", () =>
    Effect.gen(function*() {
      const encoded = JSON.stringify(yield* Schema.encode(SessionConfigError)(error))
      const decoded = yield* Schema.decode(Schema.parseJson(SessionConfigError))(encoded)
      assert.instanceOf(decoded, SessionConfigError)
      assert.strictEqual(decoded.message, error.message)
    }))
})
