/**
 * Builds the service of a session tag: checks the configuration, prepares the schema and binds the engine.
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import * as Expiry from "../../Expiry.js"
import type { JsonRecord } from "../../Json.js"
import type { Merge } from "../../Merge.js"
import * as SessionCodec from "../../SessionCodec.js"
import type { SessionConfigError } from "../../SessionConfigError.js"
import { SessionDirectory } from "../../SessionDirectory.js"
import { SessionEngine } from "../../SessionEngine.js"
import { SessionEvents } from "../../SessionEvents.js"
import * as SessionHistory from "../../SessionHistory.js"
import * as SessionSchema from "../../SessionSchema.js"
import type { Sessions, SessionService, Settings, Transport } from "../../SessionService.js"
import type { SubjectLimit } from "../../SessionStore.js"
import { configError } from "../configError.js"
import * as CookieRules from "../domain/cookie.js"
import * as CookieDefaults from "../domain/cookieDefaults.js"
import type { CarryOver } from "../domain/draft.js"
import * as SessionDraft from "../domain/draft.js"
import * as ExpiryRules from "../domain/expiry.js"
import * as History from "../domain/history.js"
import * as TransportRules from "../domain/transport.js"
import { type HelpId, withHelp } from "../help.js"
import { freeze } from "../json.js"
import * as Prepared from "../schema/prepared.js"
import { guardedEngine } from "../store/defects.js"
import { adminOf } from "./admin.js"
import { Batches } from "./batches.js"
import * as ContextCodec from "./context.js"
import type { Core } from "./core.js"
import { Handle } from "./handle.js"
import * as Observer from "./observer.js"
import * as Queue from "./queue.js"
import { Watchers } from "./watchers.js"

/**
 * Settings from the environment, where types cannot reject a cookie that a browser would drop, or a policy that never ends.
 * {@link make} checks them.
 */
export interface UncheckedSettings extends Omit<Settings, "cookie" | "expiry"> {
  readonly cookie?: CookieDefaults.UncheckedCookieOptions
  readonly expiry?: Expiry.Expiry
}

/**
 * Definition of a session tag.
 */
export interface Definition<A extends object, C, CI = unknown> {
  readonly name: string
  readonly namespace: string
  readonly schema: SessionSchema.Any
  readonly initial: A | undefined
  readonly merges: Readonly<Record<string, Merge<unknown> | undefined>>
  readonly carryOver: CarryOver<A>
  readonly context: Schema.Schema<C, CI> | undefined
  readonly limit: SubjectLimit | undefined
  readonly history: SessionHistory.SessionHistory<SessionSchema.Any> | undefined
  /** Default: cookies. */
  readonly transport?: Transport
  readonly settings: Settings
}

/**
 * Makes the service. Fails if the configuration cannot work.
 */
