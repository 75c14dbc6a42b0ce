/**
 * Records the sessions of requests: the observer of `SessionDevtools`, and its ring buffer.
 */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type { HttpServerResponse } from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type { SessionConfigError } from "../../SessionConfigError.js"
import type { BoundEngine, Opened } from "../../SessionEngine.js"
import * as SessionMetrics from "../../SessionMetrics.js"
import type { SessionInfo } from "../../SessionRecord.js"
import { toInfo } from "../../SessionRecord.js"
import type { SessionStoreError, Store } from "../../SessionStore.js"
import { configError } from "../configError.js"
import type { LoadOutcome, RejectionReason } from "../domain/outcomes.js"
import { rejectionReasons } from "../domain/outcomes.js"
import * as Done from "../done.js"
import { sourceOf } from "../http/preResponse.js"
import { hostsOf, isPlainHttp } from "../http/request.js"
import { type ObservedTag, Observer, type TagObserver } from "../session/observer.js"
import { intercepted } from "../store/intercepted.js"
import { explain } from "./diagnosis.js"
import type { CommitReport, RequestReport, SessionReport, StoreCall } from "./report.js"
import { pathOf, schemeOf } from "./requestFacts.js"
import { sentOf } from "./sent.js"
import type { ViewSession } from "./view.js"
import { viewOf } from "./view.js"

type Request = HttpServerRequest.HttpServerRequest

/** A request that is being recorded. */
interface Recording {
  readonly number: number
  readonly at: number
  readonly storeCalls: Array<StoreCall>
  readonly sessions: Map<ObservedTag, SessionRecording>
}

interface SessionRecording {
  readonly loads: Array<LoadOutcome>
  readonly rejections: Array<RejectionReason>
  readonly commits: Array<CommitReport>
  info: SessionInfo | undefined
}

/** A cookie that a response has set, and the client has not returned yet. */
interface Awaited {
  readonly number: number
  readonly at: number
  readonly maxAge: number | undefined
}

export interface RecorderOptions {
  /** The number of requests that are kept. */
  readonly requests: number
  readonly allowSecureCookie: boolean
}

/** A tag, and the function that reads a visitor's session of it. */
interface Tag extends ObservedTag {
  view: ViewSession | undefined
}

export class Recorder extends Observer {
  readonly tags: Array<Tag> = []
  /** The latest requests, newest first. */
  reports: ReadonlyArray<RequestReport> = []

  readonly #options: RecorderOptions
  readonly #recordings = new WeakMap<object, Recording>()
  /** By client and tag, oldest first. */
  readonly #awaited = new Map<string, Awaited>()
  #count = 0

  constructor(options: RecorderOptions) {
    super()
    this.#options = options
  }

  // ---- the request

  /** Begins to record a request. */
  begin(request: Request, at: number): void {
    this.#recordings.set(sourceOf(request), { number: ++this.#count, at, storeCalls: [], sessions: new Map() })
  }

  /** Adds the report of a request, when its response is complete. */
  end(request: Request, response: HttpServerResponse, now: number): void {
    const recording = this.#recordings.get(sourceOf(request))
    if (recording === undefined) return
    this.#recordings.delete(sourceOf(request))
    const { at, number, storeCalls } = recording
    const report: RequestReport = {
      number,
      at,
      method: request.method,
      path: pathOf(request),
      status: response.status,
      duration: now - at,
      storeCalls,
      sessions: this.tags.flatMap((tag) => this.#sessionReport(tag, recording, request, response, now))
    }
    this.reports = [report, ...this.reports].slice(0, this.#options.requests)
  }

  #sessionReport(
    tag: ObservedTag,
    { at, number, sessions }: Recording,
    request: Request,
    response: HttpServerResponse,
    now: number
  ): ReadonlyArray<SessionReport> {
    const { commits, info, loads, rejections } = sessions.get(tag) ?? nothing()
    const { cookie, transport } = tag
    const sent = sentOf(tag, response)
    const cookieNames = namesOf(request.headers.cookie)
    const client = [remoteOf(request), request.headers["user-agent"]?.slice(0, 200), tag.name, cookie.name].join("\n")
    const awaited = this.#awaited.get(client)
    const unreturned = awaited === undefined || cookieNames.includes(cookie.name) || awaited.at > at
      ? undefined
      : { number: awaited.number, age: at - awaited.at, maxAge: awaited.maxAge }
    if (cookieNames.includes(cookie.name) || (sent?._tag === "Cookie" && sent.expires)) this.#awaited.delete(client)
    if (sent?._tag === "Cookie" && !sent.expires) this.#await(client, { number, at: now, maxAge: sent.maxAge })
    if (loads.length === 0 && commits.length === 0 && sent === undefined) return []
    const notes = explain({
      cookie,
      acceptsCookie: transport.accepts !== "bearer",
      method: request.method,
      path: pathOf(request),
      host: hostsOf(request)[0],
      scheme: schemeOf(request),
      isPlainHttp: isPlainHttp(request),
      site: request.headers["sec-fetch-site"],
      mode: request.headers["sec-fetch-mode"],
      cookieNames,
      loads,
      rejections,
      commits,
      status: response.status,
      sent: sent === undefined ? undefined : sent._tag === "Token" ? "token" : sent.expires ? "expired" : "value",
      unreturned
    })
    return [{ tag: tag.name, id: info?.id, loads, rejections, commits, sent, notes }]
  }

  #await(client: string, awaited: Awaited): void {
    this.#awaited.delete(client)
    this.#awaited.set(client, awaited)
    for (const oldest of this.#awaited.keys()) {
      if (this.#awaited.size <= this.#options.requests) break
      this.#awaited.delete(oldest)
    }
  }

  /** The recording of the request that the current fiber serves. */
  get #current(): Recording | undefined {
    const request = Option.getOrUndefined(
      Option.flatMap(
        Fiber.getCurrentFiber(),
        (fiber) => Option.fromNullable(fiber.currentContext.unsafeMap.get(HttpServerRequest.HttpServerRequest.key))
      )
    )
    return Predicate.isObject(request) ? this.#recordings.get(sourceOf(request as Request)) : undefined
  }

