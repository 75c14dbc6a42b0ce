/**
 * How a Redis store talks to its client: scripts by their names, replies as texts, failures as values without anything
 * that was sent.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type { Shape as Client } from "../RedisClient.js"
import { SessionStoreError } from "../SessionStore.js"
import { corrupt } from "./damaged.js"
import type { Script } from "./redisLua.js"
import { NotSent } from "./redisReady.js"

/** A reply: a list of texts, some of which may be absent. */
export type Reply = ReadonlyArray<string | undefined>

/** The first key says where a call goes. */
export type Keys = readonly [string, ...ReadonlyArray<string>]

/** A plain command about one key. */
export type Command = readonly [name: string, key: string, ...args: ReadonlyArray<string | number>]

/** The calls that are made in the course of one operation of the store. */
export interface Calls {
  readonly operation: string
  readonly run: (
    script: Script,
    keys: Keys,
    args: ReadonlyArray<string | number>
  ) => Effect.Effect<Reply, SessionStoreError>
  readonly command: (...command: Command) => Effect.Effect<Reply, SessionStoreError>
  /** The same script in several places at once: one reply each, in their order. */
  readonly runAll: (
    script: Script,
    all: ReadonlyArray<Keys>,
    args: ReadonlyArray<string | number>
  ) => Effect.Effect<ReadonlyArray<Reply>, SessionStoreError>
  readonly commandAll: (all: ReadonlyArray<Command>) => Effect.Effect<ReadonlyArray<Reply>, SessionStoreError>
}

/** How long a connection that was lost may be missing, in milliseconds, before calls fail at once. */
const patience = 500

/**
 * Makes the calls of an operation, which its errors will name. A connection that was just lost is waited for, by those who
 * still want an answer: a client has a new one in a moment, and whoever has lost a reply asks again at once.
 */
export const calls = (client: Client): (operation: string) => Calls => {
  let missedAt: number | undefined
  const attempt = <A>(operation: string, send: () => Promise<A>): Effect.Effect<A, SessionStoreError> =>
    Effect.tryPromise({ try: send, catch: (error) => error }).pipe(
      Effect.tap(() => void (missedAt = undefined)),
      Effect.catchAll((error) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          if (!(error instanceof NotSent)) return Effect.fail(storeError(operation, error))
          missedAt ??= now
          return now < missedAt + patience
            ? Effect.delay(attempt(operation, send), "25 millis")
            : Effect.fail(storeError(operation, error))
        })
      )
    )
  return (operation) => callsOf(client, operation, (send) => attempt(operation, send))
}

const callsOf = (
  client: Client,
  operation: string,
  attempt: <A>(send: () => Promise<A>) => Effect.Effect<A, SessionStoreError>
): Calls => {
  const run = (script: Script, keys: Keys, args: ReadonlyArray<string | number>) =>
    evaluate(client, script, keys, args.map(String)).then(textsOf)
  const command = ([name, key, ...args]: Command) => client.send(key, [name, key, ...args.map(String)]).then(textsOf)
  return {
    operation,
    run: (script, keys, args) => attempt(() => run(script, keys, args)),
    command: (...parts) => attempt(() => command(parts)),
    runAll: (script, all, args) => attempt(() => Promise.all(all.map((keys) => run(script, keys, args)))),
    commandAll: (all) => attempt(() => Promise.all(all.map(command)))
  }
}

/** By name, and with its text only where the server does not know the script: after a restart, or on another node. */
const evaluate = async (client: Client, { sha, text }: Script, keys: Keys, args: ReadonlyArray<string>) => {
  const rest = [String(keys.length), ...keys, ...args]
  try {
    return await client.send(keys[0], ["evalsha", sha, ...rest])
  } catch (error) {
    // A Cluster's client may say it in other words around.
    if (!/\bNOSCRIPT\b/.test(messageOf(error))) throw error
    return client.send(keys[0], ["eval", text, ...rest])
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
