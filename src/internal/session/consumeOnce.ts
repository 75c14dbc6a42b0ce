/**
 * Consumes a `ReadOnce` value.
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

/** Removes the field from the record, or from the changes of this request if there is no record, and returns its content. */
export const consume = <A extends object, K extends keyof A & string>(
  core: Core<A>,
  live: Live<A>,
  key: K
): Effect.Effect<Content<A, K>, SessionError> =>
  Effect.flatMap(
    live.read(() => live.loaded),
    (loaded): Effect.Effect<Content<A, K>, SessionError> =>
      loaded === undefined ? consumeOwn(core, live, key, false) : consumeStored(core, live, key, loaded.value)
  )

const consumeOwn = <A extends object, K extends keyof A & string>(
  core: Core<A>,
  live: Live<A>,
  key: K,
  stored: boolean
): Effect.Effect<Content<A, K>, SessionWriteError> =>
  live.change((draft) => {
    const remove = core.steps.assign(key, { present: false }, stored, false)
    // Copy the content: it may belong to the initial value, which all visitors share.
    return Effect.match(core.schema.copyField(key, draft.value), {
      onFailure: () => [contentOf(draft.value[key]), remove] as const,
      onSuccess: ({ value }) => [contentOf(value), remove] as const
    })
  })

/**
 * Removes the field and writes at once: only a confirmed write guarantees that no other request gets the value. Uses a separate
 * `Live`, so that no other change of this request is written early.
 */
const consumeStored = <A extends object, K extends keyof A & string>(
  core: Core<A>,
  live: Live<A>,
  key: K,
  value: CookieValue
): Effect.Effect<Content<A, K>, SessionError> => {
  const once = Effect.suspend(() => {
    const separate = new Live(core, { presented: true, values: [Redacted.value(value)] })
    return Effect.all({
      content: Effect.zipLeft(consumeOwn(core, separate, key, true), separate.save),
      now: Effect.sync(() => separate.loaded)
    })
  })
  return once.pipe(
    // Another request has consumed or replaced it: load again.
    Effect.retry({ while: (error) => error._tag === "SessionConflict" }),
    Effect.catchTag("SessionGone", () => Effect.succeed({ content: Option.none(), now: undefined })),
    Effect.flatMap(({ content, now }) => Effect.as(live.follow(key, now), content))
  )
}

/** Returns the content of a `ReadOnce` value. */
export const contentOf = <B>(once: B): Option.Option<ReadOnceModule.Content<B>> =>
  once instanceof ReadOnce ? Option.some(ReadOnce.contentOf(once) as ReadOnceModule.Content<B>) : Option.none()
