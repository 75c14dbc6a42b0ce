/**
 * The public session handle: a thin layer over `Live`.
 */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { Json } from "../../Json.js"
import * as Lifetime from "../../Lifetime.js"
import type * as ReadOnce from "../../ReadOnce.js"
import { SessionDirectory } from "../../SessionDirectory.js"
import type { CookieValue } from "../../SessionEngine.js"
import type { SessionError, SessionUnavailable, SessionWriteError } from "../../SessionError.js"
import { SessionInvalid, SessionNotFresh } from "../../SessionError.js"
import type {
  Absence,
  AwaitEndOptions,
  ElevateOptions,
  ExpiryOptions,
  FreshRequirements,
  IfOptional,
  IfReadOnce,
  LoginOptions,
  SessionHandle
} from "../../SessionHandle.js"
import type { SessionId } from "../../SessionId.js"
import { SessionRevocation } from "../../SessionRevocation.js"
import type { RequestOptions, RequestSession, UsedSession } from "../../SessionService.js"
import * as Attributes from "../domain/attributes.js"
import { scan } from "../domain/cookieHeader.js"
import type { Draft } from "../domain/draft.js"
import type * as SessionDraft from "../domain/draft.js"
import * as ExpiryRules from "../domain/expiry.js"
import * as LifetimeRules from "../domain/lifetime.js"
import { incoming } from "../domain/transport.js"
import type { RuntimeFiber } from "../done.js"
import { withHelp } from "../help.js"
import { consume, contentOf } from "./consumeOnce.js"
import type { ContextCodec } from "./context.js"
import type { Core } from "./core.js"
import { stepError } from "./errors.js"
import * as Events from "./events.js"
import type { Forgery } from "./forgery.js"
import { Live } from "./live.js"
import { maxPresentedValues } from "./presented.js"
import { spannedIfTraced } from "./spans.js"

/**
 * The handle that `yield* AppSession` returns. Its functions are getters, so they can be destructured, and a request that uses
 * none allocates none. The state is created at the first use.
 */
export class Handle<A extends object, C> implements RequestSession<A, C> {
  readonly #core: Core<A>
  readonly #context: ContextCodec<C>
  readonly #cookieHeader: string | undefined
  readonly #options: RequestOptions | undefined
  #state: Live<A> | undefined
  /** The request has ended, and the session was not used. */
  #isFinished = false

  constructor(
    core: Core<A>,
    context: ContextCodec<C>,
    cookieHeader: string | undefined,
    options?: RequestOptions,
    state?: Live<A>
  ) {
    this.#core = core
    this.#context = context
    this.#cookieHeader = cookieHeader
    this.#options = options
    this.#state = state
  }

  /** Makes a handle outside a request. */
  static of<A extends object, C>(core: Core<A>, context: ContextCodec<C>, live: Live<A>): Handle<A, C> {
    return new Handle(core, context, undefined, undefined, live)
  }

  /** Returns a constructor of request handles. */
  static maker<A extends object, C>(core: Core<A>, context: ContextCodec<C>) {
    return (cookieHeader: string | undefined, options?: RequestOptions): Handle<A, C> =>
      new Handle(core, context, cookieHeader, options)
  }

  /** The state of a value that is a handle of this session tag. */
  static liveOf<A extends object>(core: Core<A>, value: unknown): Live<A> | undefined {
    return value instanceof Handle && value.#core === core ? value.#live : undefined
  }

  /** The protection of a handle's session against forged requests; absent for a value that is no handle of this library. */
  static forgeryOf(value: unknown): Forgery | undefined {
    return value instanceof Handle ? value.#live.forgery : undefined
  }

