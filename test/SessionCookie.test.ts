import { assert, describe, it } from "@effect/vitest"
import type { SessionExpiry } from "effect-session/Expiry"
import * as Expiry from "effect-session/Expiry"
import type { Lifetime } from "effect-session/Lifetime"
import type { CookieOptions } from "effect-session/SessionCookie"
import * as SessionCookie from "effect-session/SessionCookie"
import * as fc from "fast-check"
import * as CookieRules from "../src/internal/domain/cookie.js"
import * as ExpiryRules from "../src/internal/domain/expiry.js"

const plain = SessionCookie.make()

describe("make", () => {
  it("N12: the defaults are __Host-Http-session, Secure, SameSite=Lax, Path=/, no Domain", () => {
    assert.deepStrictEqual(plain, {
      name: "__Host-Http-session",
      domain: undefined,
      path: "/",
      secure: true,
      sameSite: "lax",
      partitioned: false,
      browserLength: false
    })
    assert.isUndefined(CookieRules.validate(plain))
  })

  it("R27: the development preset has its own name, no prefix, and is not Secure", () => {
    const cookie = SessionCookie.make(SessionCookie.development)
    assert.notInclude(plain.name, cookie.name)
    assert.isFalse(cookie.name.startsWith("__"))
    assert.isFalse(cookie.secure)
    assert.isUndefined(CookieRules.validate(cookie))
  })

  it("uses the given options", () =>
    assert.deepStrictEqual(
      SessionCookie.make({
        prefix: "__Secure-",
        name: "shop",
        domain: "example.com",
        path: "/shop",
        sameSite: "none",
        acknowledgeCrossSite: true,
        partitioned: true,
        browserLength: true
      }),
      {
        name: "__Secure-shop",
        domain: "example.com",
        path: "/shop",
        secure: true,
        sameSite: "none",
        partitioned: true,
        browserLength: true
      }
    ))
})

describe("a combination that browsers drop does not type-check, and validate rejects it", () => {
  const illegal: Readonly<Record<string, CookieOptions>> = {
    // @ts-expect-error a __Host- cookie cannot carry a Domain
    "ASVS 3.3.1: __Host- with a Domain": { prefix: "__Host-", domain: "example.com" },
    // @ts-expect-error nor can the default prefix
    "ASVS 3.3.1: the default prefix with a Domain": { domain: "example.com" },
    // @ts-expect-error a __Host- cookie has the path /
    "ASVS 3.3.1: __Host-Http- with a Path": { prefix: "__Host-Http-", path: "/app" },
    // @ts-expect-error a prefixed cookie is Secure
    "ASVS 3.3.1: __Secure- that is not Secure": { prefix: "__Secure-", secure: false },
    // @ts-expect-error a prefixed cookie is Secure
    "ASVS 3.3.1: __Http- that is not Secure": { prefix: "__Http-", secure: false },
    // @ts-expect-error SameSite=None needs Secure
    "R20: SameSite=None that is not Secure": { prefix: "", secure: false, sameSite: "none" },
    // @ts-expect-error partitioned cookies need SameSite=None
    "R26: Partitioned without SameSite=None": { partitioned: true }
  }
  for (const [title, options] of Object.entries(illegal)) {
    it(title, () => assert.isString(CookieRules.validate(SessionCookie.make(options))))
  }

  it("ASVS 3.3.2: SameSite=None must be acknowledged", () => {
    // @ts-expect-error the acknowledgement is missing
    const options: CookieOptions = { sameSite: "none" }
    assert.strictEqual(SessionCookie.make(options).sameSite, "none")
  })
})

/** Whether a browser keeps the cookie, by RFC 6265bis 5.7 and layered cookies 5, independently of the code. */
const browserKeeps = (cookie: SessionCookie.SessionCookie): boolean => {
  const begins = (prefix: string) => cookie.name.toLowerCase().startsWith(prefix)
  const rules = [
    !begins("__secure-") || cookie.secure,
    !begins("__http-") || cookie.secure,
    !begins("__host-http-") || (cookie.secure && cookie.path === "/" && cookie.domain === undefined),
    !begins("__host-") || (cookie.secure && cookie.path === "/" && cookie.domain === undefined),
    cookie.sameSite !== "none" || cookie.secure,
    !cookie.partitioned || cookie.secure
  ]
  // R26 is stricter than browsers: a partitioned cookie without SameSite=None is a mistake.
  return rules.every((rule) => rule) && (!cookie.partitioned || cookie.sameSite === "none")
}

