/**
 * The engine that moves sessions of Django to another engine: each session at the end of the first request that uses it.
 *
 * A move has three steps:
 *
 * 1. It claims the session, if that still has the text that was read: from then on Django does not find it, and its text stays.
 * 2. It creates the session in the target, under a token that is derived from the cookie value and the text, so that requests which move
 *    the same text agree on one session.
 * 3. It finishes: only a trace stays in the source, by which requests with the old cookie find the session. Then the cookie is sent.
 *
 * A session that is missing in the target has ended if the move is finished, and was not created yet if it is only claimed. So another
 * request completes a move whose process has ended, and no late request brings back a session that has ended.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { BoundEngine, CookieValue, Opened, Scope, Write, Written } from "../../SessionEngine.js"
import type { SessionRecord } from "../../SessionRecord.js"
import type { SessionStoreError, SubjectLimit } from "../../SessionStore.js"
import { lengthPrefixed, nameBytes, sha256Bytes } from "../crypto/primitives.js"
import * as Tokens from "../crypto/sessionToken.js"
import * as ExpiryRules from "../domain/expiry.js"
import * as Ids from "../domain/id.js"

/** A session in a source. */
export interface Live {
  readonly _tag: "Live"
  readonly record: SessionRecord
  /** The signature of the text that was read. */
  readonly signature: string
  /** Claims the session, if it still has this text. Absent: it is claimed. */
  readonly claim?: (now: number) => Effect.Effect<boolean, SessionStoreError>
  /** Ends the session, if it still has this text. */
  readonly end: (now: number) => Effect.Effect<boolean, SessionStoreError>
}

/** The trace of a move. */
export interface Moved {
  readonly _tag: "Moved"
  /** The signature of the text that has moved. */
  readonly signature: string
  /** The id of the session in the target. */
  readonly id: string
}

/** A place where Django keeps sessions, bound to a namespace. */
export interface Source {
  readonly remote: boolean
  /** Returns whether a cookie value has the form of this source. */
  readonly recognizes: (value: string) => boolean
  readonly open: (value: string, now: number) => Effect.Effect<Live | Moved | undefined, SessionStoreError>
  /** Replaces a claimed session by the trace of its move. Returns `false` if no session is claimed. `until`: the end of the trace. */
  readonly finish: (
    value: string,
    move: Omit<Moved, "_tag"> & { readonly now: number; readonly until: number }
  ) => Effect.Effect<boolean, SessionStoreError>
  /** Ends a session that is not claimed. Returns `false` if there was none. */
  readonly remove: (value: string, now: number) => Effect.Effect<boolean, SessionStoreError>
  /** Deletes the trace of a move. */
  readonly forget: (value: string, now: number) => Effect.Effect<void, SessionStoreError>
  readonly ping?: (now: number) => Effect.Effect<void, SessionStoreError>
}

/** The token of the session that a session of Django moves to. */
const successorOf = (value: string, signature: string) =>
  Tokens.fromBytes(sha256Bytes(lengthPrefixed("effect-session/django/successor", value, signature)))

type State = Live | { readonly _tag: "Moved"; readonly token: CookieValue } | { readonly _tag: "None" }

/** A write of an existing session. */
type Change = Exclude<Write, { readonly _tag: "Create" }>

const gone: Written = { _tag: "Gone" }
const conflict: Written = { _tag: "Conflict" }

