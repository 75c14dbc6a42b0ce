import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import * as Expiry from "effect-session/Expiry"
import type * as Lifetime from "effect-session/Lifetime"
import * as fc from "fast-check"
import * as ExpiryRules from "../src/internal/domain/expiry.js"

const seconds = 1000
const minutes = 60 * seconds
const hours = 60 * minutes
const days = 24 * hours

const moment = fc.integer({ min: 0, max: 4_000_000_000_000 })
const length = fc.integer({ min: 1 * seconds, max: 400 * days })
const limit: fc.Arbitrary<Expiry.Expiry> = fc.oneof(
  length.map((millis) => Expiry.idle(millis)),
  length.map((millis) => Expiry.sinceModified(millis)),
  length.map((millis) => Expiry.absolute(millis)),
  moment.map((date) => Expiry.at(date))
)
const policy: fc.Arbitrary<Expiry.Expiry> = fc.tuple(limit, fc.array(limit, { maxLength: 4 }))
  .map(([first, others]) => Expiry.earliest(first, ...others))
const lifetime: fc.Arbitrary<Lifetime.Lifetime | undefined> = fc.oneof(
  fc.constant(undefined),
  fc.constant<Lifetime.Lifetime>({ _tag: "Browser" }),
  fc.integer({ min: 0, max: 1000 * days }).map((millis): Lifetime.Lifetime => ({ _tag: "Inactivity", millis })),
  moment.map((at): Lifetime.Lifetime => ({ _tag: "Until", at }))
)
const times: fc.Arbitrary<Expiry.Times> = fc.record({
  createdAt: moment,
  authenticatedAt: fc.option(moment, { nil: undefined }),
  modifiedAt: moment,
  lastSeenAt: moment
})

const makeTimes = (now: number): Expiry.Times => ({
  createdAt: now,
  authenticatedAt: undefined,
  modifiedAt: now,
  lastSeenAt: now
})

const end = (self: Expiry.Expiry, from: Expiry.Times) => ExpiryRules.initial(self, from, undefined).at

describe("earliest", () => {
  it("is associative", () =>
    fc.assert(fc.property(policy, policy, policy, (a, b, c) =>
      assert.deepStrictEqual(
        Expiry.earliest(a, Expiry.earliest(b, c)),
        Expiry.earliest(Expiry.earliest(a, b), c)
      ))))

  it("is commutative", () =>
    fc.assert(
      fc.property(policy, policy, (a, b) => assert.deepStrictEqual(Expiry.earliest(a, b), Expiry.earliest(b, a)))
    ))

  it("is idempotent", () =>
    fc.assert(fc.property(policy, (a) => {
      assert.deepStrictEqual(Expiry.earliest(a), a)
      assert.deepStrictEqual(Expiry.earliest(a, a), a)
    })))

  it("ends a session at the earliest end of its limits", () =>
    fc.assert(
      fc.property(policy, policy, times, (a, b, from) =>
        assert.strictEqual(end(Expiry.earliest(a, b), from), Math.min(end(a, from), end(b, from))))
    ))

  it("is bounded if one of its limits is, also in its type", () => {
    const unbounded = Expiry.earliest(Expiry.idle("1 hour"), Expiry.sinceModified("1 day"))
    expectTypeOf(unbounded).toEqualTypeOf<Expiry.Expiry<false>>()
    assert.isFalse(unbounded.bounded)

    const bounded = Expiry.earliest(Expiry.idle("1 hour"), Expiry.absolute("1 day"))
    expectTypeOf(bounded).toEqualTypeOf<Expiry.Expiry<true>>()
    assert.isTrue(bounded.bounded)
    assert.isTrue(Expiry.earliest(Expiry.at("2030-01-01T00:00:00Z"), Expiry.idle("1 hour")).bounded)

    // @ts-expect-error a policy without an absolute limit
    const rejected: Expiry.Expiry<true> = unbounded
    assert.isDefined(ExpiryRules.validate(rejected))
  })
})

