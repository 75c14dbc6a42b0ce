/**
 * A session service on a store, and requests to it without HTTP.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Session from "../../Session.js"
import type { CookieValue, SessionEngine } from "../../SessionEngine.js"
import type { Store } from "../../SessionStore.js"
import { SessionStore } from "../../SessionStore.js"
import * as StoredEngine from "../../StoredEngine.js"

export class Account extends Session.Tag<Account>()("effect-session/testing/Account", {
  schema: Schema.Struct({
    count: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    anything: Schema.optional(Schema.Unknown)
  }),
  touchEvery: 0,
  // The laws test the timeouts of single calls, so a commit has no shorter limit.
  commitTimeout: "1 minute"
}) {}

/** Makes an engine over a store. `timeout` is the timeout of one call. */
export type Engine = (timeout: Duration.DurationInput) => Layer.Layer<SessionEngine, unknown, SessionStore>

/** The engine whose cookies hold tokens. */
export const storedEngine: Engine = (timeout) => StoredEngine.layerWith({ timeout })

/** A service on the store. */
export const serviceOn = (engine: Engine, store: Store, timeout: Duration.DurationInput) =>
  Effect.map(
    Effect.scoped(Layer.build(
      Account.layer.pipe(
        Layer.provide(engine(timeout)),
        Layer.provide(Layer.succeed(SessionStore, store))
      )
    )),
    Context.get(Account.service)
  )

type Service = Effect.Effect.Success<ReturnType<typeof serviceOn>>

/** The outcome of a request, and the cookie that the browser has after it. */
interface Answer {
  readonly done: boolean
  readonly cookie: CookieValue | undefined
}

export const answer = (
  service: Service,
  cookie: CookieValue | undefined,
  handler: Effect.Effect<unknown, unknown, Account>
): Effect.Effect<Answer> =>
  Effect.gen(function*() {
    const header = cookie === undefined ? undefined : `${service.cookie.name}=${Redacted.value(cookie)}`
    const session = service.request(header)
    const exit = yield* Effect.exit(Effect.provideService(handler, Account, session))
    const error = yield* session.finish(Exit.isSuccess(exit) ? 200 : 503)
    const setCookie = session.used?.setCookie
    return {
      done: Exit.isSuccess(exit) && error === undefined,
      cookie: setCookie === undefined ? cookie : setCookie === "expire" ? undefined : setCookie.value
    }
  })
