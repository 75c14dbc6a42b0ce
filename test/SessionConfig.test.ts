import { it } from "@effect/vitest"
import {
  Cause,
  ConfigError,
  ConfigProvider,
  Context,
  Duration,
  Effect,
  Exit,
  Layer,
  Logger,
  Redacted,
  Schema,
  TestClock
} from "effect"
import { Expiry, MemoryEngine, SessionConfig } from "effect-session"
import { SessionConfigError } from "effect-session/SessionConfigError"
import { SessionDirectory } from "effect-session/SessionDirectory"
import { SessionEngine } from "effect-session/SessionEngine"
import type { SessionService as Identity } from "effect-session/SessionService"
import * as SessionService from "effect-session/SessionService"
import { assert, describe, expectTypeOf } from "vitest"
import * as EnvironmentSettings from "../src/internal/session/config.js"
import * as Service from "../src/internal/session/service.js"

type Variables = Readonly<Record<string, string>>

const environment = (variables: Variables) => ConfigProvider.fromMap(new Map(Object.entries(variables)))

const read = (variables: Variables) => Effect.withConfigProvider(EnvironmentSettings.settings, environment(variables))

const millis = (minutes: number) => minutes * 60_000

interface App {
  readonly _: unique symbol
}
interface Data {
  readonly visits: number
}
const App = Context.GenericTag<Identity<App>, SessionService.Sessions<Data>>("test/App/Service")

const definition = (settings: SessionService.Settings): Service.Definition<Data, never> => ({
  name: "test/App",
  namespace: "test/App",
  schema: Schema.Struct({ visits: Schema.Number }),
  initial: { visits: 0 },
  merges: {},
  carryOver: [],
  context: undefined,
  limit: undefined,
  history: undefined,
  settings
})

/** The service of a tag with the settings `own`, built in this environment. */
const built = (variables: Variables, own: SessionService.Settings = {}) =>
  EnvironmentSettings.layer<App, Data, never, unknown, never>(App, definition(own)).pipe(
    Layer.provide(MemoryEngine.layer),
    Layer.provide(Layer.setConfigProvider(environment(variables)))
  )

const cookieOf = (variables: Variables, own: SessionService.Settings = {}) =>
  Effect.provide(Effect.map(App, (service) => service.cookie), built(variables, own))

/** The message with which an effect fails. */
const messageOf = (effect: Effect.Effect<unknown, unknown>) =>
  Effect.map(Effect.exit(effect), (exit) => {
    if (Exit.isSuccess(exit)) return "accepted"
    const error = Cause.squash(exit.cause)
    return error instanceof SessionConfigError ? `SessionConfigError ${error.message}` : String(error)
  })