export const make = <A extends object, C, CI>(
  definition: Definition<A, C, CI>,
  overrides: UncheckedSettings
): Effect.Effect<Sessions<A, C>, SessionConfigError, SessionEngine> =>
  Effect.gen(function*() {
    const { limit, name, namespace, transport = TransportRules.cookieOnly } = definition
    const settings = { ...definition.settings, ...overrides }
    const cookie = CookieDefaults.withDefaults(settings.cookie, name)
    const expiry = settings.expiry ?? Expiry.standard
    const reject = (problem: string, help: HelpId) => configError(name, problem, help)

    const problems: ReadonlyArray<readonly [problem: string | undefined, help: HelpId]> = [
      [problemOfNamespace(namespace), "namespace-invalid"],
      [CookieRules.validate(cookie), "cookie-invalid"],
      [TransportRules.validate(transport), "bearer-header-invalid"],
      [ExpiryRules.validate(expiry), "expiry-invalid"],
      [Prepared.validate(definition.schema), "schema-invalid"],
      [problemOfLimit(limit), "option-out-of-range"]
    ]
    for (const [problem, help] of problems) {
      if (problem !== undefined) return yield* reject(problem, help)
    }
    const hasCookie = transport.accepts !== "bearer"
    if (hasCookie && !cookie.secure && (yield* isProduction)) {
      return yield* reject(
        "A cookie that is not Secure is for development on this machine, and NODE_ENV is production. " +
          "Leave out the cookie options, or choose a prefix.",
        "insecure-cookie-in-production"
      )
    }
    if (hasCookie) {
      yield* claim("cookie name", cookie.name, name)
      yield* Effect.forEach(
        CookieRules.warnings(cookie),
        ([warning, help]) => Effect.logWarning(withHelp(`${name}: ${warning}`, help))
      )
    }
    if (transport.accepts !== "cookie") yield* claim("header for bearer tokens", transport.header, name)

    const { history } = definition
    if (history !== undefined && history.last !== definition.schema) {
      return yield* reject("The history must end with the schema of the session.", "history-incomplete")
    }
    const context = yield* Effect.context<never>()
    const schema = Prepared.make<A>(definition.schema, context)
    const [initial, initialRaw] = yield* Effect.mapError(
      initialOf(schema, definition.initial),
      (issue) =>
        reject(
          `The initial value does not fit the schema at "${issue.field}": ${issue.problem}.`,
          "initial-value-invalid"
        )
    )
    const cookieScope = CookieRules.scopeOf(cookie)
    const engine = yield* Effect.flatMap(SessionEngine, (engine) =>
      engine.bind({
        namespace,
        cookieName: cookie.name,
        ...(cookieScope === undefined ? {} : { cookieScope }),
        fields: schema.keys.map(schema.encodedName),
        expiry
      }))
    if (limit !== undefined && engine.limitsSubjects !== true) {
      return yield* reject(
        "maxPerSubject needs a store that can count and write in one step, and the store of this engine cannot. Use another store, or leave " +
          "maxPerSubject out.",
        "session-limit-unsupported"
      )
    }
    const observer = yield* Observer.forTag({ name, schema: definition.schema, cookie, transport })
    const ready = engine.synchronous ?? guardedEngine(engine)
    const touchEvery = settings.touchEvery === undefined ? undefined : Duration.toMillis(settings.touchEvery)
    const core: Core<A> = {
      name,
      namespace,
      settings: {
        expiry,
        cookie,
        transport,
        onGone: settings.onGone ?? "fail",
        onUndecodable: settings.onUndecodable ?? "restart",
        commitTimeout: Duration.toMillis(settings.commitTimeout ?? "3 seconds"),
        retryAfter: Math.ceil(Duration.toSeconds(settings.retryAfter ?? "5 seconds")),
        touchEvery,
        touchWindow: touchEvery ?? ExpiryRules.touchWindow(expiry, undefined),
        watchEvery: Duration.toMillis(settings.watchEvery ?? "30 seconds"),
        limit
      },
      engine: observer?.engine(ready) ?? ready,
      isSynchronous: engine.synchronous !== undefined,
      codec: yield* SessionCodec.SessionCodec,
      schema,
      history: {
        version: History.versionOf(history),
        upgrade: (raw, version) => History.upgrade(history, raw, version, context)
      },
      initial,
      initialRaw,
      steps: SessionDraft.stepsFor(schema, initial, definition.merges, definition.carryOver),
      queue: Queue.make(),
      saves: new Batches(),
      watchers: new Watchers(),
      events: Option.getOrUndefined(yield* Effect.serviceOption(SessionEvents)),
      directory: yield* Effect.serviceOption(SessionDirectory),
      observer,
      isBackground: false
    }
    const contextCodec = definition.context === undefined
      ? ContextCodec.none<C>()
      : ContextCodec.make(definition.context)
    const request = Handle.maker(core, contextCodec)
    observer?.serves(request)
    return {
      cookie,
      transport,
      request,
      ...adminOf(core, contextCodec)
    }
  })

const problemOfNamespace = (namespace: string): string | undefined =>
  /^[\x21-\x7E]{1,128}$/.test(namespace)
    ? undefined
    : "A namespace (by default the tag's id) is a text of 1 to 128 visible ASCII characters."

const problemOfLimit = (limit: SubjectLimit | undefined): string | undefined =>
  limit === undefined || (Number.isSafeInteger(limit.max) && limit.max > 0)
    ? undefined
    : "maxPerSubject must be a whole number, 1 or more."

/**
 * The value and the encoded record that a new session starts from. All visitors share the value: it is a copy of what the
 * application passed, and its readonly objects are frozen. Fields that may be changed in place are copied for each visitor.
 */
const initialOf = <A extends object>(
  schema: Prepared.SessionSchema<A>,
  initial: A | undefined
): Effect.Effect<readonly [A, JsonRecord], Prepared.ValidationIssue> => {
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

const frozen = <A extends object>(schema: Prepared.SessionSchema<A>, value: A): A => {
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

// One build of the layers is one server. Within a server, a cookie name and a header for bearer tokens belong to one session tag.
const claimed = new WeakMap<Layer.MemoMap, Map<string, string>>()

const claim = (
  kind: "cookie name" | "header for bearer tokens",
  name: string,
  owner: string
): Effect.Effect<void, SessionConfigError> =>
  Effect.flatMap(Layer.CurrentMemoMap, (build) => {
    const names = claimed.get(build) ?? new Map<string, string>()
    claimed.set(build, names)
    const other = names.get(`${kind} ${name}`)
    if (other !== undefined && other !== owner) {
      return configError(
        owner,
        `The ${kind} "${name}" is taken by the session "${other}"; give one of them another name.`,
        "cookie-name-taken"
      )
    }
    names.set(`${kind} ${name}`, owner)
    return Effect.void
  })

/**
 * The service of a session tag, as a layer.
 */
export const layer = <Self, A extends object, C, CI, R>(
  tag: Context.Tag<SessionService<Self>, Sessions<A, C>>,
  definition: Definition<A, C, CI>,
  overrides: Settings = {}
): Layer.Layer<SessionService<Self>, SessionConfigError, SessionEngine | R> =>
  Layer.effect(tag, make(definition, overrides))
