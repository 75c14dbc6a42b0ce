/**
 * Runs scripts and commands of the Redis store on its client. Replies become lists of texts; failures become errors that contain
 * nothing of what was sent.
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

/** The first key determines the node. */
type Keys = readonly [string, ...ReadonlyArray<string>]

/** A plain command on one key. */
type Command = readonly [name: string, key: string, ...args: ReadonlyArray<string | number>]

/** The calls of one store operation. */
export interface Calls {
  readonly operation: string
  readonly run: (
    script: Script,
    keys: Keys,
    args: ReadonlyArray<string | number>
  ) => Effect.Effect<Reply, SessionStoreError>
  readonly command: (...command: Command) => Effect.Effect<Reply, SessionStoreError>
}

/** Milliseconds to retry commands that cannot be sent (the client may be reconnecting), before they fail at once. */
const reconnectGraceMillis = 500

/** Limit of commands without a reply: a client keeps each of them in memory, and a server that hangs never answers. */
const maxUnanswered = 1000

/** The same limit for each of the 64 shards of a Cluster, so that one node that hangs does not block calls to the others. */
const maxUnansweredPerTag = 128

/** Milliseconds that a call at the limit waits for a reply before it checks again. */
const waitMillis = 250

/** Consecutive waits without any reply after which the server counts as hung: calls then fail at once. */
const maxSilentWaits = 4

/** The unanswered commands of one hash tag, all of which go to one node. */
interface Backlog {
  unanswered: number
  replies: number
  isHung: boolean
  /** Resumes the calls that wait for a reply to another command. */
  readonly waiting: Set<() => void>
  /** The time in milliseconds of the first command that could not be sent since the last success. */
  notSentSince: number | undefined
}

/** For each client: its backlogs by hash tag. */
const backlogs = new WeakMap<Client, Map<string, Backlog>>()

/** Finds the backlog of a key. A client of one node has a single one. */
const backlogsOf = (client: Client): (key: string) => Backlog => {
  const all = backlogs.get(client) ?? new Map<string, Backlog>()
  backlogs.set(client, all)
  const ofTag = (tag: string): Backlog => {
    const known = all.get(tag)
    if (known !== undefined) return known
    const backlog: Backlog = { unanswered: 0, replies: 0, isHung: false, waiting: new Set(), notSentSince: undefined }
    all.set(tag, backlog)
    return backlog
  }
  if (client.cluster) return (key) => ofTag(/\{([^}]+)\}/.exec(key)?.[1] ?? "")
  const only = ofTag("")
  return () => only
}

/** Counts a command as answered, and resumes one waiting call. */
const countReply = (backlog: Backlog): void => {
  backlog.unanswered--
  backlog.replies++
  backlog.isHung = false
  const [next] = backlog.waiting
  next?.()
}

/** Waits for a reply to another command, with a time limit: the one call that a reply resumes may have been interrupted. */
const awaitReply = ({ waiting }: Backlog): Effect.Effect<unknown> =>
  Effect.async<void>((resume) => {
    const go = () => {
      waiting.delete(go)
      resume(Effect.void)
    }
    waiting.add(go)
    return Effect.sync(() => void waiting.delete(go))
  }).pipe(Effect.interruptible, Effect.timeoutOption(waitMillis))

/**
 * Returns a function that makes the calls of an operation, whose name appears in errors. Commands that could not be sent are retried
 * for {@link reconnectGraceMillis}: the client may be about to reconnect, and the engine repeats a call at once after a lost reply.
 */
export const calls = (client: Client): (operation: string) => Calls => {
  const limit = client.cluster ? maxUnansweredPerTag : maxUnanswered
  const backlogOf = backlogsOf(client)
  return (operation) => callsOf(client, backlogOf, limit, operation)
}

