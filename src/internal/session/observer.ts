/**
 * The observer of sessions, which `SessionDevtools` provides for development. Session tags and engines look it up once, when their
 * layers are built.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SessionConfigError } from "../../SessionConfigError.js"
import type { SessionCookie } from "../../SessionCookie.js"
import type { BoundEngine } from "../../SessionEngine.js"
import type * as SessionSchema from "../../SessionSchema.js"
import type { Sessions, Transport } from "../../SessionService.js"
import type { Store } from "../../SessionStore.js"
import { SessionStore } from "../../SessionStore.js"
import type { SessionChange } from "../domain/change.js"
import type { LoadOutcome } from "../domain/outcomes.js"

/** A session tag to observe. */
export interface ObservedTag {
  readonly name: string
  readonly schema: SessionSchema.Any
  readonly cookie: SessionCookie
  readonly transport: Transport
}

/** Observes the sessions of one tag. Its functions are called in the fiber of the request. */
export interface TagObserver {
  /** Wraps the engine, to observe the records that it opens. */
  readonly engine: (engine: BoundEngine) => BoundEngine
  /** A session was loaded, or there was none. */
  readonly loaded: (outcome: LoadOutcome) => void
  /** A commit has decided. `fields`: the names of the fields that differ from the record. `changed`: they or the metadata differ. */
  readonly decided: (change: SessionChange, fields: Iterable<string>, changed: boolean) => void
  /** The tag is ready to serve requests. */
  readonly serves: <A, C>(request: Sessions<A, C>["request"]) => void
}

/** Observes the sessions of a server. A class, so that it can be recognized in a service whose public type does not show it. */
export abstract class Observer {
  /** Wraps a store, to observe its calls. */
  abstract readonly store: (store: Store) => Store
  /** Fails if the sessions of the tag must not be observed. */
  abstract readonly tag: (tag: ObservedTag) => Effect.Effect<TagObserver, SessionConfigError>
}

/** The key of the service `SessionDevtools`, which is found here by its key, because it depends on this folder. */
export const key = "effect-session/SessionDevtools"

const Devtools = Context.GenericTag<typeof key, { readonly observer: unknown }>(key)

const current = Effect.map(Effect.serviceOption(Devtools), (devtools) => {
  const observer = Option.getOrUndefined(devtools)?.observer
  return observer instanceof Observer ? observer : undefined
})

/** The observer of a tag, if there is one. */
export const forTag = (tag: ObservedTag): Effect.Effect<TagObserver | undefined, SessionConfigError> =>
  Effect.flatMap(current, (observer) => observer === undefined ? Effect.succeed(undefined) : observer.tag(tag))

/** The store of an engine, whose calls are observed if there is an observer. */
export const observedStore: Effect.Effect<Store, never, SessionStore> = Effect.zipWith(
  SessionStore,
  current,
  (store, observer) => observer?.store(store) ?? store
)