const prefixes = [
  "",
  "__Host-Http-",
  "__Host-",
  "__Secure-",
  "__Http-",
  "__HOST-",
  "__secure-",
  "__hTTP-",
  "__host-HTTP-"
]
const combinations: ReadonlyArray<SessionCookie.SessionCookie> = prefixes.flatMap((prefix) =>
  [undefined, "example.com", ".example.com"].flatMap((domain) =>
    ["/", "/app"].flatMap((path) =>
      [true, false].flatMap((secure) =>
        (["lax", "strict", "none"] as const).flatMap((sameSite) =>
          [true, false].map((partitioned) => ({
            name: `${prefix}session`,
            domain,
            path,
            secure,
            sameSite,
            partitioned,
            browserLength: false
          }))
        )
      )
    )
  )
)

describe("validate", () => {
  for (const prefix of prefixes) {
    it(`ASVS 3.3.1: ${prefix || "no prefix"}: rejects exactly the combinations that a browser drops`, () => {
      for (const cookie of combinations.filter(({ name }) => name === `${prefix}session`)) {
        assert.strictEqual(CookieRules.validate(cookie) === undefined, browserKeeps(cookie), JSON.stringify(cookie))
      }
    })
  }

  const rejected: Readonly<Record<string, Partial<SessionCookie.SessionCookie>>> = {
    "a name with a space": { name: "my session" },
    "a name with =": { name: "a=b" },
    "a name with ;": { name: "a;b" },
    "a name with a quote": { name: "\"a\"" },
    "a name with a line break": { name: "session\n" },
    "a name that is not ASCII": { name: "sessi\u00F3n" },
    "no name": { name: "" },
    "R2: a name that leaves no room for a value of 4096 bytes": { name: "a".repeat(4096) },
    "R3: a path of 1025 characters": { name: "s", path: `/${"a".repeat(1024)}` },
    "R3: a domain of 1025 characters": { name: "s", domain: `${"a.".repeat(512)}a` },
    "a path that does not begin with /": { name: "s", path: "app" },
    "a path with a semicolon": { name: "s", path: "/; Domain=evil.example" },
    "a path with a line break": { name: "s", path: "/\r\nSet-Cookie: a=b" },
    "a path that is not ASCII": { name: "s", path: "/caf\u00E9" },
    "an empty domain": { name: "s", domain: "" },
    "a domain with a semicolon": { name: "s", domain: "example.com; Path=/" },
    "a domain with a port": { name: "s", domain: "example.com:80" },
    "a domain with an empty label": { name: "s", domain: "example..com" }
  }
  for (const [title, fields] of Object.entries(rejected)) {
    it(`rejects ${title}`, () => assert.isString(CookieRules.validate({ ...plain, ...fields })))
  }

  const accepted: Readonly<Record<string, Partial<SessionCookie.SessionCookie>>> = {
    "R3: a path of 1024 characters": { name: "s", path: `/${"a".repeat(1023)}` },
    "R3: a domain of 1024 characters": { name: "s", domain: `${"a.".repeat(511)}aa` },
    "a domain": { name: "s", domain: "shop.example.com" },
    "every character that a name may contain": { name: "!#$%&'*+-.^_`|~09azAZ" }
  }
  for (const [title, fields] of Object.entries(accepted)) {
    it(`accepts ${title}`, () => assert.isUndefined(CookieRules.validate({ ...plain, ...fields })))
  }
})

