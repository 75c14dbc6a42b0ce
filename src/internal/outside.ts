/**
 * Sessions outside a request: jobs, scripts, administration.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import type { Entry, SessionAdmin, Undecodable } from "../SessionAdmin.js"
import { SessionDirectory } from "../SessionDirectory.js"
import { SessionRevocation } from "../SessionRevocation.js"
import type { Damaged, Located, SessionStoreError } from "../SessionStore.js"
import type { Core } from "./core.js"
import { isDamaged } from "./damaged.js"
import { Handle } from "./handle.js"
import { LiveSession } from "./liveSession.js"
import { decode } from "./opening.js"
import { listed, pages } from "./pages.js"
import { log, unavailable } from "./refusals.js"

/** How many records one page of the stream holds. */
const pageSize = 100

/** The same without their data, of one subject: a page costs some stores a look at all of them. */
const listSize = 1000

export const outside = <A extends object>(core: Core<A>): SessionAdmin<A> => {
  const known = <B, R>(effect: Effect.Effect<B, SessionStoreError, R>) =>
    Effect.tapError(Effect.mapError(effect, (error) => unavailable(core, error)), log)

  const entry = (one: Located | Damaged): Effect.Effect<Either.Either<Entry<A>, Undecodable>> => {
    if (isDamaged(one)) {
      return Effect.succeed(Either.left({ id: one.id, info: undefined, problem: one.error.message }))
    }
    const { data, key: _, ...info } = one
    return Effect.either(Effect.mapBoth(decode(core, { ...info, data }), {
      onSuccess: ({ decoded }) => ({ info, value: decoded }),
      onFailure: (problem) => ({ id: info.id, info, problem })
    }))
  }

  const sessions = Stream.unwrap(
    Effect.map(SessionDirectory, (directory) => pages(directory, core.namespace, pageSize))
  )
    .pipe(
      Stream.mapError((error) => unavailable(core, error)),
      Stream.tapError(log),
      Stream.mapEffect(({ found }) => Effect.forEach(found, entry)),
      Stream.flattenIterables
    )

  return {
    open: (token) =>
      Effect.suspend(() => {
        const session = new Handle(
          core,
          new LiveSession(core, { presented: true, values: [Redacted.value(token)] })
        )
        return Effect.map(session.id, Option.as(session))
      }),
    create: (fields = {}, { subject } = {}) =>
      Effect.suspend(() => {
        const session = new Handle(core, new LiveSession(core, { presented: false, values: [] }))
        return Effect.as(
          Effect.all([
            session.setTestCookie,
            session.patch(fields),
            subject === undefined ? Effect.void : session.authenticate(subject),
            session.save
          ]),
          session
        )
      }),
    commit: (handle) => handle.save,
    exists: (token) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.map(known(core.engine.open(token, now)), Option.isSome)),
    destroy: (token) => Effect.zipRight(known(core.engine.destroy(token)), core.watchers.wake(token)),
    sessions,
    list: (subject, page) =>
      Effect.flatMap(
        Clock.currentTimeMillis,
        (now) => known(Effect.flatMap(SessionDirectory, ({ list }) => list(core.namespace, subject, now, page)))
      ),
    listAll: (subject) =>
      Stream.unwrap(Effect.map(SessionDirectory, (directory) => listed(directory, core.namespace, subject, listSize)))
        .pipe(
          Stream.mapError((error) => unavailable(core, error)),
          Stream.tapError(log),
          Stream.flattenIterables
        ),
    revoke: (id) =>
      Effect.zipLeft(
        known(Effect.flatMap(SessionRevocation, ({ revoke }) => revoke(core.namespace, id))),
        core.watchers.wakeAll
      ),
    revokeSubject: (subject, { except } = {}) =>
      Effect.zipLeft(
        known(Effect.flatMap(SessionRevocation, ({ revokeSubject }) => revokeSubject(core.namespace, subject, except))),
        core.watchers.wakeAll
      ),
    revokeAll: Effect.zipLeft(
      known(Effect.flatMap(SessionRevocation, ({ revokeAll }) => revokeAll(core.namespace))),
      core.watchers.wakeAll
    )
  }
}
