/**
 * Nodes that tell each other of their writes through Postgres: `LISTEN` and `pg_notify`.
 *
 * Each node hears its own beat through its listener. When the beats stop, whatever has become of the connection, it
 * listens again by a new one, and tells what it serves that notices may have been lost. Where the database takes the beats and
 * none comes back, as behind a pooler that hands a connection on after each transaction, it logs a warning.
 *
 * @since 0.5.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import type * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { randomBytes } from "./internal/crypto/primitives.js"
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import type { SessionId } from "./SessionId.js"
import type { InvalidationEvent } from "./SessionInvalidation.js"
import { SessionInvalidation } from "./SessionInvalidation.js"
import type { StoreKey } from "./StoreKey.js"

/**
 * The options of {@link layerWith}.
 *
 * @since 0.5.0
 * @category models
 */
export interface PgInvalidationOptions {
  /** The channel, one for all nodes that share their sessions. Default `"effect_session"`. */
  readonly channel?: string
  /** How often a node listens for its own beat; after three that are missing it connects again. Default 5 seconds. */
  readonly beat?: Duration.DurationInput
}

const undelivered = (channel: string) =>
  `PgInvalidation: the database takes notifications on the channel "${channel}", and none arrives. A pooler between them that ` +
  `hands a connection on after each transaction (PgBouncer in transaction mode, and its like) does so: LISTEN succeeds on a ` +
  `connection that is somebody else's afterwards. Until one arrives, a logout or a change on another process is known here ` +
  `when the lease has passed. Give this layer a PgClient that connects to the database directly, or to a pooler in session mode.`

/** How many notices may wait to be told. */
const mostWaiting = 10_000

/**
 * The channel with options.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWith = (options: PgInvalidationOptions): Layer.Layer<SessionInvalidation, never, PgClient.PgClient> =>
  Layer.scoped(
    SessionInvalidation,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const { beat = "5 seconds", channel = "effect_session" } = options
      const pause = Duration.decode(beat)
      const node = freshNode()
      const waiting = yield* Queue.dropping<InvalidationEvent>(mostWaiting)
      let overflowed = false
      /** Warned, and nothing has been heard since. */
      let warned = false

      const send = (client: PgClient.PgClient, notices: ReadonlyArray<InvalidationEvent>) =>
        Effect.forEach(
          packets(node, notices),
          (packet) => Effect.asVoid(client`SELECT pg_notify(${channel}, ${packet})`),
          { discard: true }
        ).pipe(Effect.disconnect, Effect.timeout(pause))

      /** Those that wait, together; what could not be told is told as a gap. */
      const tellOn = Effect.gen(function*() {
        const notices = yield* Queue.takeBetween(waiting, 1, 1000)
        const told = yield* Effect.exit(send(sql, [...notices]))
        if (Exit.isFailure(told)) {
          yield* Effect.logDebug("Notices of changed sessions could not be sent.", told.cause)
          yield* Effect.sleep(pause)
        }
        const isLost = Exit.isFailure(told) || overflowed
        overflowed = false
        if (isLost && !(yield* Queue.offer(waiting, { _tag: "Gap" }))) overflowed = true
      })
      yield* Effect.forkScoped(Effect.forever(tellOn))

      /** One connection, until it is silent. */
      const listenOnce = (hear: (notice: InvalidationEvent) => Effect.Effect<void>) =>
        Effect.gen(function*() {
          // Notices may have been lost before this connection listens: since the one before it, or since the first copy.
          let mayHaveMissed = true
          const connectTimeout = sql.config.connectTimeout ?? "5 seconds"
          const connected = Layer.build(PgClient.layer({ ...sql.config, connectTimeout, maxConnections: 1 }))
          // It cannot be interrupted while it connects. One that comes too late is closed at once: so is the scope.
          const listener = Context.get(
            yield* Effect.timeout(Effect.disconnect(connected), connectTimeout),
            PgClient.PgClient
          )
          let heardAt = 0
          let beats = 0
          let sent = 0
          const received = Stream.runForEach(listener.listen(channel), (payload) =>
            Effect.gen(function*() {
              heardAt = beats
              warned = false
              if (mayHaveMissed) yield* hear({ _tag: "Gap" })
              mayHaveMissed = false
              const packet = open(payload)
              if (Option.isSome(packet) && packet.value.from !== node) {
                yield* Effect.forEach(packet.value.notices, hear, { discard: true })
              }
            }))
          const beating = Effect.gen(function*() {
            while (beats - heardAt < 3) {
              beats++
              // By a connection of its own: an application's pool that is exhausted says nothing about this one.
              if (yield* Effect.isSuccess(send(listener, []))) sent++
              yield* Effect.sleep(pause)
            }
            // The database took our own beats on this connection, and none came back on it.
            if (mayHaveMissed && sent > 0 && !warned) {
              warned = true
              yield* Effect.logWarning(undelivered(channel))
            }
          })
          yield* Effect.raceFirst(Effect.disconnect(received), beating)
        })

      return {
        publish: (notice) =>
          Effect.map(Queue.offer(waiting, notice), (taken) => {
            if (!taken) overflowed = true
          }),
        subscribe: (hear) =>
          Effect.gen(function*() {
            // A connection that hangs is left behind: to close it may take as long as it hangs.
            const ended = yield* Deferred.make<void>()
            const connection = listenOnce(hear).pipe(
              Effect.ensuring(Deferred.succeed(ended, undefined)),
              Effect.scoped,
              Effect.catchAllCause((cause) => Effect.logDebug("The listener for changed sessions has ended.", cause))
            )
            yield* Effect.acquireUseRelease(
              Effect.forkDaemon(Effect.interruptible(connection)),
              () => Deferred.await(ended),
              Fiber.interruptFork
            )
          }).pipe(Effect.zipRight(Effect.sleep(pause)), Effect.forever)
      }
    })
  )