describe("settings", () => {
  const cases: ReadonlyArray<readonly [Variables, EnvironmentSettings.Overrides]> = [
    [{ SESSION_COOKIE_NAME: "shop" }, { cookie: { name: "shop" } }],
    [{ SESSION_COOKIE_PREFIX: "__Host-Http-" }, { cookie: { prefix: "__Host-Http-" } }],
    [{ SESSION_COOKIE_PREFIX: "__Host-" }, { cookie: { prefix: "__Host-" } }],
    [{ SESSION_COOKIE_PREFIX: "__Secure-" }, { cookie: { prefix: "__Secure-" } }],
    [{ SESSION_COOKIE_PREFIX: "__Http-" }, { cookie: { prefix: "__Http-" } }],
    [{ SESSION_COOKIE_PREFIX: "none" }, { cookie: { prefix: "" } }],
    [{ SESSION_COOKIE_DOMAIN: "example.com" }, { cookie: { domain: "example.com" } }],
    [{ SESSION_COOKIE_PATH: "/a,b" }, { cookie: { path: "/a,b" } }],
    [{ SESSION_COOKIE_SECURE: "false" }, { cookie: { secure: false } }],
    [{ SESSION_COOKIE_SECURE: "1" }, { cookie: { secure: true } }],
    [{ SESSION_COOKIE_SAMESITE: "strict" }, { cookie: { sameSite: "strict" } }],
    [{ SESSION_COOKIE_SAMESITE: " Lax " }, { cookie: { sameSite: "lax" } }],
    [{ SESSION_COOKIE_SAMESITE: "none", SESSION_ACKNOWLEDGE_CROSS_SITE: "true" }, { cookie: { sameSite: "none" } }],
    [{ SESSION_COOKIE_PARTITIONED: "true" }, { cookie: { partitioned: true } }],
    [{ SESSION_EXPIRE_AT_BROWSER_CLOSE: "yes" }, { cookie: { browserLength: true } }],
    [{ SESSION_IDLE: "20 minutes" }, { expiry: { idle: millis(20) } }],
    [{ SESSION_SINCE_MODIFIED: "1 day" }, { expiry: { sinceModified: millis(1440) } }],
    [{ SESSION_ABSOLUTE: "8 hours" }, { expiry: { absolute: millis(480), bounded: true } }],
    [{ SESSION_EXPIRY: "standard" }, { expiry: Expiry.standard }],
    [{ SESSION_EXPIRY: "django" }, { expiry: Expiry.django }],
    [{ SESSION_EXPIRY: "aal1" }, { expiry: Expiry.aal1 }],
    [{ SESSION_EXPIRY: "AAL2" }, { expiry: Expiry.aal2 }],
    [{ SESSION_EXPIRY: "aal3" }, { expiry: Expiry.aal3 }],
    [{ SESSION_ON_GONE: "discard" }, { onGone: "discard" }],
    [{ SESSION_ON_UNDECODABLE: "fail" }, { onUndecodable: "fail" }]
  ]
  for (const [variables, expected] of cases) {
    it.effect(
      Object.entries(variables).map(([name, value]) => `${name}=${value}`).join(" "),
      () =>
        Effect.map(
          read(variables),
          (overrides) => assert.deepStrictEqual(overrides, { cookie: {}, expiry: {}, ...expected })
        )
    )
  }

  for (
    const [name, field, value, expected] of [
      ["SESSION_COMMIT_TIMEOUT", "commitTimeout", "500 millis", 500],
      ["SESSION_RETRY_AFTER", "retryAfter", "10 seconds", 10_000],
      ["SESSION_TOUCH_EVERY", "touchEvery", "0 seconds", 0],
      ["SESSION_WATCH_EVERY", "watchEvery", "10 seconds", 10_000]
    ] as const
  ) {
    it.effect(`${name}=${value}`, () =>
      Effect.map(read({ [name]: value }), (overrides) => {
        assert.deepStrictEqual(Object.keys(overrides).sort(), [field, "cookie", "expiry"].sort())
        assert.strictEqual(Duration.toMillis(overrides[field] ?? "1 nano"), expected)
      }))
  }

  it.effect("unset and empty variables override nothing", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* read({}), { cookie: {}, expiry: {} })
      assert.deepStrictEqual(yield* read({ SESSION_COOKIE_DOMAIN: "", SESSION_IDLE: "", SESSION_EXPIRY: "" }), {
        cookie: {},
        expiry: {}
      })
    }))

  it.effect("reads the same names from a constant-case provider with a prefix", () =>
    Effect.gen(function*() {
      const overrides = yield* Effect.withConfigProvider(
        EnvironmentSettings.settings,
        ConfigProvider.fromMap(new Map([["SHOP_SESSION_COOKIE_NAME", "shop"]]), { pathDelim: "_" }).pipe(
          ConfigProvider.nested("SHOP")
        )
      )
      assert.deepStrictEqual(overrides.cookie, { name: "shop" })
    }))
})