  get #live(): Live<A> {
    if (this.#state !== undefined) return this.#state
    const { engine, settings: { cookie, transport } } = this.#core
    const presented = incoming(
      transport,
      () => scan(this.#cookieHeader, cookie.name, maxPresentedValues),
      this.#options ?? {},
      (text) => engine.recognizes?.(text) ?? true
    )
    const state = new Live(this.#core, presented.candidates, this.#options, presented.transport)
    state.finished = this.#isFinished
    return this.#state = state
  }

  // ---- for the HTTP adapter

  get transport(): "cookie" | "bearer" | undefined {
    return this.#live.transport
  }

  get used(): UsedSession | undefined {
    return this.#state?.accessed === true ? this.#state : undefined
  }

  get finish() {
    return (status: number): Effect.Effect<SessionError | undefined> =>
      Effect.withFiberRuntime((fiber) => {
        const branches = hasChildren(fiber)
        if (this.#state === undefined && !branches) {
          this.#isFinished = true
          return fine
        }
        return this.#live.finish(status, fiber, branches)
      })
  }

  get detach() {
    return () => void (this.#live.detached = true)
  }

  // ---- reading

  get value(): Effect.Effect<A, SessionUnavailable> {
    return this.#live.whole
  }

  get get() {
    return <K extends keyof A & string>(key: K): Effect.Effect<A[K], SessionUnavailable> => this.#live.get(key)
  }

  get getOption() {
    return <K extends keyof A & string>(key: IfOptional<A, K>) => Effect.map(this.get<K>(key), optionOf)
  }

  get has() {
    return (key: keyof A & string): Effect.Effect<boolean, SessionUnavailable> =>
      Effect.map(this.get(key), (value) => value !== undefined)
  }

  get getOrElse() {
    return <K extends keyof A & string, B>(key: IfOptional<A, K>, orElse: () => B) =>
      Effect.map(this.getOption<K>(key), Option.getOrElse(orElse))
  }

  get isEmpty(): Effect.Effect<boolean, SessionUnavailable> {
    return Effect.flatMap(
      this.value,
      (value) =>
        Effect.every(
          this.#core.schema.keys,
          (key) => Effect.orElseSucceed(this.#core.steps.sameField(key, value, this.#core.initial), () => false)
        )
    )
  }

  get token(): Effect.Effect<Option.Option<CookieValue>, SessionUnavailable> {
    return this.#live.read(() => Option.map(Option.fromNullable(this.#live.loaded), ({ value }) => value))
  }

  get subject(): Effect.Effect<Option.Option<string>, SessionUnavailable> {
    return this.#live.read((draft) => Option.fromNullable(draft.attributes.impersonating ?? draft.subject))
  }

  get requireSubject(): Effect.Effect<string, SessionNotFresh | SessionUnavailable> {
    return Effect.flatMap(
      this.subject,
      Option.match({
        onNone: () => new SessionNotFresh({ session: this.#core.name, reason: "anonymous" }),
        onSome: Effect.succeed
      })
    )
  }

  get impersonator(): Effect.Effect<Option.Option<string>, SessionUnavailable> {
    return this.#live.read((draft) =>
      draft.attributes.impersonating === undefined ? Option.none() : Option.fromNullable(draft.subject)
    )
  }

  get authenticatedAt(): Effect.Effect<Option.Option<DateTime.Utc>, SessionUnavailable> {
    return Effect.map(
      this.#authentication,
      ({ at }) => at === undefined || at === unknownTime ? Option.none() : Option.some(DateTime.unsafeMake(at))
    )
  }

  get methods(): Effect.Effect<ReadonlyArray<string>, SessionUnavailable> {
    return Effect.map(this.#authentication, ({ methods }) => methods)
  }

  get level(): Effect.Effect<number, SessionUnavailable> {
    return Effect.map(this.#authentication, ({ level }) => level)
  }

  get isRemembered(): Effect.Effect<boolean, SessionUnavailable> {
    return this.#live.read(({ attributes: { remembered } }) => remembered === true)
  }

  get #authentication() {
    return Effect.zipWith(
      this.#live.read((draft) => draft),
      Clock.currentTimeMillis,
      (draft, now) => Attributes.authentication(draft.attributes, this.#authenticatedAt(draft, now))
    )
  }

  /** The time of the login, which is now if the login is not written yet; absent for an anonymous session. */
  #authenticatedAt(draft: Draft<A>, now: number): number | undefined {
    if (draft.subject === undefined) return undefined
    return draft.authenticated ? now : this.#live.loaded?.record.authenticatedAt ?? unknownTime
  }

  get clientContext(): Effect.Effect<Option.Option<C>, SessionUnavailable> {
    return Effect.flatMap(
      this.#live.read(({ attributes: { context } }) => context),
      (context) => this.#context.decode(this.#core.name, context)
    )
  }

  get absence(): Effect.Effect<Option.Option<Absence>, SessionUnavailable> {
    return this.#live.read(() => Option.fromNullable(this.#live.absence), false)
  }

  get requireFresh() {
    return (requirements: FreshRequirements): Effect.Effect<void, SessionNotFresh | SessionUnavailable> => {
      const { allowImpersonating = false, allowRemembered = false, level, methods } = requirements
      const within = requirements.within === undefined ? undefined : Duration.toMillis(requirements.within)
      return Effect.flatMap(Effect.zip(this.#live.read((draft) => draft), Clock.currentTimeMillis), ([draft, now]) => {
        const reason = Attributes.unmet(
          draft.attributes,
          this.#authenticatedAt(draft, now),
          { within, methods: methods ?? [], level: level ?? 0, allowRemembered, allowImpersonating },
          now
        )
        if (reason !== undefined) Events.refused(this.#core, now, this.#live.loaded, "notFresh")
        return reason === undefined ? Effect.void : new SessionNotFresh({
          session: this.#core.name,
          reason,
          ...within === undefined ? {} : { within: Math.floor(within / 1000) },
          ...methods === undefined ? {} : { methods },
          ...level === undefined ? {} : { level }
        })
      })
    }
  }

  get id(): Effect.Effect<Option.Option<SessionId>, SessionUnavailable> {
    return this.#live.read(() => Option.map(Option.fromNullable(this.#live.loaded), ({ record }) => record.id))
  }

  // ---- changing

  get set() {
    return <K extends keyof A & string>(key: K, value: Required<A>[K]) =>
      this.#live.assign([[key, { present: true, value }]])
  }

  get remove() {
    return <K extends keyof A & string>(key: IfOptional<A, K>) => this.#live.assign([[key, { present: false }]])
  }

  get patch() {
    return (fields: Partial<A>) =>
      this.#live.assign(
        Object.entries(fields).map(([key, value]) => [key as keyof A & string, { present: true, value }])
      )
  }

  get update() {
    return <K extends keyof A & string>(key: K, f: (value: A[K]) => Required<A>[K]) =>
      this.#live.step(() => this.#core.steps.update(key, ({ value }) => ({ present: true, value: f(value[key]) })))
  }

  get modify() {
    return <K extends keyof A & string, B>(
      key: K,
      f: (value: A[K]) => readonly [result: B, next: Required<A>[K]],
      same: (a: B, b: B) => boolean = Equal.equals
    ) => {
      const update = ({ value }: Draft<A>): readonly [B, SessionDraft.Field] => {
        const [result, next] = f(value[key])
        return [result, { present: true, value: next }]
      }
      return this.#live.changeField(key, (draft) => {
        const first = update(draft)
        return [first[0], this.#core.steps.modify(key, update, same, first)]
      })
    }
  }

  get pop() {
    return <K extends keyof A & string>(key: IfOptional<A, K>) =>
      this.#live.changeField(key, (draft) => {
        this.#live.reads.add(key)
        return [
          optionOf<A[K]>(draft.value[key]),
          this.#core.steps.assign(key, { present: false }, this.#live.reads.has(key), false)
        ]
      })
  }

  get popOrElse() {
    return <K extends keyof A & string, B>(key: IfOptional<A, K>, orElse: () => B) =>
      Effect.map(this.pop<K>(key), Option.getOrElse(orElse))
  }

  get getOrSet() {
    return <K extends keyof A & string>(key: IfOptional<A, K>, value: Exclude<A[K], undefined>) => {
      const isMutable = this.#core.schema.mutable.has(key)
      const set = this.#live.change((draft) => {
        this.#live.reads.add(key)
        const there = draft.value[key] as Exclude<A[K], undefined> | undefined
        if (there !== undefined) return [there, this.#core.steps.nothing]
        const add = (field: SessionDraft.Field) =>
          [value, this.#core.steps.assign(key, field, this.#live.reads.has(key), false)] as const
        const field = { present: true, value }
        return isMutable ? Effect.map(this.#core.steps.snapshot(key, field), add) : add(field)
      })
      return isMutable
        ? Effect.zipRight(set, Effect.map(this.getOption<K>(key), Option.getOrElse(() => value)))
        : set
    }
  }

  get take() {
    return <K extends keyof A & string>(
      key: IfReadOnce<A, K>
    ): Effect.Effect<Option.Option<ReadOnce.Content<A[K]>>, SessionError, SessionDirectory> => {
      // The type has checked that there is a stored engine, but not that it is the engine of this session.
      const consumed = this.#core.engine.selfContained
        ? Effect.dieMessage(
          withHelp(
            `The session "${this.#core.name}" is stored in its cookie, so a browser that holds an older cookie would get a value of ` +
              "ReadOnce again. Use a stored engine for it.",
            "take-needs-a-store"
          )
        )
        : this.#take<K>(key)
      return Effect.zipRight(SessionDirectory, consumed)
    }
  }

  #take<K extends keyof A & string>(key: K): Effect.Effect<Option.Option<ReadOnce.Content<A[K]>>, SessionError> {
    // A prefetched page may never be shown, and the response to a HEAD request has no body.
    if (this.#options?.prefetch === true) return this.#live.prefetched
    return this.#options?.head === true
      ? Effect.map(this.get(key), contentOf)
      : consume<A, K>(this.#core, this.#live, key)
  }

  get clear(): Effect.Effect<void, SessionWriteError> {
    return this.#live.step(() => this.#core.steps.clear(this.#live.reads.all))
  }

  get rotate(): Effect.Effect<void, SessionWriteError> {
    return this.#live.step(() => this.#core.steps.rotate)
  }

  get cycleKey() {
    return this.rotate
  }

  get setTestCookie(): Effect.Effect<void, SessionWriteError> {
    return this.#live.step(() => this.#core.steps.keep)
  }

  get testCookieWorked(): Effect.Effect<boolean, SessionUnavailable> {
    return this.#live.read(() => this.#live.loaded !== undefined)
  }

  get deleteTestCookie(): Effect.Effect<void, SessionWriteError> {
    return Effect.flatMap(
      Effect.all([this.isEmpty, this.subject]),
      ([empty, subject]) => empty && Option.isNone(subject) ? this.destroy : Effect.void
    )
  }

  get setExpiry() {
    return (input: Lifetime.LifetimeInput): Effect.Effect<void, SessionWriteError> =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        Either.match(checked(input, now), {
          onLeft: (problem) =>
            Effect.fail(stepError(this.#core, { _tag: "ValidationIssue", field: "expiry", problem })),
          onRight: (lifetime) => this.#live.step(() => this.#core.steps.setLifetime(lifetime))
        }))
  }

  get expiryDate() {
    return (options: ExpiryOptions = {}): Effect.Effect<DateTime.Utc, SessionUnavailable> =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const { expiry } = this.#core.settings
        const modification = options.modification === undefined ? now : DateTime.toEpochMillis(options.modification)
        const end = (lifetime: Lifetime.Lifetime | undefined, deadline: number | undefined) =>
          DateTime.unsafeMake(ExpiryRules.endAfter(expiry, modification, lifetime, deadline))
        return options.expiry !== undefined
          ? Effect.succeed(
            end(Either.getOrElse(LifetimeRules.resolve(options.expiry, now), () => undefined), undefined)
          )
          : this.#live.read((draft) => {
            const record = this.#live.loaded?.record
            // A discarded request does not count as a use, so the stored end applies.
            return record !== undefined && options.modification === undefined && this.#live.discarded
              ? DateTime.unsafeMake(record.expiry.at)
              : end(draft.lifetime, record?.expiry.deadline)
          })
      })
  }

  get expiryAge() {
    return (options: ExpiryOptions = {}): Effect.Effect<Duration.Duration, SessionUnavailable> =>
      Effect.zipWith(
        Effect.map(Clock.currentTimeMillis, (now) => options.modification ?? DateTime.unsafeMake(now)),
        this.expiryDate(options),
        (from, to) => Duration.millis(DateTime.distance(from, to))
      )
  }

  get endsAt(): Effect.Effect<Option.Option<DateTime.Utc>, SessionUnavailable> {
    return Effect.map(this.#live.endsAt, (end) => Option.map(Option.fromNullable(end), DateTime.unsafeMake))
  }

  get timeLeft(): Effect.Effect<Option.Option<Duration.Duration>, SessionUnavailable> {
    return Effect.zipWith(
      this.#live.endsAt,
      Clock.currentTimeMillis,
      (end, now) => Option.map(Option.fromNullable(end), (end) => Duration.millis(Math.max(0, end - now)))
    )
  }

  get touch(): Effect.Effect<void, SessionWriteError> {
    return this.#live.step(() => this.#core.steps.touch)
  }

  get expireAtBrowserClose(): Effect.Effect<boolean, SessionUnavailable> {
    return this.#live.read(({ attributes: { remembered }, lifetime }) =>
      lifetime !== undefined
        ? lifetime._tag === "Browser"
        : remembered === undefined
        ? this.#core.settings.cookie.browserLength
        : !remembered
    )
  }

  get cookieAge(): Effect.Effect<Duration.Duration> {
    return Effect.sync(() => Duration.millis(ExpiryRules.endAfter(this.#core.settings.expiry, 0, undefined, undefined)))
  }

  get authenticate() {
    return (subject: string, options: LoginOptions<C> = {}) => this.#authenticate(subject, options, false)
  }

  get authenticateExclusively() {
    return (
      subject: string,
      options: LoginOptions<C> = {}
    ): Effect.Effect<void, SessionWriteError, SessionRevocation> =>
      Effect.flatMap(SessionRevocation, (revocation) => {
        this.#live.revocation = revocation
        return this.#authenticate(subject, options, true)
      })
  }

  #authenticate(
    subject: string,
    { context, level = 1, methods = [], remember }: LoginOptions<C>,
    exclusive: boolean
  ): Effect.Effect<void, SessionWriteError> {
    const encoded = context === undefined ? Effect.succeed(undefined) : this.#encodedContext(context)
    const login = Effect.flatMap(encoded, (context) =>
      this.#live.change((draft) => [
        undefined,
        this.#core.steps.authenticate({ subject, methods, level, remember, context, exclusive }),
        // The handler may have read what is no longer part of the session.
        () => {
          if (draft.subject !== subject || draft.attributes.impersonating !== undefined) this.#live.reads.restart()
        }
      ]))
    return this.#checked(subject, { level, methods }, spannedIfTraced("authenticate", this.#core.name, login))
  }

  /** Runs a change of authority if its arguments are valid. */
  #checked<B>(
    subject: string | undefined,
    claims: Attributes.Claims,
    change: Effect.Effect<B, SessionWriteError>
  ): Effect.Effect<B, SessionWriteError> {
    const invalid = (field: string, problem: string) => new SessionInvalid({ session: this.#core.name, field, problem })
    if (subject !== undefined && !subjectPattern.test(subject)) {
      return invalid("subject", "a subject is a text of 1 to 255 characters without control characters")
    }
    const problem = Attributes.validateClaims(claims)
    return problem === undefined ? change : invalid("authentication", problem)
  }

  #encodedContext(context: C): Effect.Effect<Json, SessionInvalid> {
    return Effect.mapError(
      this.#context.encode(context),
      (problem) => new SessionInvalid({ session: this.#core.name, field: "context", problem })
    )
  }

  get setClientContext() {
    return (context: C): Effect.Effect<void, SessionWriteError> =>
      Effect.flatMap(
        this.#encodedContext(context),
        (encoded) => this.#live.step(() => this.#core.steps.setContext(encoded))
      )
  }

  get elevate() {
    return ({ level, methods }: ElevateOptions): Effect.Effect<void, SessionWriteError> =>
      this.#checked(
        undefined,
        { level, methods },
        Effect.flatMap(
          Clock.currentTimeMillis,
          (now) => this.#live.step(() => this.#core.steps.elevate(now, { level, methods }))
        )
      )
  }

  get drop(): Effect.Effect<void, SessionWriteError> {
    return this.#live.step(() => this.#core.steps.drop)
  }

  get impersonate() {
    return (subject: string): Effect.Effect<void, SessionWriteError> =>
      this.#checked(
        subject,
        noClaims,
        this.#live.change(() => [
          undefined,
          this.#core.steps.impersonate(subject),
          () => this.#live.reads.restart()
        ])
      )
  }

