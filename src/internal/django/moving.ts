/**
 * The engine that moves sessions of Django to another engine: each session at the end of the first request that uses it.
 *
 * A move creates the session in the target first, under a token that is derived from the cookie value and from the text that was read, and
 * then ends it in the source, if it still has that text. So requests that move the same text at the same time agree on one session, a move
 * never overwrites what Django has written meanwhile, and a logout in Django is final. What a process leaves that dies between the two steps
 * cannot be reached by any cookie. A source keeps a trace of each move, by which later requests with the old cookie find the session.
 * For signed cookies, which hold the sessions themselves, the target keeps the trace.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { BoundEngine, CookieValue, Opened, Scope, Write, Written } from "../../SessionEngine.js"
import type { SessionRecord } from "../../SessionRecord.js"
import type { SessionStoreError } from "../../SessionStore.js"
import { decodeBase64Url, lengthPrefixed, nameBytes, sha256 } from "../crypto/primitives.js"
import * as Tokens from "../crypto/sessionToken.js"
import { earlier } from "../domain/earlier.js"
import * as Ids from "../domain/id.js"

/** A session in a source, or the trace of its move. `signature`: that of the text that was read, or moved. */
export type Found =
  | { readonly _tag: "Live"; readonly record: SessionRecord; readonly signature: string }
  | { readonly _tag: "Moved"; readonly signature: string }

/** A place where Django keeps sessions, bound to a namespace. */
export interface Source {
  readonly remote: boolean
  /** Returns whether a cookie value has the form of this source. */
  readonly recognizes: (value: string) => boolean
  readonly open: (value: string, now: number) => Effect.Effect<Found | undefined, SessionStoreError>
  readonly ending: {
    /** Ends a session that still has the text of this signature, and leaves a trace of its move unless it has rotated. */
    readonly end: (
      value: string,
      moved: { readonly signature: string; readonly now: number; readonly until: number; readonly leavesTrace: boolean }
    ) => Effect.Effect<boolean, SessionStoreError>
    /** Ends a session. Returns `false` if there was none. */
    readonly remove: (value: string) => Effect.Effect<boolean, SessionStoreError>
    /** Deletes the trace of a move. */
    readonly forget: (value: string) => Effect.Effect<void, SessionStoreError>
  }
  readonly ping?: (now: number) => Effect.Effect<void, SessionStoreError>
}

/** The token of the session that a session of Django moves to. */
const successorOf = (value: string, signature: string) =>
  Tokens.fromBytes(
    decodeBase64Url(sha256(lengthPrefixed("effect-session/django/successor", value, signature))) ?? new Uint8Array()
  )

type State =
  | { readonly _tag: "Live"; readonly record: SessionRecord; readonly signature: string }
  | { readonly _tag: "Moved"; readonly token: CookieValue }
  | { readonly _tag: "None" }

const gone: Written = { _tag: "Gone" }
const conflict: Written = { _tag: "Conflict" }

