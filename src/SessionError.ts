/**
 * Errors of a session in a request. An error that the handler does not catch is answered with its own status.
 *
 * A `message` consists of texts of this library and of names from the schema; input of a visitor is only in fields of the error.
 * Names and types of a schema may contain `<` and `&`: escape messages in HTML.
 *
 * @since 0.1.0
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServerRespondable from "@effect/platform/HttpServerRespondable"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** The encoded error as an HttpApi answers it, with the message and without the cause. */
const respond = (error: SessionError, status: number, headers: Readonly<Record<string, string>> = {}) =>
  Effect.succeed(
    HttpServerResponse.unsafeJson({ ...encode(error), message: error.message }, { status, headers })
  )

/**
 * The session could not be read or written: 503 with `Retry-After`; the cookie stays as it is. The `cause` is for logs and is
 * never sent.
 *
 * - `store`: the store is down or failed; a write may have to be repeated by the visitor.
 * - `busy`: too many requests changed the session at once, so this one could not commit before the deadline.
 * - `data`: the record does not fit the schema, and the tag's `onUndecodable` is `"fail"`.
 * - `late`: the session was first used after the head of the response was sent, in a response stream or by a fiber that was
 *   still running. Read it before the response is returned.
 * - `readOnly`: the store is down, and the handler has changed a stale session (`allowStale`).
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionUnavailable extends Schema.TaggedError<SessionUnavailable>("effect-session.SessionUnavailable")(
  "SessionUnavailable",
  {
    session: Schema.String,
    reason: Schema.Literal("store", "busy", "data", "late", "readOnly"),
    /** Seconds after which a retry is worthwhile. */
    retryAfter: Schema.Number
  },
  HttpApiSchema.annotations({ status: 503 })
) {
  /** @since 0.1.0 */
  static because(
    fields: ConstructorParameters<typeof SessionUnavailable>[0],
    cause: unknown
  ): SessionUnavailable {
    // Not a field, because fields are encoded for clients.
    return Object.assign(new SessionUnavailable(fields), { cause })
  }
  override get message(): string {
    return unavailable[this.reason]
  }
  [HttpServerRespondable.symbol]() {
    return respond(this, 503, { "retry-after": String(this.retryAfter) })
  }
}

const unavailable = {
  store: "The session store is not available at the moment. Nothing is lost; try again.",
  busy: "The session is being changed by too many requests at once. Try again.",
  late:
    "The session was first used after the head of the response was sent, too late for its headers to protect what is read. " +
    "Read it before the response is returned.",
  readOnly: "The session store is not available at the moment, so the session can be read but not changed. Try again.",
  data: "The stored session does not fit this version of the application. It was left as it is."
}

/**
 * A value does not fit the session's schema, or cannot be encoded to JSON. Raised where the value is set; the session is
 * unchanged. The message names the place by names of the schema, and never the value. 400.
 *
 * `field` is the whole path. Where the schema has a Record it holds that Record's keys, which a visitor may have chosen:
 * escape it in HTML, and do not log it.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionInvalid extends Schema.TaggedError<SessionInvalid>("effect-session.SessionInvalid")(
  "SessionInvalid",
  {
    session: Schema.String,
    /** The whole path, with keys that a visitor may have chosen. */
    field: Schema.String,
    problem: Schema.String,
    /**
     * The path as the message quotes it: names of the schema, positions in arrays, and `*` for any other key. Absent if
     * `field` holds no other key.
     *
     * @since 0.6.0
     */
    place: Schema.optionalWith(Schema.String, { exact: true })
  },
  HttpApiSchema.annotations({ status: 400 })
) {
  override get message(): string {
    return `The value does not fit the session at "${this.place ?? this.field}": ${this.problem}`
  }
  [HttpServerRespondable.symbol]() {
    return respond(this, 400)
  }
}

