/**
 * Waits for a Redis replica.
 */
import { Effect } from "effect"
import type * as Redis from "./servers/redis.js"
import { until } from "./servers/server.js"

type Server = Effect.Effect.Success<ReturnType<typeof Redis.make>>

/** Waits until the replica has all writes of its primary. `WAIT` only covers the writes of its own connection. */
export const untilReplicated = (primary: Pick<Server, "ask">, replica: Pick<Server, "ask">) =>
  Effect.gen(function*() {
    yield* primary.ask("SET", "marker", "here")
    yield* until(replica.ask("GET", "marker"), (value) => value === "here")
    yield* primary.ask("DEL", "marker")
  })
