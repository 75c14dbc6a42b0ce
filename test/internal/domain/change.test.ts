import { assert, describe, it } from "@effect/vitest"
import type { SessionChange, State } from "../../../src/internal/domain/change.js"
import { aborted, decide } from "../../../src/internal/domain/change.js"

const now = 1_000_000
const window = 60_000

interface Row {
  readonly when: string
  readonly applies: (state: State, status: number) => boolean
  readonly then: SessionChange
}

/** The decision table: the first row that applies decides. */
const rows: ReadonlyArray<Row> = [
  { when: "already answered, upgraded, or the load failed", applies: (s) => s.answered, then: "Keep" },
  { when: "L3: never used", applies: (s) => !s.opened && !s.destroyed, then: "Keep" },
  {
    when: "destroyed, and not changed after",
    applies: (s) => s.destroyed && !s.changed && s.presented,
    then: "Destroy"
  },
  {
    when: "destroyed without a presented cookie, and not changed after",
    applies: (s) => s.destroyed && !s.changed,
    then: "Keep"
  },
  { when: "R17: status 500 or more", applies: (_, status) => status >= 500, then: "Keep" },
  { when: "aborted by the client", applies: (_, status) => status === 499, then: "Keep" },
  { when: "discarded", applies: (s) => s.discarded, then: "Keep" },
  { when: "destroyed, then changed", applies: (s) => s.destroyed && s.presented, then: "Replace" },
  { when: "destroyed without a presented cookie, then changed", applies: (s) => s.destroyed, then: "Create" },
  { when: "F12: new and unchanged", applies: (s) => s.isNew && !s.changed, then: "Keep" },
  { when: "new and changed", applies: (s) => s.isNew, then: "Create" },
  { when: "authenticated or rotated", applies: (s) => s.rotates, then: "Rotate" },
  { when: "changed", applies: (s) => s.changed, then: "Save" },
  {
    when: "last seen before the touch window",
    applies: (s) => s.touchWindow !== undefined && s.lastSeenAt <= now - s.touchWindow,
    then: "Touch"
  },
  { when: "sealed with an older key", applies: (s) => s.needsReseal, then: "Reseal" },
  { when: "otherwise", applies: () => true, then: "Keep" }
]

const both = [false, true]
const statuses = [100, 101, 200, 204, 206, 301, 304, 400, 401, 403, 404, 409, 498, 499, 500, 503, 599, 600]
const ages: ReadonlyArray<Pick<State, "lastSeenAt" | "touchWindow">> = [
  { lastSeenAt: 0, touchWindow: undefined },
  { lastSeenAt: now, touchWindow: window },
  { lastSeenAt: now - window + 1, touchWindow: window },
  { lastSeenAt: now - window, touchWindow: window },
  { lastSeenAt: 0, touchWindow: window },
  { lastSeenAt: now + 5 * window, touchWindow: window }
]

/** Every combination of the flags and ages. */
const states: ReadonlyArray<State> = ages.flatMap((age) =>
  both.flatMap((answered) =>
    both.flatMap((presented) =>
      both.flatMap((destroyed) =>
        both.flatMap((discarded) =>
          both.flatMap((opened) =>
            both.flatMap((isNew) =>
              both.flatMap((changed) =>
                both.flatMap((rotates) =>
                  both.map((needsReseal): State => ({
                    ...age,
                    answered,
                    presented,
                    destroyed,
                    discarded,
                    opened,
                    isNew,
                    changed,
                    rotates,
                    needsReseal
                  }))
                )
              )
            )
          )
        )
      )
    )
  )
)

const cases = states.flatMap((state) => statuses.map((status) => ({ state, status })))

const deciding = (state: State, status: number): Row => {
  const row = rows.find(({ applies }) => applies(state, status))
  return row ?? assert.fail("the last row always applies")
}

describe("decide", () => {
  for (const row of rows) {
    it(`${row.when}: ${row.then}`, () => {
      const covered = cases.filter(({ state, status }) => deciding(state, status) === row)
      assert.isNotEmpty(covered, "no combination reaches this row")
      for (const { state, status } of covered) {
        if (decide(state, now, status) !== row.then) {
          assert.fail(`${JSON.stringify({ state, status })} gave ${decide(state, now, status)}`)
        }
      }
    })
  }

  it("covers every combination of the flags, ages and statuses", () =>
    assert.strictEqual(cases.length, 2 ** 9 * ages.length * statuses.length))

  it("an aborted request has status 499", () => assert.strictEqual(aborted, 499))
})

const decided = (where: (state: State, status: number) => boolean): ReadonlyArray<SessionChange> => [
  ...new Set(
    cases.filter(({ state, status }) => where(state, status))
      .map(({ state, status }) => decide(state, now, status))
  )
]

describe("laws that follow from the table", () => {
  it("L2: after destroy, the old record is never saved, touched or rotated", () =>
    assert.sameMembers([...decided((s) => s.destroyed)], ["Keep", "Destroy", "Replace", "Create"]))

  it("destroy is carried out at any status, even if the handler failed or called discard", () =>
    assert.deepStrictEqual(
      decided((s) => s.destroyed && !s.changed && s.presented && !s.answered),
      ["Destroy"]
    ))

  it("R17: a failed or discarded request writes nothing, and destroys the session if asked to", () =>
    assert.sameMembers(
      [...decided((s, status) => status >= 500 || status === aborted || s.discarded)],
      ["Keep", "Destroy"]
    ))

  it("L3: a request that did not use the session writes nothing", () =>
    assert.deepStrictEqual(decided((s) => !s.opened && !s.destroyed), ["Keep"]))

  it("L5: a session whose load failed is never written or destroyed", () =>
    assert.deepStrictEqual(decided((s) => s.answered), ["Keep"]))

  it("only a request without a live record, or after destroy, creates a record", () =>
    assert.notIncludeMembers([...decided((s) => !s.isNew && !s.destroyed)], ["Create", "Replace"]))

  it("F12: an anonymous visitor without changes gets no record and no cookie", () =>
    assert.deepStrictEqual(decided((s) => s.isNew && !s.changed && !s.destroyed), ["Keep"]))

  it("a clock that went back causes no touch", () => assert.notInclude(decided((s) => s.lastSeenAt > now), "Touch"))
})