const callsOf = (
  client: Client,
  backlogOf: (key: string) => Backlog,
  limit: number,
  operation: string
): Calls => {
  const run: Calls["run"] = (script, keys, args) => {
    const backlog = backlogOf(keys[0])

    /** Not cancellable: a command counts as unanswered until its promise completes, even if its caller was interrupted. */
    const sent = Effect.async<Reply, SessionStoreError>((resume) => {
      backlog.unanswered++
      evaluate(client, script, keys, args).then(
        (reply) => {
          countReply(backlog)
          backlog.notSentSince = undefined
          resume(Exit.succeed(textsOf(reply)))
        },
        (error: unknown) => {
          countReply(backlog)
          resume(failed(error))
        }
      )
    })

    const failed = (error: unknown): Effect.Effect<Reply, SessionStoreError> =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        if (!(error instanceof NotSent)) return Effect.fail(storeError(operation, error))
        backlog.notSentSince ??= now
        return now < backlog.notSentSince + reconnectGraceMillis
          ? Effect.delay(attempt(), "25 millis")
          : Effect.fail(storeError(operation, error))
      })

    const attempt = (silentWaits = 0): Effect.Effect<Reply, SessionStoreError> =>
      Effect.suspend(() => {
        if (backlog.unanswered < limit) return sent
        if (silentWaits >= maxSilentWaits) backlog.isHung = true
        if (backlog.isHung) {
          const problem = `the server has not answered the last ${limit} commands: nothing was sent`
          return Effect.fail(storeError(operation, new Error(problem)))
        }
        const { replies } = backlog
        return Effect.flatMap(
          awaitReply(backlog),
          () => attempt(backlog.replies === replies ? silentWaits + 1 : 0)
        )
      })
    return attempt()
  }
  return { operation, run, command: (name, key, ...args) => run(Scripts.command, [key], [name, ...args]) }
}

/** Sends the hash of a script, and its text only if the server does not know it: after a restart, or on another node. */
const evaluate = async (client: Client, { sha, text }: Script, keys: Keys, args: ReadonlyArray<string | number>) => {
  const command = ["evalsha", sha, String(keys.length), ...keys]
  for (const arg of args) command.push(String(arg))
  try {
    return await client.send(keys[0], command)
  } catch (error) {
    // A Cluster client may wrap the server's message, so NOSCRIPT need not come first.
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

// Drivers attach the failed command to the error, and the server quotes a command that it does not know: both contain session data.
const withoutArguments = (error: unknown): unknown => {
  const quotedArguments = /, with args beginning with[\s\S]*/
  const message = messageOf(error)
  if (!Predicate.hasProperty(error, "command") && !quotedArguments.test(message)) return error
  const copy = new Error(message.replace(quotedArguments, ""))
  if (error instanceof Error) copy.name = error.name
  return copy
}

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true })

/** Converts a reply to text. Clients return strings or bytes, depending on how the application configured them. */
export const textOf = (value: unknown): string | undefined =>
  typeof value === "string" || typeof value === "number" || typeof value === "bigint"
    ? String(value)
    : value instanceof Uint8Array
    ? utf8.decode(value)
    : undefined

/** Returns the first text of a reply, which must be one of `words`; fails with `corrupt` otherwise. */
export const outcome =
  <const A extends string>({ operation }: Calls, ...words: ReadonlyArray<A>) =>
  ([first]: Reply): Effect.Effect<A, SessionStoreError> => {
    const word = words.find((word) => word === first)
    return word === undefined
      ? Effect.fail(new SessionStoreError({ operation, reason: "corrupt" }))
      : Effect.succeed(word)
  }

/** Decodes a stored value; fails with `corrupt` if `decode` throws. */
export const decoded = <A>({ operation }: Calls, decode: () => A): Effect.Effect<A, SessionStoreError> =>
  Effect.try({ try: decode, catch: (cause) => corrupt(operation, cause) })

const textsOf = (reply: unknown): Reply => (Array.isArray(reply) ? reply : [reply]).map(textOf)
