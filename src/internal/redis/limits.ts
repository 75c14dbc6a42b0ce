/**
 * Limits of live sessions per subject. On one node the script of the write enforces them. In a Cluster the sessions of a subject are in
 * different shards, so a lock on the subject keeps two limited writes apart.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type { SessionId } from "../../SessionId.js"
import { parse as parseId } from "../../SessionId.js"
import type { SessionInfo, SessionRecord } from "../../SessionRecord.js"
import type { Evicted, SessionStoreError, SubjectLimit } from "../../SessionStore.js"
import { sha256 } from "../crypto/primitives.js"
import type { Calls, Reply } from "./calls.js"
import { storeError } from "./calls.js"
import * as Scripts from "./scripts.js"
import type { Shard, Shards } from "./shards.js"
import { subjectPrefixOf, subjectScopeOf } from "./shards.js"

type Result<A> = Effect.Effect<A, SessionStoreError>

/** The keys and arguments that enforce a limit, after the others of the script. */
export interface LimitInput {
  readonly keys: ReadonlyArray<string>
  readonly args: ReadonlyArray<string | number>
}

/** A `create` or `rotate` of a record in a shard. */
export interface LimitedWrite {
  readonly shard: Shard
  /** The idempotency key of the call. */
  readonly call: string
  readonly record: SessionRecord
  readonly limit: SubjectLimit | undefined
  readonly now: number
  /** Runs the script. */
  readonly run: (input: LimitInput) => Result<Reply>
}

export interface Limits {
  /** Runs a write, within its limit if it has one. The reply is that of the script. */
  readonly within: (calls: Calls, write: LimitedWrite) => Result<Reply>
}

const noLimit: LimitInput = { keys: [], args: [] }

/** The position of the first evicted id in a reply. */
const idsFrom = 5

/** Reads the ids in the reply of a write that has evicted sessions. */
export const evictedIn = (reply: Reply): Evicted => ({
  _tag: "Evicted",
  ids: reply.slice(idsFrom).flatMap((id = "") => Option.toArray(parseId(id)))
})

export const limitsOnOneNode: Limits = {
  within: (_calls, { limit, record: { namespace, subject }, run, shard }) => {
    if (limit === undefined || subject === undefined) return run(noLimit)
    const prefix = subjectPrefixOf(namespace, subject)
    // A script declares its keys, so it needs the index entries of the subject. It replies with them if it was given others.
    const attempt = (entries: Reply): Result<Reply> => {
      const texts = entries.flatMap((text) => text === undefined ? [] : [text])
      const keys = texts.flatMap((text) => {
        const key = text.slice(prefix.length)
        return [shard.record(key), shard.ended(key)]
      })
      return Effect.flatMap(
        run({ keys, args: ["", limit.max, limit.onFull, ...texts] }),
        (reply) => reply[0] === "moved" ? attempt(reply.slice(1)) : Effect.succeed(reply)
      )
    }
    return attempt([])
  }
}

/** Milliseconds after it got the lock in which a call may write. */
const allowedMillis = 5000

/**
 * Milliseconds after which the lock of a process that has crashed is removed. The difference from `allowedMillis` is by how much the clocks
 * of two nodes may differ.
 */
const leaseMillis = 15_000

/** The maximum number of milliseconds between two attempts to get the lock. */
const maxPauseMillis = 50

const together = { concurrency: "unbounded" } as const

export const limitsInCluster = (
  shards: Shards,
  list: (calls: Calls, namespace: string, subject: string, now: number) => Result<ReadonlyArray<SessionInfo>>,
  evict: (
    calls: Calls,
    info: { readonly namespace: string; readonly subject: string; readonly id: SessionId }
  ) => Result<unknown>
): Limits => ({
  within: (calls, { call, limit, now, record, run }) => {
    const { namespace, subject } = record
    if (limit === undefined || subject === undefined) return run(noLimit)
    const name = sha256(new TextEncoder().encode(subjectScopeOf(namespace, subject)))
    const lock = shards.of(name).lock(name)

    const acquire = (pause = 2): Result<string> =>
      Effect.flatMap(
        calls.run(Scripts.acquireLock, [lock], [call, leaseMillis, allowedMillis]),
        ([word, deadline]) =>
          word === "acquired" && deadline !== undefined
            ? Effect.succeed(deadline)
            : Effect.flatMap(
              Random.nextRange(pause / 2, pause),
              (millis) => Effect.delay(acquire(Math.min(pause * 2, maxPauseMillis)), millis)
            )
      )
    const release = Effect.ignore(calls.run(Scripts.releaseLock, [lock], [call]))

    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(restore(acquire()), (deadline) => {
        let isSent = false
        const locked = Effect.gen(function*() {
          // With a deadline that has passed, the script only checks its other conditions: nothing may end for a write that they refuse.
          const conditions = yield* run({ keys: [], args: [0] })
          if (conditions[0] !== "late") return conditions
          const others = (yield* list(calls, namespace, subject, now))
            .filter(({ id }) => id !== record.id && id !== conditions[1])
          const excess = others.length + 1 - limit.max
          if (excess > 0 && limit.onFull === "deny") return ["full"]
          const oldest = others.slice(0, Math.max(excess, 0))
          // Before the write, so that a crash between the two leaves fewer sessions, never more.
          yield* Effect.forEach(oldest, ({ id }) => evict(calls, { namespace, subject, id }), {
            ...together,
            discard: true
          })
          isSent = true
          const reply = yield* run({ keys: [], args: [deadline] })
          isSent = false
          if (reply[0] === "late") {
            const problem = "the lock of the subject expired before the write: nothing was written"
            return yield* Effect.fail(storeError(calls.operation, new Error(problem)))
          }
          const isWritten = reply[0] === "created" || reply[0] === "saved"
          if (!isWritten || oldest.length === 0) return reply
          const [, ...rest] = reply
          while (rest.length < idsFrom - 1) rest.push("")
          return ["evicted", ...rest, ...oldest.map(({ id }) => id)]
        })
        // The server may still execute a write whose reply is missing, so its lock stays until that write is too late.
        return Effect.onExit(restore(locked), (exit) =>
          Exit.isSuccess(exit) ? release : isSent ? Effect.void : Effect.forkDaemon(release))
      })
    )
  }
})