export const make = (source: Source, to: BoundEngine, { expiry }: Scope): BoundEngine => {
  const { ending } = source

  /** The sessions that were read last by each cookie value of Django. */
  const states = new WeakMap<CookieValue, State>()

  const isDjango = (value: CookieValue): boolean => source.recognizes(Redacted.value(value))

  const movedTo = (
    value: CookieValue,
    token: CookieValue,
    now: number
  ): Effect.Effect<Option.Option<Opened>, SessionStoreError> =>
    Effect.suspend(() => {
      states.set(value, { _tag: "Moved", token })
      // The response sends the cookie again: the browser has not received it, or another request is about to send it.
      return Effect.map(to.open(token, now, "fresh"), Option.map((opened) => ({ ...opened, value, needsReseal: true })))
    })

  const open = (value: CookieValue, now: number): Effect.Effect<Option.Option<Opened>, SessionStoreError> =>
    Effect.flatMap(source.open(Redacted.value(value), now), (found) => {
      states.set(value, { _tag: "None" })
      if (found === undefined) return Effect.succeedNone
      const token = successorOf(Redacted.value(value), found.signature)
      if (found._tag === "Moved") return movedTo(value, token, now)
      states.set(value, found)
      return Effect.succeedSome<Opened>({ value, record: found.record, needsReseal: true })
    })

  const stateOf = (value: CookieValue, now: number) => {
    const known = states.get(value)
    return known === undefined
      ? Effect.map(open(value, now), () => states.get(value))
      : Effect.succeed(known)
  }

  /** The record that a session of Django has in the target. */
  const carried = (
    write: Exclude<Write, { readonly _tag: "Create" }>,
    { record }: { readonly record: SessionRecord },
    now: number
  ) => {
    const next = write._tag === "Touch" ? { ...record, lastSeenAt: write.record.lastSeenAt } : write.record
    // Django has no limit that activity cannot move.
    const deadline = next.expiry.deadline ??
      earlier(expiry?.absolute === undefined ? undefined : now + expiry.absolute, expiry?.at)
    return {
      ...next,
      // Another attempt may have taken the id, and ended before it was reached.
      id: Ids.fromBytes(nameBytes(Ids.byteLength)),
      version: 1,
      expiry: { ...next.expiry, at: Math.min(next.expiry.at, deadline ?? Infinity), deadline }
    }
  }

  const move = (
    write: Exclude<Write, { readonly _tag: "Create" }>,
    live: Extract<State, { readonly _tag: "Live" }>,
    now: number
  ): Effect.Effect<Written, SessionStoreError> => {
    if (write._tag !== "Touch" && write.expectedVersion !== live.record.version) return Effect.succeed(conflict)
    const value = Redacted.value(write.value)
    const { signature } = live
    const record = carried(write, live, now)
    // The old cookie must not give access to a session that has rotated, so its token is random.
    const successor = write._tag === "Rotate" ? undefined : successorOf(value, signature)
    const creation: Write = {
      _tag: "Create",
      record,
      minted: successor ?? (write._tag === "Rotate" ? write.minted : undefined),
      limit: write._tag === "Rotate" ? write.limit : undefined
    }
    return Effect.flatMap(to.write(creation, now), (created): Effect.Effect<Written, SessionStoreError> => {
      if (created._tag !== "Written") return Effect.succeed(created)
      const isOwn = successor === undefined || Redacted.value(created.value) === Redacted.value(successor)
      // If another request has made the session of this text, use that one.
      const done = isOwn ? created : conflict
      const finish = (outcome: Written): Effect.Effect<Written, SessionStoreError> =>
        outcome._tag === "Written" ? Effect.succeed(outcome) : Effect.as(to.destroy(created.value), outcome)
      const leavesTrace = successor !== undefined
      return Effect.flatMap(
        ending.end(value, { signature, now, until: record.expiry.at, leavesTrace }),
        (isEnded) =>
          isEnded ? finish(done) : Effect.flatMap(source.open(value, now), (found) =>
            finish(
              found === undefined
                ? gone
                : found._tag === "Moved" && found.signature === signature && leavesTrace
                ? done
                : conflict
            ))
      )
    })
  }

  const destroy = (value: CookieValue): Effect.Effect<void, SessionStoreError> =>
    Effect.flatMap(Effect.clock, (clock) => {
      const text = Redacted.value(value)
      const now = clock.unsafeCurrentTimeMillis()
      const moved = Effect.flatMap(source.open(text, now), (found) => {
        if (found === undefined) return Effect.void
        return Effect.zipRight(to.destroy(successorOf(text, found.signature)), ending.forget(text))
      })
      return Effect.flatMap(ending.remove(text), (isRemoved) => isRemoved ? Effect.void : moved)
    })

  const tokenOf = (value: CookieValue): CookieValue => {
    const state = states.get(value)
    if (state === undefined || state._tag === "None") throw new TypeError("the session was not opened")
    return state._tag === "Moved" ? state.token : successorOf(Redacted.value(value), state.signature)
  }

  const { endReason, mint, recognizes, secretOf } = to
  return {
    remote: to.remote || source.remote,
    selfContained: false,
    recognizes: (text) => source.recognizes(text) || (recognizes?.(text) ?? true),
    limitsSubjects: to.limitsSubjects,
    ...mint === undefined
      ? {}
      : { mint: (beside) => mint(beside === undefined || isDjango(beside) ? undefined : beside) },
    ...secretOf === undefined
      ? {}
      : {
        secretOf: ({ record, value }) => secretOf({ value: isDjango(value) ? tokenOf(value) : value, record })
      },
    ...endReason === undefined ? {} : {
      endReason: (value, now) =>
        isDjango(value)
          ? Effect.flatMap(stateOf(value, now), (state) =>
            state?._tag === "Moved" ? endReason(state.token, now) : Effect.succeedSome("unknown" as const))
          : endReason(value, now)
    },
    ping: (now) => Effect.zipRight(source.ping?.(now) ?? Effect.void, to.ping?.(now) ?? Effect.void),
    open: (value, now, reading) => isDjango(value) ? open(value, now) : to.open(value, now, reading),
    write: (write, now) =>
      write._tag === "Create" || !isDjango(write.value)
        ? to.write(write, now)
        : Effect.flatMap(stateOf(write.value, now), (state) => {
          switch (state?._tag) {
            case undefined:
            case "None":
              return Exit.succeed(gone)
            case "Moved":
              return to.write({ ...write, value: state.token }, now)
            case "Live":
              return move(write, state, now)
          }
        }),
    destroy: (value) => isDjango(value) ? destroy(value) : to.destroy(value)
  }
}