describe("an invalid value is reported with the name of the variable and without the value", () => {
  const cases: ReadonlyArray<readonly [Variables, string]> = [
    [{ SESSION_COOKIE_NAME: " " }, "must be a text that is not blank."],
    [{ SESSION_COOKIE_PREFIX: "host" }, "must be one of __Host-Http-, __Host-, __Secure-, __Http-, none."],
    [{ SESSION_COOKIE_SECURE: "maybe" }, "must be one of 0, 1, true, false, yes, no, on, off."],
    [{ SESSION_COOKIE_SAMESITE: "constructor" }, "must be one of lax, strict, none."],
    [{ SESSION_COOKIE_PARTITIONED: "maybe" }, "must be one of"],
    [{ SESSION_EXPIRE_AT_BROWSER_CLOSE: "maybe" }, "must be one of"],
    [{ SESSION_IDLE: "1200" }, "must be a length of time such as \"20 minutes\", and not zero."],
    [{ SESSION_SINCE_MODIFIED: "-1 days" }, "must be a length of time"],
    [{ SESSION_ABSOLUTE: "forever" }, "must be a length of time"],
    [{ SESSION_EXPIRY: "nist" }, "must be one of standard, django, aal1, aal2, aal3."],
    [{ SESSION_ON_GONE: "ignore" }, "must be one of fail, discard."],
    [{ SESSION_ON_UNDECODABLE: "ignore" }, "must be one of restart, fail."],
    [{ SESSION_COMMIT_TIMEOUT: "0 seconds" }, "must be a length of time"],
    [{ SESSION_RETRY_AFTER: "5s" }, "must be a length of time"],
    [{ SESSION_TOUCH_EVERY: "often" }, "must be a length of time such as \"20 minutes\"."],
    [{ SESSION_ACKNOWLEDGE_CROSS_SITE: "maybe" }, "must be one of"],
    [{ SESSION_COOKIE_SAMESITE: "none" }, "=none gives up the browser's defence against forged requests"],
    [
      { SESSION_COOKIE_SAMESITE: "none", SESSION_ACKNOWLEDGE_CROSS_SITE: "false" },
      "SESSION_ACKNOWLEDGE_CROSS_SITE=true"
    ],
    [{ SESSION_EXPIRY: "aal2", SESSION_IDLE: "20 minutes" }, "names a whole policy; leave out SESSION_IDLE"]
  ]
  for (const [variables, sentence] of cases) {
    const [name, value] = Object.entries(variables)[0] ?? []
    it.effect(`${name}=${value}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(read(variables))
        assert.isTrue(ConfigError.isConfigError(error))
        assert.include(String(error), `Invalid data at ${name}: "${name}`)
        assert.include(String(error), sentence)
      }))
  }

  it.effect("a secret in the wrong variable is not printed", () =>
    Effect.gen(function*() {
      const secret = "hunter2"
      assert.notInclude(String(yield* Effect.flip(read({ SESSION_IDLE: secret }))), secret)
      assert.notInclude(String(yield* Effect.flip(read({ SESSION_EXPIRY: secret }))), secret)
      assert.notInclude(yield* messageOf(cookieOf({ SESSION_COOKIE_PATH: secret })), secret)
    }))

  it.effect("all invalid variables are reported at once", () =>
    Effect.gen(function*() {
      const error = String(yield* Effect.flip(read({ SESSION_IDLE: "x", SESSION_ON_GONE: "x" })))
      assert.include(error, "SESSION_IDLE must be")
      assert.include(error, "SESSION_ON_GONE must be")
    }))
})

