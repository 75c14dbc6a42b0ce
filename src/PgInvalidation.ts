/**
 * Invalidation events through Postgres: `LISTEN` and `pg_notify`.
 *
 * Each node sends itself a heartbeat through its listener. If heartbeats stop arriving, the node listens on a new connection and emits the
 * missed-events marker. If the database accepts heartbeats but none arrives, as behind a pooler in transaction mode, the node logs a warning.
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
import { withHelp } from "./internal/help.js"
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
  /** The name of the Postgres channel, the same for all nodes that share sessions. Default `"effect_session"`. */
  readonly channel?: string
  /** The interval of the heartbeats. After three missing ones the node reconnects. Default 5 seconds. */
  readonly heartbeat?: Duration.DurationInput
}

const undelivered = (channel: string) =>
  `PgInvalidation: the database accepts notifications on the channel "${channel}", but none arrives. The usual cause is a pooler ` +
  `in transaction mode, such as PgBouncer: after LISTEN it gives the connection to another client. Until notifications arrive, a ` +
  `logout or a change on another process takes effect here when the lease has ended. Give this layer a PgClient that connects to ` +
  `the database directly, or to a pooler in session mode.`

/** The maximum number of events that wait to be published. */
const mostWaiting = 10_000

/**
 * The channel on Postgres, with options.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerWith = (options: PgInvalidationOptions): Layer.Layer<SessionInvalidation, never, PgClient.PgClient> =>
  Layer.scoped(
    SessionInvalidation,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const { channel = "effect_session", heartbeat = "5 seconds" } = options
      const pause = Duration.decode(heartbeat)
      const node = freshNode()
      const waiting = yield* Queue.dropping<InvalidationEvent>(mostWaiting)
      let overflowed = false
      /** Whether a warning was logged, and no notification has arrived since. */
      let warned = false

      const send = (client: PgClient.PgClient, notices: ReadonlyArray<InvalidationEvent>) =>
        Effect.forEach(
          packets(node, notices),
          (packet) => Effect.asVoid(client`SELECT pg_notify(${channel}, ${packet})`),
          { discard: true }
        ).pipe(Effect.disconnect, Effect.timeout(pause))

      /** Publishes the waiting events together. Events that could not be published become a missed-events marker. */
      const publishWaiting = Effect.gen(function*() {
        const notices = yield* Queue.takeBetween(waiting, 1, 1000)
        const published = yield* Effect.exit(send(sql, [...notices]))
        if (Exit.isFailure(published)) {
          yield* Effect.logDebug("PgInvalidation could not publish invalidation events.", published.cause)
          yield* Effect.sleep(pause)
        }
        const isLost = Exit.isFailure(published) || overflowed
        overflowed = false
        if (isLost && !(yield* Queue.offer(waiting, { _tag: "Lost" }))) overflowed = true
      })
      yield* Effect.forkScoped(Effect.forever(publishWaiting))

      /** Listens on one connection until its heartbeats stop. */
      const listenOnce = (onEvent: (event: InvalidationEvent) => Effect.Effect<void>) =>
        Effect.gen(function*() {
          // Events may have been lost before this connection listens: since the previous one, or since the first cached record.
          let mayHaveMissed = true
          const connectTimeout = sql.config.connectTimeout ?? "5 seconds"
          const connected = Layer.build(PgClient.layer({ ...sql.config, connectTimeout, maxConnections: 1 }))
          // Connecting cannot be interrupted. A connection that is made after the timeout is closed at once, because the scope is closed.
          const listener = Context.get(
            yield* Effect.timeout(Effect.disconnect(connected), connectTimeout),
            PgClient.PgClient
          )
          let receivedAt = 0
          let beats = 0
          let sent = 0
          const received = Stream.runForEach(listener.listen(channel), (payload) =>
            Effect.gen(function*() {
              receivedAt = beats
              warned = false
              if (mayHaveMissed) yield* onEvent({ _tag: "Lost" })
              mayHaveMissed = false
              const packet = open(payload)
              if (Option.isSome(packet) && packet.value.from !== node) {
                yield* Effect.forEach(packet.value.notices, onEvent, { discard: true })
              }
            }))
          const beating = Effect.gen(function*() {
            while (beats - receivedAt < 3) {
              beats++
              // Sent on the listener's own connection, because the application's pool may be exhausted.
              if (yield* Effect.isSuccess(send(listener, []))) sent++
              yield* Effect.sleep(pause)
            }
            // The database accepted our heartbeats on this connection, and none arrived on it.
            if (mayHaveMissed && sent > 0 && !warned) {
              warned = true
              yield* Effect.logWarning(withHelp(undelivered(channel), "invalidation-not-delivered"))
            }
          })
          yield* Effect.raceFirst(Effect.disconnect(received), beating)
        })

      return {
        publish: (event) =>
          Effect.map(Queue.offer(waiting, event), (taken) => {
            if (!taken) overflowed = true
          }),
        subscribe: (onEvent) =>
          Effect.gen(function*() {
            // A connection that hangs is abandoned, because closing it could also hang.
            const ended = yield* Deferred.make<void>()
            const connection = listenOnce(onEvent).pipe(
              Effect.ensuring(Deferred.succeed(ended, undefined)),
              Effect.scoped,
              Effect.catchAllCause((cause) =>
                Effect.logDebug("The listener of PgInvalidation has ended and reconnects.", cause)
              )
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
 * The channel on Postgres. Its listener has its own connections, at most two, with the configuration of the `PgClient`. Connect directly, or
 * through a pooler in session mode: through a pooler in transaction mode no event arrives, and a warning is logged after three heartbeats.
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
export const layer: Layer.Layer<SessionInvalidation, never, PgClient.PgClient> = Layer.fresh(layerWith({}))

/**
 * The channel on Postgres, with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<PgInvalidationOptions>
): Layer.Layer<SessionInvalidation, ConfigError, PgClient.PgClient> => layerConfigOf(options, layerWith)

// Encoding of events

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
    Schema.TaggedStruct("Namespace", { namespace: Schema.String }),
    Schema.TaggedStruct("Lost", {})
  ))
}))

/** The maximum length of a payload in UTF-16 code units: Postgres accepts 7,999 bytes, and each unit takes at most three. */
const longest = 2600

/** Makes a unique node name. */
const freshNode = (): string => Encoding.encodeBase64Url(randomBytes(12))

/** Encodes events as payloads: at least one, because an empty payload is a heartbeat. */
const packets = (from: string, notices: ReadonlyArray<InvalidationEvent>): ReadonlyArray<string> => {
  const encode = (notices: ReadonlyArray<InvalidationEvent>) => Schema.encodeSync(Packet)({ from, notices })
  const whole = encode(notices)
  if (whole.length <= longest) return [whole]
  // An event that is too long becomes a missed-events marker.
  if (notices.length === 1) return [encode([{ _tag: "Lost" }])]
  const half = Math.ceil(notices.length / 2)
  return [...packets(from, notices.slice(0, half)), ...packets(from, notices.slice(half))]
}

/** Decodes a payload. Returns `None` if another program sent it. */
const open: (text: string) => Option.Option<typeof Packet.Type> = Schema.decodeOption(Packet)