/**
 * The channel as a layer. Its listener has connections of its own, two at the most, made as those of the `PgClient` are: directly,
 * or through a pooler in session mode. Through one in transaction mode nothing arrives; after three beats a warning says so.
 *
 * @example
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { Config, Layer } from "effect"
 * import * as CachedSqlEngine from "effect-session/CachedSqlEngine"
 * import * as PgInvalidation from "effect-session/PgInvalidation"
 *
 * export const engine = CachedSqlEngine.layerWithInvalidation({ lease: "1 minute" }).pipe(
 *   Layer.provide(PgInvalidation.layer),
 *   Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
 * )
 * ```
 *
 * @since 0.5.0
 * @category layers
 */
export const layer: Layer.Layer<SessionInvalidation, never, PgClient.PgClient> = layerWith({})

/**
 * The channel with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<PgInvalidationOptions>
): Layer.Layer<SessionInvalidation, ConfigError, PgClient.PgClient> => layerConfigOf(options, layerWith)

// Notices as texts of the length that a channel takes

const id = Schema.declare((value): value is SessionId => typeof value === "string")
const key = Schema.declare((value): value is StoreKey => typeof value === "string")

const Packet = Schema.parseJson(Schema.Struct({
  from: Schema.String,
  notices: Schema.Array(Schema.Union(
    Schema.TaggedStruct("Key", { key }),
    Schema.TaggedStruct("Id", { namespace: Schema.String, id }),
    Schema.TaggedStruct("Subject", {
      namespace: Schema.String,
      subject: Schema.String,
      except: Schema.optional(id)
    }),
    Schema.TaggedStruct("Everyone", { namespace: Schema.String }),
    Schema.TaggedStruct("Gap", {})
  ))
}))

/** Postgres takes 7,999 bytes; a text of this length may be of three bytes each. */
const longest = 2600

/** A name that no other node has. */
const freshNode = (): string => Encoding.encodeBase64Url(randomBytes(12))

/** All notices, in as many texts as it takes; at least one, which says that the node is there. */
const packets = (from: string, notices: ReadonlyArray<InvalidationEvent>): ReadonlyArray<string> => {
  const encode = (notices: ReadonlyArray<InvalidationEvent>) => Schema.encodeSync(Packet)({ from, notices })
  const whole = encode(notices)
  if (whole.length <= longest) return [whole]
  // One that is too long by itself is told as a gap.
  if (notices.length === 1) return [encode([{ _tag: "Gap" }])]
  const half = Math.ceil(notices.length / 2)
  return [...packets(from, notices.slice(0, half)), ...packets(from, notices.slice(half))]
}

/** What another node has sent; nothing if it is none of ours. */
const open: (text: string) => Option.Option<typeof Packet.Type> = Schema.decodeOption(Packet)
