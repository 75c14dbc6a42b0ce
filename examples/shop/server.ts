/**
 * The HTTP server, for this machine only.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { Config, Data, Effect, Layer, Schema } from "effect"
import { createServer } from "node:http"
import { connect, type NetConnectOpts } from "node:net"

export class CannotListen extends Data.TaggedError("CannotListen")<{ readonly message: string }> {}

const host = "127.0.0.1"

const port = Schema.Config("PORT", Schema.NumberFromString.pipe(Schema.int(), Schema.between(0, 65535))).pipe(
  Config.withDefault(3000),
  Effect.mapError(() => new CannotListen({ message: "PORT must be a whole number from 0 to 65535." }))
)

const busy = (port: number) =>
  new CannotListen({ message: `Port ${port} is in use: stop what listens there, or set PORT to another one.` })

/** Fails if the port is in use, before a database is started. */
export const portIsFree = Effect.flatMap(
  port,
  (port) => Effect.flatMap(answers({ host, port }), (taken) => taken ? busy(port) : Effect.void)
)

export const layer = Layer.unwrapEffect(Effect.map(port, (port) => {
  const server = createServer()
  // Closing waits for open connections, and browsers keep some without a request.
  const hangUp = Layer.scopedDiscard(Effect.addFinalizer(() => Effect.sync(() => server.closeAllConnections())))
  return Layer.provideMerge(hangUp, NodeHttpServer.layerServer(() => server, { host, port })).pipe(
    Layer.mapError(({ cause }) =>
      cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE"
        ? busy(port)
        : new CannotListen({ message: `The server cannot listen on port ${port}: ${String(cause)}` })
    )
  )
}))

/** Whether a server accepts connections at this address. */
export const answers = (where: NetConnectOpts): Effect.Effect<boolean> =>
  Effect.async((resume) => {
    const socket = connect(where)
    const done = (answer: boolean) => {
      socket.destroy()
      resume(Effect.succeed(answer))
    }
    socket.on("connect", () => done(true)).on("error", () => done(false))
  })