describe("initial", () => {
  it("returns the earliest of all limits, each measured from its own time", () =>
    fc.assert(fc.property(policy, times, (self, from) => {
      const start = from.authenticatedAt === undefined ? from.createdAt : from.authenticatedAt
      const ends = [
        self.absolute === undefined ? [] : [start + self.absolute],
        self.at === undefined ? [] : [self.at],
        self.idle === undefined ? [] : [from.lastSeenAt + self.idle],
        self.sinceModified === undefined ? [] : [from.modifiedAt + self.sinceModified]
      ].flat()
      assert.strictEqual(end(self, from), Math.min(...ends))
    })))

  it("never ends after the deadline, whatever the session's own lifetime", () =>
    fc.assert(fc.property(policy, times, lifetime, (self, from, own) => {
      const { at, deadline } = ExpiryRules.initial(self, from, own)
      assert.strictEqual(deadline !== undefined, self.bounded)
      assert.isTrue(deadline === undefined || at <= deadline)
    })))

  it("a session's own inactivity replaces idle, or sinceModified if there is no idle", () => {
    const own: Lifetime.Lifetime = { _tag: "Inactivity", millis: 2 * days }
    const from: Expiry.Times = {
      createdAt: 0,
      authenticatedAt: undefined,
      modifiedAt: 1 * hours,
      lastSeenAt: 5 * hours
    }
    const idling = Expiry.earliest(Expiry.idle("1 hour"), Expiry.absolute("30 days"))
    assert.strictEqual(ExpiryRules.initial(idling, from, own).at, 5 * hours + 2 * days)
    assert.strictEqual(ExpiryRules.initial(Expiry.django, from, own).at, 1 * hours + 2 * days)
    assert.strictEqual(ExpiryRules.initial(Expiry.absolute("1 day"), from, own).at, 1 * days)
  })

  it("a session's own date replaces idle, within the absolute limit", () =>
    fc.assert(fc.property(moment, length, moment, (now, absolute, until) =>
      assert.strictEqual(
        ExpiryRules.initial(
          Expiry.earliest(Expiry.idle("1 second"), Expiry.absolute(absolute)),
          makeTimes(now),
          { _tag: "Until", at: until }
        ).at,
        Math.min(now + absolute, until)
      ))))

  it("a browser-length lifetime affects only the cookie", () =>
    fc.assert(
      fc.property(policy, times, (self, from) =>
        assert.strictEqual(ExpiryRules.initial(self, from, { _tag: "Browser" }).at, end(self, from)))
    ))
})

type Event =
  | { readonly _tag: "Touch" | "Save" | "Rotate" | "Reseal"; readonly now: number }
  | { readonly _tag: "SetLifetime"; readonly now: number; readonly lifetime: Lifetime.Lifetime | undefined }
  | { readonly _tag: "Deploy"; readonly now: number; readonly policy: Expiry.Expiry }
  | { readonly _tag: "Authenticate"; readonly now: number }

const activity: fc.Arbitrary<Event> = fc.oneof(
  fc.record({ _tag: fc.constantFrom("Touch", "Save", "Rotate", "Reseal"), now: moment }),
  fc.record({ _tag: fc.constant("SetLifetime"), now: moment, lifetime }),
  fc.record({ _tag: fc.constant("Deploy"), now: moment, policy })
)
const authentication: fc.Arbitrary<Event> = fc.record({ _tag: fc.constant("Authenticate"), now: moment })

interface Life {
  readonly policy: Expiry.Expiry
  readonly times: Expiry.Times
  readonly expiry: Expiry.SessionExpiry
}

/** Applies one event to a session's times, as a store would record them. */
const applyEvent = ({ expiry, policy, times }: Life, event: Event): Life => {
  const lastSeenAt = event._tag === "Reseal" ? times.lastSeenAt : Math.max(times.lastSeenAt, event.now)
  const seen = { ...times, lastSeenAt }
  const written = { ...seen, modifiedAt: Math.max(times.modifiedAt, event.now) }
  switch (event._tag) {
    case "Touch":
    case "Reseal":
      return { policy, times: seen, expiry: ExpiryRules.next(policy, expiry, seen, expiry.lifetime) }
    case "Save":
    case "Rotate":
      return { policy, times: written, expiry: ExpiryRules.next(policy, expiry, written, expiry.lifetime) }
    case "SetLifetime":
      return { policy, times: written, expiry: ExpiryRules.next(policy, expiry, written, event.lifetime) }
    case "Deploy":
      return applyEvent({ expiry, policy: event.policy, times }, { _tag: "Touch", now: event.now })
    case "Authenticate": {
      const authenticated = { ...written, authenticatedAt: event.now }
      return { policy, times: authenticated, expiry: ExpiryRules.initial(policy, authenticated, expiry.lifetime) }
    }
  }
}