const moment = fc.integer({ min: 0, max: 8_000_000_000_000 })
const lifetime: fc.Arbitrary<Lifetime | undefined> = fc.oneof(
  fc.constant(undefined),
  fc.constant<Lifetime>({ _tag: "Browser" }),
  fc.nat().map((millis): Lifetime => ({ _tag: "Inactivity", millis })),
  moment.map((at): Lifetime => ({ _tag: "Until", at }))
)
const expiry: fc.Arbitrary<SessionExpiry> = fc.record({
  at: moment,
  deadline: fc.option(moment, { nil: undefined }),
  lifetime
})
const cookie = fc.boolean().map((browserLength) => SessionCookie.make({ browserLength }))
const fourHundredDays = 400 * 86_400

describe("maxAge", () => {
  it("R4, R5: is whole seconds between 0 and 400 days", () =>
    fc.assert(fc.property(cookie, expiry, moment, (cookie, expiry, now) => {
      const age = CookieRules.maxAge(cookie, expiry, now)
      if (age === undefined) return
      assert.isTrue(Number.isInteger(age) && age >= 0 && age <= fourHundredDays, String(age))
      assert.isFalse(Object.is(age, -0))
    })))

  it("R5: ends less than a second before the session, and never after it", () =>
    fc.assert(fc.property(moment, moment, moment, fc.boolean(), (now, left, at, fixed) => {
      const end = now + (left % (fourHundredDays * 1000))
      const expiry: SessionExpiry = fixed
        ? { at, deadline: end, lifetime: undefined }
        : { at: end, deadline: undefined, lifetime: undefined }
      const until = now + 1000 * (CookieRules.maxAge(plain, expiry, now) ?? Number.NaN)
      assert.isAtMost(until, end)
      assert.isAbove(until, end - 1000)
    })))

  it("runs to the computed end of a session with its own lifetime, even if the cookie is browser-length", () =>
    fc.assert(fc.property(cookie, moment, (cookie, now) =>
      assert.strictEqual(
        CookieRules.maxAge(
          cookie,
          { at: now + 90_999, deadline: now + 9_000_000, lifetime: { _tag: "Until", at: now + 90_999 } },
          now
        ),
        90
      ))))

  it("is absent exactly if the cookie ends with the browser", () =>
    fc.assert(fc.property(cookie, expiry, moment, (cookie, expiry, now) =>
      assert.strictEqual(
        CookieRules.maxAge(cookie, expiry, now) === undefined,
        expiry.lifetime?._tag === "Browser" || (expiry.lifetime === undefined && cookie.browserLength)
      ))))

  it("does not grow as time passes", () =>
    fc.assert(fc.property(cookie, expiry, moment, fc.nat(), (cookie, expiry, now, passed) =>
      assert.isAtMost(
        CookieRules.maxAge(cookie, expiry, now + passed) ?? 0,
        CookieRules.maxAge(cookie, expiry, now) ?? 0
      ))))
})

describe("slides", () => {
  const policy = fc.constantFrom(Expiry.standard, Expiry.django, Expiry.aal3, Expiry.at(6_000_000_000_000))
  const initialExpiry = (policy: Expiry.Expiry, now: number, own: Lifetime | undefined) =>
    ExpiryRules.initial(policy, { createdAt: now, authenticatedAt: undefined, modifiedAt: now, lastSeenAt: now }, own)

  it("if it is false, activity does not change Max-Age", () =>
    fc.assert(
      fc.property(cookie, policy, lifetime, moment, fc.nat(), (cookie, policy, own, now, passed) => {
        const first = initialExpiry(policy, now, own)
        fc.pre(!CookieRules.slides(cookie, first))
        const later = ExpiryRules.next(
          policy,
          first,
          { createdAt: now, authenticatedAt: undefined, modifiedAt: now + passed, lastSeenAt: now + passed },
          own
        )
        assert.strictEqual(CookieRules.maxAge(cookie, later, now), CookieRules.maxAge(cookie, first, now))
      })
    ))

  it("is true without an absolute limit, and for a session with its own inactivity", () => {
    assert.isTrue(CookieRules.slides(plain, initialExpiry(Expiry.django, 0, undefined)))
    assert.isTrue(CookieRules.slides(plain, initialExpiry(Expiry.standard, 0, { _tag: "Inactivity", millis: 5000 })))
    assert.isFalse(CookieRules.slides(plain, initialExpiry(Expiry.standard, 0, undefined)))
  })
})
