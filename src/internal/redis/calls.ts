/**
 * How a Redis store talks to its client: scripts by their names, replies as texts, failures as values without anything
 * that was sent.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import type { Client } from "../../RedisClient.js"
import { SessionStoreError } from "../../SessionStore.js"
import { corrupt } from "../store/corrupt.js"
import type { Script } from "./lua.js"
import { NotSent } from "./notSent.js"
import * as Scripts from "./scripts.js"

/** A reply: a list of texts, some of which may be absent. */
export type Reply = ReadonlyArray<string | undefined>

/** The first key says where a call goes. */
type Keys = readonly [string, ...ReadonlyArray<string>]

/** A plain command about one key. */
type Command = readonly [name: string, key: string, ...args: ReadonlyArray<string | number>]

/** The calls that are made in the course of one operation of the store. */
export interface Calls {
  readonly operation: string
  readonly run: (
    script: Script,
    keys: Keys,
    args: ReadonlyArray<string | number>
  ) => Effect.Effect<Reply, SessionStoreError>
  readonly command: (...command: Command) => Effect.Effect<Reply, SessionStoreError>
}

/** Milliseconds for which commands that cannot be sent are tried again, before they fail at once. */
const patience = 500

/** How many commands may be without a reply: a client keeps each of them, and a server that hangs never answers. */
const mostUnanswered = 1000

/** The same for each of the 64 parts of a Cluster, so that the nodes that answer go on. */
const mostUnansweredOfTag = 128

/** Milliseconds after which a caller that waits for its turn looks again. */
const turnMillis = 250

/** Turns without any reply after which a server with that many unanswered commands counts as hung: calls fail at once. */
const quietTurns = 4

/** The commands about keys with one hash tag, which are all on one node. */
interface Lane {
  unanswered: number
  replies: number
  isHung: boolean
  /** Callers that wait for a reply to another command. */
  readonly waiting: Set<() => void>
  /** Since when commands could not be sent. */
  missedAt: number | undefined
}

/** Of each client, by hash tags. */
const lanes = new WeakMap<Client, Map<string, Lane>>()

/** Finds the lane of a key. On a client of one node there is one. */
const lanesOf = (client: Client): (key: string) => Lane => {
  const all = lanes.get(client) ?? new Map<string, Lane>()
  lanes.set(client, all)
  const ofTag = (tag: string): Lane => {
    const known = all.get(tag)
    if (known !== undefined) return known
    const lane: Lane = { unanswered: 0, replies: 0, isHung: false, waiting: new Set(), missedAt: undefined }
    all.set(tag, lane)
    return lane
  }
  if (client.cluster) return (key) => ofTag(/\{([^}]+)\}/.exec(key)?.[1] ?? "")
  const only = ofTag("")
  return () => only
}

/** Counts a command as answered, and wakes a caller that waits for that. */
const answered = (lane: Lane): void => {
  lane.unanswered--
  lane.replies++
  lane.isHung = false
  const [next] = lane.waiting
  next?.()
}

/** Waits for a reply to another command. The caller that it wakes may be gone, so nobody waits for long. */
const turn = ({ waiting }: Lane): Effect.Effect<unknown> =>
  Effect.async<void>((resume) => {
    const go = () => {
      waiting.delete(go)
      resume(Effect.void)
    }
    waiting.add(go)
    return Effect.sync(() => void waiting.delete(go))
  }).pipe(Effect.interruptible, Effect.timeoutOption(turnMillis))

/**
 * Makes the calls of an operation, which its errors will name. What could not be sent is sent again, for those who still want an
 * answer: a client has a new connection in a moment, and whoever has lost a reply asks again at once.
 */
export const calls = (client: Client): (operation: string) => Calls => {
  const most = client.cluster ? mostUnansweredOfTag : mostUnanswered
  const laneOf = lanesOf(client)
  return (operation) => callsOf(client, laneOf, most, operation)
}