const create = (self: Expiry.Expiry, now: number): Life => {
  const from = makeTimes(now)
  return { policy: self, times: from, expiry: ExpiryRules.initial(self, from, undefined) }
}

describe("next", () => {
  it("ASVS 7.3.2: no sequence of touch, save, rotate, reseal, own lifetime or new policy moves the deadline", () =>
    fc.assert(fc.property(policy, moment, fc.array(activity, { maxLength: 20 }), (self, now, events) => {
      const first = create(self, now)
      let life = first
      for (const event of events) {
        life = applyEvent(life, event)
        assert.strictEqual(life.expiry.deadline, first.expiry.deadline)
        assert.isTrue(life.expiry.deadline === undefined || life.expiry.at <= life.expiry.deadline)
      }
    })))

  it("N5: only authenticating again moves the deadline, to the absolute limit counted from then", () =>
    fc.assert(fc.property(length, moment, fc.array(fc.oneof(activity, authentication)), (absolute, now, events) => {
      let life = create(Expiry.absolute(absolute), now)
      let deadline = now + absolute
      for (const event of events.filter(({ _tag }) => _tag !== "Deploy")) {
        life = applyEvent(life, event)
        if (event._tag === "Authenticate") deadline = event.now + absolute
        assert.strictEqual(life.expiry.deadline, deadline)
      }
    })))

  it("N5: activity extends the idle limit and never shortens it", () =>
    fc.assert(fc.property(length, fc.array(moment, { minLength: 1 }), (idle, uses) => {
      const self = Expiry.earliest(Expiry.idle(idle), Expiry.at(Number.MAX_SAFE_INTEGER / 2))
      let life = create(self, 0)
      for (const now of uses) life = applyEvent(life, { _tag: "Touch", now })
      assert.strictEqual(life.expiry.at, Math.min(Math.max(...uses) + idle, Number.MAX_SAFE_INTEGER / 2))
    })))

  it("a touch never extends a session under sinceModified", () =>
    fc.assert(fc.property(fc.array(moment), (uses) => {
      let life = create(Expiry.django, 0)
      for (const now of uses) life = applyEvent(life, { _tag: "Touch", now })
      assert.strictEqual(life.expiry.at, 14 * days)
    })))

  it("a clock that goes back extends nothing", () =>
    fc.assert(fc.property(policy, moment, fc.nat(), (self, now, back) => {
      const life = create(self, now)
      assert.isAtMost(applyEvent(life, { _tag: "Save", now: now - back }).expiry.at, life.expiry.at)
    })))
})

describe("isExpired", () => {
  it("is true from the expiry time on, and false a millisecond before", () =>
    fc.assert(fc.property(moment, fc.nat(), (at, later) => {
      const expiry: Expiry.SessionExpiry = { at, deadline: undefined, lifetime: undefined }
      assert.isTrue(ExpiryRules.isExpired(expiry, at + later))
      assert.isFalse(ExpiryRules.isExpired(expiry, at - 1 - later))
    })))
})

