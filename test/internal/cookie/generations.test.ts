import { FastCheck } from "effect"
import { assert, describe, it } from "vitest"
import type { Generations, Standing } from "../../../src/internal/cookie/generations.js"
import * as Gen from "../../../src/internal/cookie/generations.js"

/** A request of a browser, possibly with an older cookie of the session. */
interface Step {
  readonly presents: number
  readonly does: "read" | "save" | "rotate"
  readonly after: number
}

const steps = FastCheck.array(
  FastCheck.record<Step>({
    presents: FastCheck.nat(4),
    does: FastCheck.constantFrom("read", "read", "save", "save", "save", "rotate"),
    after: FastCheck.constantFrom(0, 1, 5_000, Gen.grace, Gen.grace + 1)
  }),
  { maxLength: 40 }
)

interface History {
  readonly state: Generations
  readonly now: number
  /** Every generation so far, the latest first. */
  readonly made: ReadonlyArray<number>
  readonly version: number
}

const begun: History = { state: Gen.only(1), now: 0, made: [1], version: 1 }

/** Presents one of the latest generations, and applies what its standing permits. */
const go = (
  history: History,
  { after, does, presents }: Step
): History & { readonly from: number; readonly as: Standing } => {
  const now = history.now + after
  const from = history.made[Math.min(presents, history.made.length - 1)] ?? 1
  const as = Gen.standing(history.state, from, now)
  const here = { ...history, now, from, as }
  const version = history.version + 1
  const next = { ...here, made: [version, ...history.made], version }
  if (as === "current" && does === "read") {
    return history.state.base === undefined ? here : { ...here, version, state: Gen.acknowledge(history.state, now) }
  }
  if (does === "read" || as === "rejected" || as === "grace") return here
  return { ...next, state: does === "rotate" ? Gen.only(version) : Gen.advance(history.state, from, version, now) }
}

/** Checks a property after each step of random histories. */
const always = (check: (before: History, after: ReturnType<typeof go>, step: Step) => void) =>
  FastCheck.assert(
    FastCheck.property(steps, (steps) => {
      let history = begun
      for (const step of steps) {
        const after = go(history, step)
        check(history, after, step)
        history = after
      }
    })
  )

describe("the generations of a cookie", () => {
  it("one generation is current, and at most one other may write", () => {
    always((_, { made, now, state }) => {
      const standings = made.map((generation) => Gen.standing(state, generation, now))
      assert.strictEqual(standings.filter((standing) => standing === "current").length, 1)
      assert.isAtMost(standings.filter((standing) => standing === "previous").length, 1)
    })
  })

  it("a rejected generation stays rejected", () => {
    always((before, after) => {
      for (const generation of before.made) {
        if (Gen.standing(before.state, generation, after.now) === "rejected") {
          assert.strictEqual(Gen.standing(after.state, generation, after.now), "rejected")
        }
      }
    })
  })

  it("the generation that a browser last presented or received is accepted", () => {
    always((_, { as, from, made, now, state }, { does }) => {
      if (as !== "current" && as !== "previous") return
      assert.notStrictEqual(Gen.standing(state, made[0] ?? 0, now), "rejected")
      // The response may be lost: except after a rotation, the old generation stays valid.
      if (does !== "rotate") assert.notStrictEqual(Gen.standing(state, from, now + 1e12), "rejected")
    })
  })

  it("a rotation rejects all older generations at once", () => {
    always((_, { as, made: [latest, ...older], now, state }, { does }) => {
      if (does !== "rotate" || (as !== "current" && as !== "previous")) return
      assert.strictEqual(Gen.standing(state, latest ?? 0, now), "current")
      for (const generation of older) assert.strictEqual(Gen.standing(state, generation, now), "rejected")
    })
  })

  it("ten seconds after an acknowledgement all older generations are rejected", () => {
    always((_, { as, from, made, now, state }) => {
      if (as !== "current") return
      for (const generation of made.filter((generation) => generation < from)) {
        assert.strictEqual(Gen.standing(state, generation, now + Gen.grace + 1), "rejected")
      }
    })
  })

  it("are encoded as text, and invalid text decodes to nothing", () => {
    always((_, { state }) => {
      assert.deepStrictEqual(Gen.decode(Gen.encode(state)), Gen.decode(JSON.stringify(state)))
    })
    for (const text of ["", "{}", "null", `{"current":"1","fading":[]}`]) {
      assert.strictEqual(Gen.decode(text)._tag, "None")
    }
  })

  it("the number of kept generations is bounded", () => {
    let state = Gen.only(1)
    for (let i = 1; i < 100; i++) state = Gen.advance(state, i, i + 1, 0)
    assert.isAtMost(Gen.encode(state).length, 400)
  })
})