/**
 * Another request has changed a field that this one has read and then set, and the field has no merge function. Nothing was
 * written. 409.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionConflict extends Schema.TaggedError<SessionConflict>("effect-session.SessionConflict")(
  "SessionConflict",
  { session: Schema.String, what: Schema.String },
  HttpApiSchema.annotations({ status: 409 })
) {
  override get message(): string {
    return `Another request changed the session "${this.session}" meanwhile (${this.what}). The changes of this request to it were ` +
      "not written; load the page again."
  }
  [HttpServerRespondable.symbol]() {
    return respond(this, 409)
  }
}

/**
 * The session has ended meanwhile, by a logout, a revocation or its expiry. The changes of this request were not written. 409.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionGone extends Schema.TaggedError<SessionGone>("effect-session.SessionGone")(
  "SessionGone",
  { session: Schema.String },
  HttpApiSchema.annotations({ status: 409 })
) {
  override get message(): string {
    return `The session "${this.session}" has ended meanwhile. The changes of this request to it were not written.`
  }
  [HttpServerRespondable.symbol]() {
    return respond(this, 409)
  }
}

/**
 * The session was changed after its request had been answered, for instance by a fiber that was still running or in a response
 * stream. Call `save` before the response is returned. 500.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionCommitted extends Schema.TaggedError<SessionCommitted>("effect-session.SessionCommitted")(
  "SessionCommitted",
  { session: Schema.String },
  HttpApiSchema.annotations({ status: 500 })
) {
  override get message(): string {
    return "The session was changed after its request had been answered, so the change cannot be saved. " +
      "Change it earlier, or call save in the handler."
  }
  [HttpServerRespondable.symbol]() {
    return respond(this, 500)
  }
}

/**
 * `save` was called inside a transaction of the application, whose rollback would undo it. Call it after the
 * transaction, or give the store a pool of its own. 500.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionInTransaction
  extends Schema.TaggedError<SessionInTransaction>("effect-session.SessionInTransaction")(
    "SessionInTransaction",
    { session: Schema.String },
    HttpApiSchema.annotations({ status: 500 })
  )
{
  override get message(): string {
    return "The session cannot be saved inside a transaction of the application: a rollback would undo it. " +
      "Save after the transaction, or give the store a pool of its own."
  }
  [HttpServerRespondable.symbol]() {
    return respond(this, 500)
  }
}

/**
 * A cross-site request without our cookie, which the browser has suppressed (`SameSite`), would have created a session. Its
 * cookie would replace the one that the browser holds, and log the visitor out, so nothing was written. A login is allowed,
 * because identity providers post their responses like that; protect it by the provider's `state`. 403.
 *
 * @since 0.3.0
 * @category errors
 */
export class SessionCrossSite extends Schema.TaggedError<SessionCrossSite>("effect-session.SessionCrossSite")(
  "SessionCrossSite",
  { session: Schema.String },
  HttpApiSchema.annotations({ status: 403 })
) {
  override get message(): string {
    return "This request came from another site, and the browser did not send its session cookie. " +
      "A new session would replace the one that the browser has, so none was created."
  }
  [HttpServerRespondable.symbol]() {
    return respond(this, 403)
  }
}

/**
 * The session exceeds the size limit of its storage: `maxSessionBytes` of a stored engine (64 KiB unless set), 4,096 bytes of a
 * cookie with its name, or the size of a cache. Nothing was written; the stored session is unchanged. `fields` are the largest
 * ones. 413.
 *
 * @since 0.5.0
 * @category errors
 */
export class SessionTooLarge extends Schema.TaggedError<SessionTooLarge>("effect-session.SessionTooLarge")(
  "SessionTooLarge",
  {
    session: Schema.String,
    /** With their lengths as JSON, in characters. */
    fields: Schema.Array(Schema.Struct({ name: Schema.String, length: Schema.Number }))
  },
  HttpApiSchema.annotations({ status: 413 })
) {
  override get message(): string {
    const fields = this.fields.map(({ length, name }) => `${name} (${length})`).join(", ")
    return `The session "${this.session}" is too large for its storage, and was not written. Its largest fields, in characters: ${fields}.`
  }
  [HttpServerRespondable.symbol]() {
    return respond(this, 413)
  }
}

/**
 * A login was denied: the subject has as many live sessions as `maxPerSubject` allows. Nothing was written. 403.
 *
 * @since 0.6.0
 * @category errors
 */
