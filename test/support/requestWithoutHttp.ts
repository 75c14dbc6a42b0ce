/**
 * Requests without HTTP: runs a handler with its session, then finishes the request.
 */
import { type Context, Effect, Redacted } from "effect"
import type { SessionError } from "effect-session"
import type { SessionHandle } from "effect-session/SessionHandle"
import type { Sessions, SessionService, UsedSession } from "effect-session/SessionService"

type SetCookie = UsedSession["setCookie"]

/** The result of a request. */
export interface Visit<B> {
  readonly result: B
  readonly error: SessionError.SessionError | undefined
  /** The cookie of the browser after the request. */
  readonly cookie: string | undefined
  readonly setCookie: SetCookie
}

/** Handles one request that presents the cookie. */
export const visit = <Self, A, C, B, E, R>(
  tag: Context.Tag<Self, SessionHandle<A, never, C>> & {
    readonly service: Context.Tag<SessionService<Self>, Sessions<A, C>>
  },
  handler: Effect.Effect<B, E, R>,
  cookie?: string,
  status = 200
): Effect.Effect<Visit<B>, E, Exclude<R, Self> | SessionService<Self>> =>
  Effect.gen(function*() {
    const service = yield* tag.service
    const session = service.request(cookie === undefined ? undefined : `${service.cookie.name}=${cookie}`)
    const result = yield* Effect.provideService(handler, tag, session)
    const error = yield* session.finish(status)
    const setCookie = session.used?.setCookie
    return {
      result,
      error,
      setCookie,
      cookie: setCookie === undefined ? cookie : setCookie === "expire" ? undefined : Redacted.value(setCookie.value)
    }
  })