describe("settings overlaid on a tag's own", () => {
  it.effect("unset variables change nothing", () =>
    Effect.gen(function*() {
      const own: SessionService.Settings = {
        cookie: { name: "shop", prefix: "__Secure-", domain: "example.com", sameSite: "strict" },
        expiry: Expiry.aal2,
        onGone: "discard"
      }
      assert.deepStrictEqual(EnvironmentSettings.overlay(own, yield* read({})), own)
      assert.strictEqual((yield* cookieOf({})).name, "__Host-Http-session")
      assert.deepStrictEqual(yield* cookieOf({}, own), {
        name: "__Secure-shop",
        domain: "example.com",
        path: "/",
        secure: true,
        sameSite: "strict",
        partitioned: false,
        browserLength: false
      })
    }))

  it.effect("cookie settings are replaced field by field", () =>
    Effect.gen(function*() {
      const cookie = yield* cookieOf(
        { SESSION_COOKIE_DOMAIN: "example.org" },
        { cookie: { name: "shop", prefix: "__Secure-", domain: "example.com" } }
      )
      assert.strictEqual(cookie.name, "__Secure-shop")
      assert.strictEqual(cookie.domain, "example.org")
    }))

  it.effect("the expiry policy is replaced limit by limit, or entirely by a preset", () =>
    Effect.gen(function*() {
      const own = { expiry: Expiry.aal2 }
      const expiry = (variables: Variables, settings: SessionService.Settings) =>
        Effect.map(read(variables), (overrides) => EnvironmentSettings.overlay(settings, overrides).expiry)
      assert.deepStrictEqual(
        yield* expiry({ SESSION_IDLE: "20 minutes" }, own),
        Expiry.earliest(Expiry.idle("20 minutes"), Expiry.absolute("24 hours"))
      )
      assert.deepStrictEqual(
        yield* expiry({ SESSION_ABSOLUTE: "20 days" }, {}),
        Expiry.earliest(Expiry.idle("14 days"), Expiry.absolute("20 days"))
      )
      assert.deepStrictEqual(yield* expiry({ SESSION_EXPIRY: "django" }, own), Expiry.django)
    }))

  const rejected: ReadonlyArray<readonly [Variables, SessionService.Settings, RegExp]> = [
    [{ SESSION_COOKIE_DOMAIN: "example.com" }, {}, /^SessionConfigError .* cannot carry a Domain/],
    [{ SESSION_COOKIE_SECURE: "false" }, {}, /^SessionConfigError .* must be Secure/],
    [
      { SESSION_COOKIE_PREFIX: "none", SESSION_COOKIE_SECURE: "false", NODE_ENV: "production" },
      {},
      /^SessionConfigError .* NODE_ENV is production/
    ],
    [
      { SESSION_COOKIE_SAMESITE: "lax" },
      { cookie: { sameSite: "none", acknowledgeCrossSite: true, partitioned: true } },
      /^SessionConfigError .* partitioned cookie needs SameSite=None/
    ],
    [{ SESSION_ABSOLUTE: "1 day" }, {}, /^SessionConfigError .* idle limit .* longer than its absolute limit/],
    [{ SESSION_IDLE: "1 milli" }, {}, /^SessionConfigError .* idle limit .* at least one second/],
    [{ SESSION_ON_GONE: "ignore" }, {}, /Invalid data at SESSION_ON_GONE/]
  ]
  for (const [variables, own, sentence] of rejected) {
    it.effect(`${JSON.stringify(variables)} over ${JSON.stringify(own)} is rejected`, () =>
      Effect.map(messageOf(cookieOf(variables, own)), (message) => assert.match(message, sentence)))
  }

  it.effect("a session expires by the limits set in the environment", () =>
    Effect.gen(function*() {
      const service = yield* App
      const visit = (cookie: string | undefined) =>
        Effect.gen(function*() {
          const session = service.request(cookie)
          yield* session.update("visits", (n) => n + 1)
          const visits = yield* session.get("visits")
          assert.isUndefined(yield* session.finish(200))
          return { visits, pending: session.used?.setCookie }
        })
      const first = yield* visit(undefined)
      if (first.pending === undefined || first.pending === "expire") return assert.fail("no cookie was sent")
      assert.strictEqual(first.pending.maxAge, 8 * 60 * 60)
      const cookie = `__Host-Http-shop=${Redacted.value(first.pending.value)}`
      yield* TestClock.adjust("19 minutes")
      assert.strictEqual((yield* visit(cookie)).visits, 2)
      yield* TestClock.adjust("20 minutes")
      assert.strictEqual((yield* visit(cookie)).visits, 1)
    }).pipe(Effect.provide(
      built({ SESSION_COOKIE_NAME: "shop", SESSION_IDLE: "20 minutes", SESSION_ABSOLUTE: "8 hours" })
    )))
})

