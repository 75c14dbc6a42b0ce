/**
 * Where sessions are kept: in Redis.
 */
import { Config, Effect, Layer, Redacted } from "effect"
import { StoredEngine } from "effect-session"
import * as RedisClient from "effect-session/RedisClient"
import * as RedisStore from "effect-session/RedisStore"
import { Redis } from "ioredis"

const client = Layer.scoped(
  RedisClient.RedisClient,
  Effect.gen(function*() {
    const url = yield* Config.redacted("REDIS_URL")
    const redis = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const redis = new Redis(Redacted.value(url), { autoResendUnfulfilledCommands: false })
        // Without a listener the process ends. The client reconnects, and requests are answered with 503 meanwhile.
        return redis.on("error", () => {})
      }),
      (redis) => Effect.sync(() => redis.disconnect())
    )
    return RedisClient.ioredis(redis)
  })
)

export const layer = StoredEngine.layer.pipe(Layer.provide(RedisStore.layer), Layer.provide(client))