export class SessionLimitReached extends Schema.TaggedError<SessionLimitReached>("effect-session.SessionLimitReached")(
  "SessionLimitReached",
  {
    session: Schema.String,
    /** The maximum number of live sessions of one subject. */
    max: Schema.Number
  },
  HttpApiSchema.annotations({ status: 403 })
) {
  override get message(): string {
    return `You are logged in on ${
      this.max === 1 ? "another device" : `${this.max} devices`
    } already, which is the maximum. ` +
      "Log out on one of them, and log in again."
  }
  [HttpServerRespondable.symbol]() {
    return respond(this, 403)
  }
}

/**
 * The authentication of the session is not fresh or strong enough for this operation: see `SessionHandle.requireFresh`. Let the visitor
 * authenticate again, and repeat the request. 401, with the requirements in `WWW-Authenticate` (the error code and `max_age` of RFC 9470).
 *
 * @since 0.6.0
 * @category errors
 */
export class SessionNotFresh extends Schema.TaggedError<SessionNotFresh>("effect-session.SessionNotFresh")(
  "SessionNotFresh",
  {
    session: Schema.String,
    /**
     * The first requirement that is not met. `anonymous`: no subject is logged in. `age`: the login or step-up is too long ago. `methods`,
     * `level`: it did not use all required methods, or is too weak. `remembered`: the login is that of a persistent cookie.
     * `impersonating`: the subject is not who acts.
     */
    reason: Schema.Literal("anonymous", "age", "methods", "level", "remembered", "impersonating"),
    /** The maximum age of the authentication in seconds. */
    within: Schema.optionalWith(Schema.Number, { exact: true }),
    /** The required methods. */
    methods: Schema.optionalWith(Schema.Array(Schema.String), { exact: true }),
    /** The required level. */
    level: Schema.optionalWith(Schema.Number, { exact: true })
  },
  HttpApiSchema.annotations({ status: 401 })
) {
  override get message(): string {
    return this.reason === "anonymous"
      ? "This needs a login. Log in, and repeat it."
      : `This needs a fresh login (${notFresh[this.reason]}). Log in again, and repeat it.`
  }
  [HttpServerRespondable.symbol]() {
    const hints = [
      "error=\"insufficient_user_authentication\"",
      ...this.within === undefined ? [] : [`max_age="${this.within}"`],
      ...this.level === undefined ? [] : [`level="${this.level}"`],
      ...this.methods === undefined ? [] : [`methods="${this.methods.map((one) => encodeURIComponent(one)).join(" ")}"`]
    ]
    return respond(this, 401, { "www-authenticate": `Session ${hints.join(", ")}` })
  }
}

const notFresh = {
  age: "the last one is too long ago",
  methods: "the last one did not use all of the required methods",
  level: "the last one is not strong enough",
  remembered: "the last one is remembered by the browser",
  impersonating: "you act for another user"
}

/**
 * The schema of every session error, to declare it in an HttpApi.
 *
 * @since 0.1.0
 * @category errors
 */
export const SessionError = Schema.Union(
  SessionUnavailable,
  SessionInvalid,
  SessionConflict,
  SessionGone,
  SessionCommitted,
  SessionInTransaction,
  SessionCrossSite,
  SessionTooLarge,
  SessionLimitReached,
  SessionNotFresh
)

/**
 * The union of all session errors.
 *
 * @since 0.1.0
 * @category errors
 */
export type SessionError = typeof SessionError.Type

/**
 * Returns whether a value is an error of a session.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { SessionError } from "effect-session"
 *
 * export const withoutSessionErrors = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
 *   Effect.catchIf(effect, SessionError.isSessionError, (error) => Effect.logWarning(error.message))
 * ```
 *
 * @since 0.6.0
 * @category guards
 */
export const isSessionError: (value: unknown) => value is SessionError = Schema.is(SessionError)

const encode = Schema.encodeSync(SessionError)

/**
 * The errors of changing a session before it is written.
 *
 * @since 0.1.0
 * @category errors
 */
export type SessionWriteError = SessionUnavailable | SessionInvalid | SessionConflict | SessionCommitted