export const make = (source: Source, to: BoundEngine, { expiry }: Scope): BoundEngine => {
  /** The result of the last read of each cookie value of Django. */
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

  const finish = (value: CookieValue, signature: string, { expiry, id }: SessionRecord, now: number) =>
    source.finish(Redacted.value(value), { signature, id, now, until: expiry.at })

  const open = (value: CookieValue, now: number): Effect.Effect<Option.Option<Opened>, SessionStoreError> =>
    Effect.flatMap(source.open(Redacted.value(value), now), (found) => {
      states.set(value, { _tag: "None" })
      if (found === undefined) return Effect.succeedNone
      const token = successorOf(Redacted.value(value), found.signature)
      if (found._tag === "Moved") {
        // Another id is that of a late move, which is about to be undone.
        return Effect.map(movedTo(value, token, now), Option.filter(({ record }) => record.id === found.id))
      }
      const live = Effect.sync(() => {
        states.set(value, found)
        return Option.some<Opened>({ value, record: found.record, needsReseal: true })
      })
      const { signature } = found
      return found.claim !== undefined
        ? live
        : Effect.flatMap(
          movedTo(value, token, now),
          (moved) =>
            Option.isNone(moved)
              ? live
              // The request that has created the session has not finished the move, and may have ended.
              : Effect.as(
                finish(value, signature, moved.value.record, now),
                moved
              )
        )
    })

  const stateOf = (value: CookieValue, now: number) => {
    const known = states.get(value)
    return known === undefined
      ? Effect.map(open(value, now), () => states.get(value))
      : Effect.succeed(known)
  }

  /** Creates a session of Django in the target. `minted`: its token; absent: a random one. */
  const create = (
    record: SessionRecord,
    minted: CookieValue | undefined,
    limit: SubjectLimit | undefined,
    now: number
  ) => {
    // The absolute limit of a session that only Django has written begins now.
    const deadline = record.expiry.deadline ??
      (expiry === undefined ? undefined : ExpiryRules.deadlineFrom(expiry, now))
    return to.write({
      _tag: "Create",
      record: {
        ...record,
        // The id of a session that another request has created may be the same.
        id: Ids.fromBytes(nameBytes(Ids.byteLength)),
        version: 1,
        expiry: { ...record.expiry, at: Math.min(record.expiry.at, deadline ?? Infinity), deadline }
      },
      minted,
      limit
    }, now)
  }

  /** Moves a session by a write of it. */
  const move = (write: Change, live: Live, now: number): Effect.Effect<Written, SessionStoreError> =>
    Effect.gen(function*() {
      const { claim, end, record, signature } = live
      const value = Redacted.value(write.value)
      const unmoved = Effect.map(source.open(value, now), (found) => found === undefined ? gone : conflict)
      if (write._tag !== "Touch" && write.expectedVersion !== record.version) return conflict
      if (write._tag === "Rotate") {
        // The old cookie must not lead to a session that has rotated, so its token is random.
        const created = yield* create(write.record, write.minted, write.limit, now)
        if (created._tag !== "Written" || (yield* end(now))) return created
        yield* to.destroy(created.value)
        return yield* unmoved
      }
      // A session that was claimed when it was read may have moved since, and ended.
      const isClaimed = yield* claim?.(now) ?? Effect.map(source.open(value, now), (found) => found?._tag === "Live")
      if (!isClaimed) return yield* unmoved
      const next = write._tag === "Save" ? write.record : { ...record, lastSeenAt: write.record.lastSeenAt }
      const token = successorOf(value, signature)
      const created = yield* create(next, token, undefined, now)
      if (created._tag !== "Written") return created
      if (Redacted.value(created.value) !== Redacted.value(token)) {
        // Another request has created the session of this text.
        yield* to.destroy(created.value)
        return conflict
      }
      if (yield* finish(write.value, signature, created.record, now)) return created
      const found = yield* source.open(value, now)
      // Another request may have finished this move. If not, the session has moved before, or a logout has ended it.
      if (found?._tag === "Moved" && found.id === created.record.id) return created
      yield* to.destroy(created.value)
      return found === undefined ? gone : conflict
    })

  const destroy = (value: CookieValue): Effect.Effect<void, SessionStoreError> =>
    Effect.gen(function*() {
      const text = Redacted.value(value)
      const now = yield* Clock.currentTimeMillis
      if (yield* source.remove(text, now)) return
      const found = yield* source.open(text, now)
      if (found === undefined) return
      const token = successorOf(text, found.signature)
      // If it does not have this text any more, another request has claimed it, or finished its move.
      if (found._tag === "Live" && !(yield* found.end(now))) return yield* destroy(value)
      yield* to.destroy(token)
      if (found._tag === "Moved") yield* source.forget(text, now)
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
