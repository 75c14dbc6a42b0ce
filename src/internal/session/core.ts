/**
 * State shared by all requests of one session tag. Built with its layer.
 */
import type * as Effect from "effect/Effect"
import type { Option } from "effect/Option"
import type { Expiry } from "../../Expiry.js"
import type { JsonRecord } from "../../Json.js"
import type * as SessionCodec from "../../SessionCodec.js"
import type { SessionCookie } from "../../SessionCookie.js"
import type { Directory } from "../../SessionDirectory.js"
import type { BoundEngine } from "../../SessionEngine.js"
import type { SessionError } from "../../SessionError.js"
import type { Events } from "../../SessionEvents.js"
import type { Transport } from "../../SessionService.js"
import type { SubjectLimit } from "../../SessionStore.js"
import type { stepsFor } from "../domain/draft.js"
import type { SessionSchema, ValidationIssue } from "../schema/prepared.js"
import type { Batches } from "./batches.js"
import type { TagObserver } from "./observer.js"
import type { Queue } from "./queue.js"
import type { Watchers } from "./watchers.js"
import type { Work, Written } from "./work.js"

/** The settings of a deployment. */
export interface Settings {
  readonly expiry: Expiry
  readonly cookie: SessionCookie
  readonly transport: Transport
  readonly onGone: "fail" | "discard"
  readonly onUndecodable: "restart" | "fail"
  /** Milliseconds. */
  readonly commitTimeout: number
  /** Seconds. */
  readonly retryAfter: number
  /** Milliseconds; absent: a tenth of the idle limit. */
  readonly touchEvery: number | undefined
  /** Milliseconds between two touches of a session without its own lifetime; absent: use does not prolong it. */
  readonly touchWindow: number | undefined
  /** Milliseconds. */
  readonly watchEvery: number
  /** The maximum number of live sessions of one subject; absent: no maximum. */
  readonly limit: SubjectLimit | undefined
}

/** A session tag, ready to serve requests. */
export interface Core<A extends object> {
  readonly name: string
  readonly namespace: string
  readonly settings: Settings
  readonly engine: BoundEngine
  /** The engine has finished when its functions return: see `BoundEngine.synchronous`. */
  readonly isSynchronous: boolean
  readonly codec: SessionCodec.Codec
  readonly schema: SessionSchema<A>
  /** The version of the schema, and the upgrade of older data to it. */
  readonly history: {
    readonly version: number
    readonly upgrade: (raw: JsonRecord, version: number) => Effect.Effect<JsonRecord, ValidationIssue>
  }
  readonly initial: A
  /** The encoded record that a new session starts from. */
  readonly initialRaw: JsonRecord
  readonly steps: ReturnType<typeof stepsFor<A>>
  readonly queue: Queue
  /** Waiting saves, batched by session. */
  readonly saves: Batches<Work<A>, Written<A>, SessionError>
  readonly watchers: Watchers
  /** Publishes events; absent if the application has no service for them. */
  readonly events: Events | undefined
  /** Finds sessions by their ids; absent if the engine has no directory. */
  readonly directory: Option<Directory>
  /** Observes requests in development; absent otherwise. */
  readonly observer: TagObserver | undefined
  /** The change is made by a job and not by the visitor: it does not count as a use and does not extend the idle limit. */
  readonly isBackground: boolean
}