describe("a warning at startup in production", () => {
  /** The lines logged while the layer is built. */
  const logged = (variables: Variables) =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        lines.push(`${logLevel.label} ${String(message)}`)
      })
      yield* Effect.scoped(Layer.build(built(variables))).pipe(
        Effect.provide(Logger.replace(Logger.defaultLogger, logger))
      )
      return lines
    })

  it.effect("for a Secure cookie without a prefix", () =>
    Effect.map(logged({ SESSION_COOKIE_PREFIX: "none" }), (lines) => {
      assert.lengthOf(lines, 1)
      assert.match(String(lines[0]), /^WARN test\/App: The name of the session cookie has no prefix/)
    }))

  it.effect("for SameSite=None", () =>
    Effect.map(logged({ SESSION_COOKIE_SAMESITE: "none", SESSION_ACKNOWLEDGE_CROSS_SITE: "true" }), (lines) => {
      assert.lengthOf(lines, 1)
      assert.match(String(lines[0]), /^WARN test\/App: The session cookie is SameSite=None/)
    }))

  it.effect("not for the defaults, nor for a development cookie", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* logged({}), [])
      assert.deepStrictEqual(yield* logged({ SESSION_COOKIE_PREFIX: "none", SESSION_COOKIE_SECURE: "false" }), [])
    }))
})

describe("engine", () => {
  class Client extends Context.Tag("test/Client")<Client, string>() {}

  /** Engines that record that they are built; the second needs a client and provides no directory. */
  const engines = (builds: Array<string>) =>
    SessionConfig.engine({
      memory: () => Layer.tap(MemoryEngine.layer, () => Effect.sync(() => builds.push("memory"))),
      remote: () =>
        Layer.effect(
          SessionEngine,
          Effect.zipWith(SessionEngine, Client, (engine, client) => {
            builds.push(client)
            return engine
          })
        ).pipe(Layer.provide(MemoryEngine.layer))
    })

  const choose = (variables: Variables) =>
    Effect.gen(function*() {
      const builds: Array<string> = []
      yield* Effect.scoped(Layer.build(Layer.provide(engines(builds), Layer.succeed(Client, "remote")))).pipe(
        Effect.withConfigProvider(environment(variables))
      )
      return builds
    })

  it.effect("builds only the engine named in SESSION_ENGINE", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* choose({ SESSION_ENGINE: "remote" }), ["remote"])
      assert.deepStrictEqual(yield* choose({ SESSION_ENGINE: "memory" }), ["memory"])
    }))

  it.effect("builds the first engine if none is named", () =>
    Effect.map(choose({}), (builds) => assert.deepStrictEqual(builds, ["memory"])))

  it.effect("rejects an unknown name with a message that lists the names", () =>
    Effect.map(
      messageOf(choose({ SESSION_ENGINE: "toString" })),
      (message) => assert.include(message, "SESSION_ENGINE must be one of memory, remote.")
    ))

  it("provides what all of them provide, and requires what any of them requires", () => {
    const both = engines([])
    expectTypeOf(both).toExtend<Layer.Layer<SessionEngine, ConfigError.ConfigError, Client>>()
    expectTypeOf<Layer.Layer.Context<typeof both>>().toEqualTypeOf<Client>()
    expectTypeOf<Layer.Layer.Error<typeof both>>().toEqualTypeOf<ConfigError.ConfigError>()
    expectTypeOf(both).not.toExtend<Layer.Layer<SessionDirectory, ConfigError.ConfigError, Client>>()
    const one = SessionConfig.engine({ memory: () => MemoryEngine.layer })
    expectTypeOf(one).toExtend<Layer.Layer<SessionEngine | SessionDirectory, ConfigError.ConfigError>>()
    // @ts-expect-error an engine provides SessionEngine
    SessionConfig.engine({ none: () => Layer.empty })
  })
})
