/**
 * Type guards of the values that users pass around.
 */
import { Expiry, Lifetime, ReadOnce, SessionError } from "effect-session"
import { assert, describe, it } from "vitest"

const others: ReadonlyArray<unknown> = [undefined, null, 0, "idle", {}, [], () => 0, { _tag: "Other" }, {
  bounded: true
}]

describe("type guards", () => {
  const cases: ReadonlyArray<readonly [string, (value: unknown) => boolean, ReadonlyArray<unknown>]> = [
    ["isExpiry", Expiry.isExpiry, [Expiry.standard, Expiry.django, Expiry.idle("1 hour"), Expiry.at(0)]],
    ["isLifetime", Lifetime.isLifetime, [Lifetime.browser, Lifetime.until(0), Lifetime.inactivity("1 hour")]],
    ["isReadOnce", ReadOnce.isReadOnce, [ReadOnce.make("Saved."), ReadOnce.make(undefined)]],
    ["isSessionError", SessionError.isSessionError, [
      new SessionError.SessionGone({ session: "app/Session" }),
      new SessionError.SessionConflict({ session: "app/Session", what: "cart" })
    ]]
  ]
  for (const [name, is, values] of cases) {
    it(`${name} accepts its own values and no others`, () => {
      for (const value of values) assert.isTrue(is(value))
      const foreign = [...others, ...cases.filter(([other]) => other !== name).flatMap(([, , values]) => values)]
      for (const value of foreign) assert.isFalse(is(value), String(value))
    })
  }
})