  get endImpersonation(): Effect.Effect<void, SessionWriteError> {
    return this.#live.change(() => [
      undefined,
      this.#core.steps.endImpersonation,
      () => this.#live.reads.restart()
    ])
  }

  get revokeOthers(): Effect.Effect<void, SessionError, SessionRevocation> {
    return Effect.flatMap(SessionRevocation, (revocation) =>
      Effect.zipRight(
        this.#live.change(() => [undefined, this.#core.steps.revokeOthers, () => {
          this.#live.revocation = revocation
        }]),
        this.#live.save
      ))
  }

  get withRollback() {
    return <B, E, R>(effect: Effect.Effect<B, E, R>) => this.#live.withRollback(effect)
  }

  get destroy() {
    return this.#live.destroy
  }

  get flush() {
    return this.destroy
  }

  get discard(): Effect.Effect<void> {
    return Effect.sync(() => void (this.#live.discarded = true))
  }

  get save() {
    return this.#live.save
  }

  get optional(): Effect.Effect<Option.Option<SessionHandle<A, never, C>>> {
    return Effect.map(this.#live.readable, (readable) => readable ? Option.some(this) : Option.none())
  }

  get reload() {
    return this.#live.reload
  }

  get allowStale() {
    return this.#live.allowStale
  }

  get isReadOnly() {
    return this.#live.read(() => this.#live.stale)
  }

  get awaitEnd() {
    return ({ every }: AwaitEndOptions = {}): Effect.Effect<void, SessionUnavailable> =>
      this.#live.awaitEnd(every === undefined ? this.#core.settings.watchEvery : Duration.toMillis(every))
  }
}

/** Returns whether a fiber has running children; true if that is unknown. */
const hasChildren = (fiber: RuntimeFiber): boolean => {
  if (!("_children" in fiber)) return true
  const children = fiber._children
  return !(children === null || (children instanceof Set && children.size === 0))
}

/** `undefined` is an absent field; `null` is a value. */
const optionOf = <V>(value: V): Option.Option<Exclude<V, undefined>> =>
  value === undefined ? Option.none() : Option.some(value as Exclude<V, undefined>)

const checked = (input: Lifetime.LifetimeInput, now: number) => {
  const problem = LifetimeRules.validate(input)
  return problem === undefined ? LifetimeRules.resolve(input, now) : Either.left(problem)
}

// No control characters and no lone surrogates, so that every store returns the subject unchanged.
const subjectPattern = /^(?:[^\p{Cc}\p{Cs}]){1,255}$/u

const noClaims: Attributes.Claims = { methods: [], level: 0 }

/** The time of a login whose record has none, such as one of Django: older than any limit. */
const unknownTime = Number.NEGATIVE_INFINITY

const fine = Exit.succeed(undefined)
