/**
 * Takes a value that is read once.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as ReadOnceModule from "../../ReadOnce.js"
import { ReadOnce } from "../../ReadOnce.js"
import type { CookieValue } from "../../SessionEngine.js"
import type { SessionError, SessionWriteError } from "../../SessionError.js"
import type { Core } from "./core.js"
import { Live } from "./live.js"

type Content<A, K extends keyof A> = Option.Option<ReadOnceModule.Content<A[K]>>

/** Takes it from the record, or what this request itself has set. */
export const take = <A extends object, K extends keyof A & string>(
  core: Core<A>,
  live: Live<A>,
  key: K
): Effect.Effect<Content<A, K>, SessionError> =>
  Effect.flatMap(
    live.read(() => live.loaded),
    (loaded): Effect.Effect<Content<A, K>, SessionError> =>
      loaded === undefined ? takeOwn(core, live, key, false) : takeStored(core, live, key, loaded.value)
  )

const takeOwn = <A extends object, K extends keyof A & string>(
  core: Core<A>,
  live: Live<A>,
  key: K,
  stored: boolean
): Effect.Effect<Content<A, K>, SessionWriteError> =>
  live.change((draft) => {
    const remove = core.steps.assign(key, { present: false }, stored, false)
    // The content leaves the session, and what it was taken from may be the initial value of all.
    return Effect.match(core.schema.copyField(key, draft.value), {
      onFailure: () => [contentOf(draft.value[key]), remove] as const,
      onSuccess: ({ value }) => [contentOf(value), remove] as const
    })
  })

/**
 * Takes from the record, and writes at once: only then is it certain that nobody else gets it. A session of its own
 * does it, so that nothing else of this request is written before its time.
 */
const takeStored = <A extends object, K extends keyof A & string>(
  core: Core<A>,
  live: Live<A>,
  key: K,
  value: CookieValue
): Effect.Effect<Content<A, K>, SessionError> => {
  const once = Effect.suspend(() => {
    const aside = new Live(core, { presented: true, values: [Redacted.value(value)] })
    return Effect.all({
      content: Effect.zipLeft(takeOwn(core, aside, key, true), aside.save),
      now: Effect.sync(() => aside.loaded)
    })
  })
  return once.pipe(
    // Another request took it, or set another: look again.
    Effect.retry({ while: (error) => error._tag === "SessionConflict" }),
    Effect.catchTag("SessionGone", () => Effect.succeed({ content: Option.none(), now: undefined })),
    Effect.flatMap(({ content, now }) => Effect.as(live.follow(key, now), content))
  )
}

/** The content of a field that is read once. */
export const contentOf = <B>(once: B): Option.Option<ReadOnceModule.Content<B>> =>
  once instanceof ReadOnce ? Option.some(ReadOnce.contentOf(once) as ReadOnceModule.Content<B>) : Option.none()
