/**
 * What all requests of one session tag share: built once, when its layer is built.
 */
import type { Expiry } from "../Expiry.js"
import type { SessionCookie } from "../SessionCookie.js"
import type { stepsFor } from "../SessionDraft.js"
import type { BoundEngine } from "../SessionEngine.js"
import type { SessionSchema } from "../SessionSchema.js"
import type { JsonRecord } from "./json.js"
import type { Queue } from "./queue.js"

/** What a deployment may choose. */
export interface Settings {
  readonly expiry: Expiry<true>
  readonly cookie: SessionCookie
  readonly onGone: "fail" | "discard"
  readonly onUndecodable: "restart" | "fail"
  /** Milliseconds. */
  readonly commitTimeout: number
  /** Seconds. */
  readonly retryAfter: number
}

/** A session tag, ready to serve requests. */
export interface Core<A extends object> {
  readonly name: string
  readonly namespace: string
  readonly settings: Settings
  readonly engine: BoundEngine
  readonly schema: SessionSchema<A>
  readonly initial: A
  /** The encoded record that a new session starts from. */
  readonly initialRaw: JsonRecord
  readonly steps: ReturnType<typeof stepsFor<A>>
  readonly queue: Queue
}
