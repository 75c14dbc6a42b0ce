/**
 * The service behind a session tag: configured and checked once, when its layer is built.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Expiry from "./Expiry.js"
import { freeze } from "./internal/json.js"
import { adminOf } from "./internal/session/admin.js"
import { Batches } from "./internal/session/batches.js"
import type { Core } from "./internal/session/core.js"
import { Handle } from "./internal/session/handle.js"
import * as Queue from "./internal/session/queue.js"
import { Watchers } from "./internal/session/watchers.js"
import { guardedEngine } from "./internal/store/defects.js"
import type { JsonRecord } from "./Json.js"
import type { Merge } from "./Merge.js"
import type { SessionAdmin } from "./SessionAdmin.js"
import * as SessionCodec from "./SessionCodec.js"
import { SessionConfigError } from "./SessionConfigError.js"
import * as SessionCookie from "./SessionCookie.js"
import { SessionDirectory } from "./SessionDirectory.js"
import * as SessionDraft from "./SessionDraft.js"
import { SessionEngine } from "./SessionEngine.js"
import type { RequestOptions, RequestSession } from "./SessionHandle.js"
import * as SessionHistory from "./SessionHistory.js"
import * as SessionSchema from "./SessionSchema.js"

/**
 * The identity of the service of one session tag: two tags never share one.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionService<in out Self> {
  readonly "~effect-session/SessionService": (self: Self) => Self
}

/**
 * What a deployment may choose. A session tag gives its own defaults; `layerWith` overrides them.
 *
 * @since 0.1.0
 * @category models
 */
export interface Settings {
  /** When sessions end. Default `Expiry.standard`: two weeks of inactivity, thirty days in all. */
  readonly expiry?: Expiry.Bounded<
    "A session needs an end that activity cannot move: add Expiry.absolute(…) to the policy with Expiry.earliest"
  >
  /** The cookie. Default `__Host-Http-session`: Secure, HttpOnly, SameSite=Lax, Path=/. */
  readonly cookie?: SessionCookie.CookieOptions
  /**
   * What becomes of changes to a session that has ended meanwhile: `"fail"` answers 409 and is the default;
   * `"discard"` lets the handler's response stand and drops the changes.
   */
  readonly onGone?: "fail" | "discard"
  /**
   * What becomes of a session whose data does not fit the schema: `"restart"` treats the visitor as anonymous and
   * leaves the record alone, and is the default; `"fail"` answers 503.
   */
  readonly onUndecodable?: "restart" | "fail"
  /**
   * How long a commit may take in all, replays included. Each of two tries of a write, and the question what became of them,
   * may take a share of it, and at most the `timeout` of the engine. Default 3 seconds.
   */
  readonly commitTimeout?: Duration.DurationInput
  /** What `Retry-After` says when the store is down. Default 5 seconds. */
  readonly retryAfter?: Duration.DurationInput
  /**
   * How often the use of a session is written down. Default: once per tenth of the idle limit. `0`: with every request
   * that uses the session.
   */
  readonly touchEvery?: Duration.DurationInput
  /**
   * How often a connection that outlives its request looks whether its session has ended elsewhere: see
   * `SessionHandle.awaitEnd`. Default 30 seconds.
   */
  readonly watchEvery?: Duration.DurationInput
}

/**
 * Settings that were read from somewhere, where types cannot refuse a cookie that a browser would drop, or a policy that
 * never ends. Building the service does.
 *
 * @since 0.2.0
 * @category models
 */
export interface UncheckedSettings extends Omit<Settings, "cookie" | "expiry"> {
  readonly cookie?: SessionCookie.UncheckedCookieOptions
  readonly expiry?: Expiry.Expiry
}

/**
 * What a session tag is made of.
 *
 * @since 0.1.0
 * @category models
 */
export interface Definition<A extends object> {
  readonly name: string
  readonly namespace: string
  readonly schema: SessionSchema.Any
  readonly initial: A | undefined
  readonly merges: Readonly<Record<string, Merge<unknown> | undefined>>
  readonly history: SessionHistory.SessionHistory<SessionSchema.Any> | undefined
  readonly settings: Settings
}

/**
 * The service of one session tag.
 *
 * @since 0.1.0
 * @category models
 */
export interface Sessions<A> extends SessionAdmin<A> {
  readonly cookie: SessionCookie.SessionCookie
  /** The session of a request with this raw `Cookie` header. Does no I/O. */
  readonly request: (cookieHeader: string | undefined, options?: RequestOptions) => RequestSession<A>
}

