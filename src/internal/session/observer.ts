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

/** Observes the sessions of a server. */
export interface Observer {
  /** Wraps a store, to observe its calls. */
  readonly store: (store: Store) => Store
  /** Fails if the sessions of the tag must not be observed. */
  readonly tag: (tag: ObservedTag) => Effect.Effect<TagObserver, SessionConfigError>
}

/** The service tag. `observer` is `undefined` if nothing is observed. */
export class SessionDevtools extends Context.Tag("effect-session/SessionDevtools")<
  SessionDevtools,
  { readonly observer: Observer | undefined }
>() {}

const current = Effect.map(
  Effect.serviceOption(SessionDevtools),
  (devtools) => Option.getOrUndefined(devtools)?.observer
)

/** The observer of a tag, if there is one. */
export const forTag = (tag: ObservedTag): Effect.Effect<TagObserver | undefined, SessionConfigError> =>
  Effect.flatMap(current, (observer) => observer === undefined ? Effect.succeed(undefined) : observer.tag(tag))

/** The store of an engine, whose calls are observed if there is an observer. */
export const observedStore: Effect.Effect<Store, never, SessionStore> = Effect.zipWith(
  SessionStore,
  current,
  (store, observer) => observer?.store(store) ?? store
)