describe("touchWindow", () => {
  it("ends a session at most a tenth of its idle limit early, and never late", () =>
    fc.assert(fc.property(length, fc.array(fc.integer({ min: 0, max: 1 * days })), (idle, pauses) => {
      const self = Expiry.earliest(Expiry.idle(idle), Expiry.at(Number.MAX_SAFE_INTEGER / 2))
      const window = ExpiryRules.touchWindow(self, undefined)
      if (window === undefined) return assert.fail("activity extends this session")
      let life = create(self, 0)
      let now = 0
      for (const pause of pauses) {
        now += pause
        if (now - life.times.lastSeenAt >= window) life = applyEvent(life, { _tag: "Touch", now })
        assert.isAtMost(life.expiry.at, now + idle)
        assert.isAtLeast(life.expiry.at, now + idle - Math.ceil(idle / 10))
      }
    })))

  it("is a tenth of the session's own inactivity, if it has one", () =>
    assert.strictEqual(
      ExpiryRules.touchWindow(Expiry.standard, { _tag: "Inactivity", millis: 50 * minutes }),
      5 * minutes
    ))

  it("is undefined if activity extends nothing", () => {
    assert.isUndefined(ExpiryRules.touchWindow(Expiry.django, undefined))
    assert.isUndefined(ExpiryRules.touchWindow(Expiry.django, { _tag: "Inactivity", millis: 1 * hours }))
    assert.isUndefined(ExpiryRules.touchWindow(Expiry.absolute("1 day"), undefined))
    assert.isUndefined(ExpiryRules.touchWindow(Expiry.standard, { _tag: "Until", at: 0 }))
  })
})

describe("presets", () => {
  const none = { idle: undefined, sinceModified: undefined, absolute: undefined, at: undefined, bounded: true }
  const presets: ReadonlyArray<readonly [string, Expiry.Expiry<true>, Partial<Expiry.Expiry>]> = [
    ["N1: aal1 is 30 days in all", Expiry.aal1, { absolute: 30 * days }],
    ["N2: aal2 is 24 hours in all, 1 hour idle", Expiry.aal2, { absolute: 24 * hours, idle: 1 * hours }],
    ["N3: aal3 is 12 hours in all, 15 minutes idle", Expiry.aal3, { absolute: 12 * hours, idle: 15 * minutes }],
    ["standard is 30 days in all, 14 days idle", Expiry.standard, { absolute: 30 * days, idle: 14 * days }],
    ["django is two weeks since the last change", Expiry.django, { sinceModified: 14 * days }]
  ]
  for (const [title, preset, limits] of presets) {
    it(title, () => {
      assert.deepStrictEqual(preset, { ...none, ...limits })
      assert.isUndefined(ExpiryRules.validate(preset))
    })
  }
})

describe("validate", () => {
  const bounded = (self: Expiry.Expiry) => Expiry.earliest(self, Expiry.absolute("1 day"))
  const rejected: ReadonlyArray<readonly [string, Expiry.Expiry, RegExp]> = [
    ["an idle limit alone", Expiry.idle("1 hour"), /Expiry\.absolute/],
    ["a sinceModified limit alone", Expiry.sinceModified("1 hour"), /Expiry\.absolute/],
    ["an idle limit under a second", bounded(Expiry.idle("999 millis")), /^The idle limit/],
    ["a sinceModified limit under a second", bounded(Expiry.sinceModified(0)), /^The sinceModified limit/],
    ["an absolute limit under a second", Expiry.absolute(999), /^The absolute limit/],
    ["an infinite absolute limit", Expiry.absolute(Infinity), /^The absolute limit.*finite/],
    ["an infinite idle limit", Expiry.idle(Infinity), /^The idle limit.*finite/],
    ["a negative limit", bounded(Expiry.idle(-5)), /^The idle limit/],
    ["an idle limit that never applies", bounded(Expiry.idle("25 hours")), /^The idle limit.*longer/],
    [
      "a sinceModified limit that never applies",
      bounded(Expiry.sinceModified("25 hours")),
      /^The sinceModified.*longer/
    ]
  ]
  for (const [title, self, sentence] of rejected) {
    it(`rejects ${title}`, () => assert.match(ExpiryRules.validate(self) ?? "", sentence))
  }

  it("accepts one second, and an idle limit equal to the absolute limit", () => {
    assert.isUndefined(ExpiryRules.validate(Expiry.absolute("1 second")))
    assert.isUndefined(ExpiryRules.validate(bounded(Expiry.idle("1 day"))))
    assert.isUndefined(ExpiryRules.validate(Expiry.at("2030-01-01T00:00:00Z")))
  })
})