/**
 * Makes the service: checks the configuration, prepares the schema, and binds the engine.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <A extends object>(
  definition: Definition<A>,
  overrides: UncheckedSettings
): Effect.Effect<Sessions<A>, SessionConfigError, SessionEngine> =>
  Effect.gen(function*() {
    const { name, namespace } = definition
    const settings = { ...definition.settings, ...overrides }
    const cookie = SessionCookie.fromUnchecked(settings.cookie, name)
    const expiry = settings.expiry ?? Expiry.standard
    const reject = (problem: string) => new SessionConfigError({ subject: name, problem })

    const problem = problemOfNamespace(namespace) ?? SessionCookie.validate(cookie) ?? Expiry.validate(expiry) ??
      SessionSchema.validate(definition.schema)
    if (problem !== undefined) return yield* reject(problem)
    if (!cookie.secure && (yield* isProduction)) {
      return yield* reject(
        "A cookie that is not Secure is for development on this machine, and NODE_ENV is production. " +
          "Leave out the cookie options, or choose a prefix."
      )
    }
    yield* claimCookieName(cookie.name, name)
    yield* Effect.forEach(SessionCookie.warnings(cookie), (doubt) => Effect.logWarning(`${name}: ${doubt}`))

    const { history } = definition
    if (history !== undefined && history.last !== definition.schema) {
      return yield* reject("The history must end with the schema of the session.")
    }
    const context = yield* Effect.context<never>()
    const schema = SessionSchema.make<A>(definition.schema, context)
    const [initial, initialRaw] = yield* Effect.mapError(
      initialOf(schema, definition.initial),
      (misfit) => reject(`The initial value does not fit the schema at "${misfit.field}": ${misfit.problem}.`)
    )
    const cookieScope = SessionCookie.scopeOf(cookie)
    const engine = yield* Effect.flatMap(SessionEngine, (engine) =>
      engine.bind({ namespace, cookieName: cookie.name, ...(cookieScope === undefined ? {} : { cookieScope }) }))
    const touchEvery = settings.touchEvery === undefined ? undefined : Duration.toMillis(settings.touchEvery)
    const core: Core<A> = {
      name,
      namespace,
      settings: {
        expiry,
        cookie,
        onGone: settings.onGone ?? "fail",
        onUndecodable: settings.onUndecodable ?? "restart",
        commitTimeout: Duration.toMillis(settings.commitTimeout ?? "3 seconds"),
        retryAfter: Math.ceil(Duration.toSeconds(settings.retryAfter ?? "5 seconds")),
        touchEvery,
        touchWindow: touchEvery ?? Expiry.touchWindow(expiry, undefined),
        watchEvery: Duration.toMillis(settings.watchEvery ?? "30 seconds")
      },
      engine: engine.synchronous ?? guardedEngine(engine),
      isSynchronous: engine.synchronous !== undefined,
      codec: yield* SessionCodec.SessionCodec,
      schema,
      history: {
        version: SessionHistory.versionOf(history),
        upgrade: (raw, version) =>
          SessionHistory.upgrade(history?.upgrades ?? [], raw, version, context)
      },
      initial,
      initialRaw,
      steps: SessionDraft.stepsFor(schema, initial, definition.merges),
      queue: Queue.make(),
      saves: new Batches(),
      watchers: new Watchers(),
      directory: yield* Effect.serviceOption(SessionDirectory),
      unattended: false
    }
    return {
      cookie,
      request: Handle.maker(core),
      ...adminOf(core)
    }
  })

const problemOfNamespace = (namespace: string): string | undefined =>
  /^[\x21-\x7E]{1,128}$/.test(namespace)
    ? undefined
    : "A namespace (by default the tag's id) is a text of 1 to 128 visible ASCII characters."

/**
 * The value and the encoded record that a new session starts from. All visitors share the value: it is one that nobody else
 * has, and its readonly objects are frozen. Of fields that may be changed in place each visitor gets a copy.
 */
const initialOf = <A extends object>(
  schema: SessionSchema.SessionSchema<A>,
  initial: A | undefined
): Effect.Effect<readonly [A, JsonRecord], SessionSchema.ValidationIssue> => {
  if (initial !== undefined) {
    return Effect.flatMap(
      schema.encode(initial),
      (raw) => Effect.map(schema.copy(initial), (own) => [frozen(schema, own), raw] as const)
    )
  }
  // Defaults stay out of the record, so that a later version may change them.
  return Effect.flatMap(schema.decode({}), (decoded) =>
    Effect.zipRight(
      Effect.forEach(schema.mutable, (key) => schema.copyField(key, decoded), { discard: true }),
      Effect.match(schema.copy(decoded), {
        onFailure: () => [decoded, {}] as const,
        onSuccess: (own) => [frozen(schema, own), {}] as const
      })
    ))
}

const frozen = <A extends object>(schema: SessionSchema.SessionSchema<A>, value: A): A => {
  for (const key of schema.keys) {
    if (!schema.mutable.has(key)) freeze(value[key])
  }
  return schema.isClass ? value : Object.freeze(value)
}

const isProduction = Config.string("NODE_ENV").pipe(
  Config.withDefault(""),
  Effect.orElseSucceed(() => ""),
  Effect.map((environment) => environment === "production")
)

// One build of the layers is one server, and in one server a cookie name belongs to one session tag.
const claimed = new WeakMap<Layer.MemoMap, Map<string, string>>()

const claimCookieName = (cookieName: string, owner: string): Effect.Effect<void, SessionConfigError> =>
  Effect.flatMap(Layer.CurrentMemoMap, (build) => {
    const names = claimed.get(build) ?? new Map<string, string>()
    claimed.set(build, names)
    const other = names.get(cookieName)
    if (other !== undefined && other !== owner) {
      return new SessionConfigError({
        subject: owner,
        problem: `The cookie name "${cookieName}" is taken by the session "${other}"; give one of them another name.`
      })
    }
    names.set(cookieName, owner)
    return Effect.void
  })

/**
 * The service as a layer, under the tag of one session.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <Self, A extends object, R>(
  tag: Context.Tag<SessionService<Self>, Sessions<A>>,
  definition: Definition<A>,
  overrides: Settings = {}
): Layer.Layer<SessionService<Self>, SessionConfigError, SessionEngine | R> =>
  Layer.effect(tag, make(definition, overrides))