  #sessionOf(tag: ObservedTag): SessionRecording | undefined {
    const recording = this.#current
    if (recording === undefined) return undefined
    const known = recording.sessions.get(tag) ?? nothing()
    recording.sessions.set(tag, known)
    return known
  }

  // ---- the observer

  readonly store = (store: Store): Store =>
    intercepted(store, (operation, call) =>
      Effect.suspend(() => {
        const calls = this.#current?.storeCalls
        if (calls === undefined) return call
        return Effect.flatMap(Effect.clock, (clock) => {
          const begun = clock.unsafeCurrentTimeNanos()
          return Effect.onExit(call, (exit) =>
            Effect.sync(() => {
              const duration = Number(clock.unsafeCurrentTimeNanos() - begun) / 1_000_000
              calls.push({ operation, outcome: outcomeOf(exit), duration })
            }))
        })
      }))

  readonly tag = (observed: ObservedTag): Effect.Effect<TagObserver, SessionConfigError> =>
    Effect.suspend(() => {
      const { cookie, name, transport } = observed
      if (transport.accepts !== "bearer" && cookie.secure && !this.#options.allowSecureCookie) {
        return configError(
          "SessionDevtools",
          `The cookie of "${name}" is not that of development. Use SessionCookie.development, or set allowSecureCookie for ` +
            "development with https. Leave SessionDevtools out of production.",
          "devtools-in-production"
        )
      }
      const tag: Tag = { ...observed, view: undefined }
      this.tags.push(tag)
      return Effect.succeed<TagObserver>({
        engine: (engine) => this.#engine(tag, engine),
        loaded: (outcome) => void this.#sessionOf(tag)?.loads.push(outcome),
        decided: (decision, fields, changed) =>
          void this.#sessionOf(tag)?.commits.push({ decision, fields: [...fields], changed }),
        serves: (request) => {
          tag.view = viewOf(tag, request, () => this.#sessionOf(tag)?.info)
        }
      })
    })

  /** Notes the metadata of the records that an engine opens, and the seals that it rejects. */
  #engine(tag: ObservedTag, engine: BoundEngine): BoundEngine {
    return {
      ...engine,
      open: (value, now, reading) => {
        const session = this.#sessionOf(tag)
        if (session === undefined) return engine.open(value, now, reading)
        const before = rejected()
        const note = (exit: Exit.Exit<Option.Option<Opened>, SessionStoreError>) => {
          const after = rejected()
          session.rejections.push(...rejectionReasons.filter((reason) => after(reason) > before(reason)))
          if (Exit.isSuccess(exit) && Option.isSome(exit.value)) session.info = toInfo(exit.value.value.record)
        }
        const opened = engine.open(value, now, reading)
        if (!Done.isDone(opened)) return Effect.onExit(opened, (exit) => Effect.sync(() => note(exit)))
        note(opened)
        return opened
      }
    }
  }
}

const nothing = (): SessionRecording => ({ loads: [], rejections: [], commits: [], info: undefined })

/** The counts of rejected seals. The cause of a rejection is known to the metric only. */
const rejected = (): (reason: RejectionReason) => number => {
  const { occurrences } = SessionMetrics.rejections.unsafeValue([])
  const counts = new Map(occurrences)
  return (reason) => counts.get(reason) ?? 0
}

/** The names of the cookies of a request: at most 20. */
const namesOf = (header: string | undefined): ReadonlyArray<string> =>
  header === undefined
    ? []
    : header.split(";", 20).flatMap((pair) => /^\s*([^=\s]{1,200})=/.exec(pair)?.[1] ?? [])

const remoteOf = (request: Request): string => Option.getOrElse(request.remoteAddress, () => "")

const outcomeOf = (exit: Exit.Exit<unknown, SessionStoreError>): string =>
  Exit.match(exit, {
    onSuccess: (value) =>
      Option.isOption(value)
        ? (Option.isSome(value) ? "hit" : "miss")
        : typeof value === "string"
        ? value
        : Predicate.isTagged(value, "Evicted")
        ? "evicted"
        : "done",
    onFailure: (cause) =>
      Option.match(Cause.failureOption(cause), {
        onNone: () => Cause.isInterruptedOnly(cause) ? "interrupted" : "defect",
        onSome: ({ reason }) => reason
      })
  })