const callsOf = (client: Client, laneOf: (key: string) => Lane, most: number, operation: string): Calls => {
  const run: Calls["run"] = (script, keys, args) => {
    const lane = laneOf(keys[0])

    /** A command is unanswered until its promise is settled, also when nobody waits for it any more. */
    const sent = Effect.async<Reply, SessionStoreError>((resume) => {
      lane.unanswered++
      evaluate(client, script, keys, args).then(
        (reply) => {
          answered(lane)
          lane.missedAt = undefined
          resume(Exit.succeed(textsOf(reply)))
        },
        (error: unknown) => {
          answered(lane)
          resume(failed(error))
        }
      )
    })

    const failed = (error: unknown): Effect.Effect<Reply, SessionStoreError> =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        if (!(error instanceof NotSent)) return Effect.fail(storeError(operation, error))
        lane.missedAt ??= now
        return now < lane.missedAt + patience
          ? Effect.delay(attempt(), "25 millis")
          : Effect.fail(storeError(operation, error))
      })

    /** `quiet`: how many turns have passed without a reply. */
    const attempt = (quiet = 0): Effect.Effect<Reply, SessionStoreError> =>
      Effect.suspend(() => {
        if (lane.unanswered < most) return sent
        if (quiet >= quietTurns) lane.isHung = true
        if (lane.isHung) {
          const problem = `the server has not answered the last ${most} commands: nothing was sent`
          return Effect.fail(storeError(operation, new Error(problem)))
        }
        const { replies } = lane
        return Effect.flatMap(turn(lane), () => attempt(lane.replies === replies ? quiet + 1 : 0))
      })
    return attempt()
  }
  return { operation, run, command: (name, key, ...args) => run(Scripts.plain, [key], [name, ...args]) }
}

/** By name, and with its text only where the server does not know the script: after a restart, or on another node. */
const evaluate = async (client: Client, { sha, text }: Script, keys: Keys, args: ReadonlyArray<string | number>) => {
  const command = ["evalsha", sha, String(keys.length), ...keys]
  for (const arg of args) command.push(String(arg))
  try {
    return await client.send(keys[0], command)
  } catch (error) {
    // A Cluster's client may say it in other words around.
    if (!/\bNOSCRIPT\b/.test(messageOf(error))) throw error
    return client.send(keys[0], ["eval", text, ...command.slice(2)])
  }
}

/** @internal */
export const storeError = (operation: string, error: unknown): SessionStoreError =>
  new SessionStoreError({
    operation,
    reason: /\b(?:CORRUPT|WRONGTYPE)\b/.test(messageOf(error)) ? "corrupt" : "unavailable",
    cause: withoutArguments(error)
  })

export const messageOf = (error: unknown): string => error instanceof Error ? error.message : String(error)

// Drivers attach the command that failed, and the server repeats one that it does not know: both hold data of sessions.
const withoutArguments = (error: unknown): unknown => {
  const repeated = /, with args beginning with[\s\S]*/
  const message = messageOf(error)
  if (!Predicate.hasProperty(error, "command") && !repeated.test(message)) return error
  const copy = new Error(message.replace(repeated, ""))
  if (error instanceof Error) copy.name = error.name
  return copy
}

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true })

/** Clients give texts as strings or as bytes, as they were told by the application. */
export const textOf = (value: unknown): string | undefined =>
  typeof value === "string" || typeof value === "number" || typeof value === "bigint"
    ? String(value)
    : value instanceof Uint8Array
    ? utf8.decode(value)
    : undefined

/** What a script says became of its work: one of the words that it knows. */
export const outcome =
  <const A extends string>({ operation }: Calls, ...words: ReadonlyArray<A>) =>
  ([first]: Reply): Effect.Effect<A, SessionStoreError> => {
    const word = words.find((word) => word === first)
    return word === undefined
      ? Effect.fail(new SessionStoreError({ operation, reason: "corrupt" }))
      : Effect.succeed(word)
  }

/** Reads what a store holds; what cannot be read is no record. */
export const decoded = <A>({ operation }: Calls, decode: () => A): Effect.Effect<A, SessionStoreError> =>
  Effect.try({ try: decode, catch: (cause) => corrupt(operation, cause) })

const textsOf = (reply: unknown): Reply => (Array.isArray(reply) ? reply : [reply]).map(textOf)
