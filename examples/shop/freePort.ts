/**
 * Free ports for servers that restart on the same port.
 */
import { Effect } from "effect"
import { createServer, type Server } from "node:net"

// Below the ephemeral port range. A port in that range is not safe while its server is down: a client that keeps connecting to it
// may be given the same local port, and then connects to itself.
const first = 10_000
const last = 32_767

// Processes start at random ports, and no process returns a port twice.
let next = first + Math.floor(Math.random() * (last - first))

/** A local port that is not in use and that no other process is given while this one runs. */
export const freePort: Effect.Effect<number> = Effect.suspend(() => {
  const port = next
  next = next === last ? first : next + 1
  return Effect.flatMap(
    isMine(port),
    (mine) => mine ? Effect.flatMap(isFree(port), (free) => free ? Effect.succeed(port) : freePort) : freePort
  )
})

/** Reserves a port by listening on 127.0.0.2, which servers do not use. Not every system has this address. */
const isMine = (port: number) =>
  Effect.match(listening(port, "127.0.0.2"), {
    onFailure: ({ code }) => code === "EADDRNOTAVAIL",
    onSuccess: (server) => server.unref().listening
  })

const isFree = (port: number) =>
  Effect.matchEffect(listening(port, "127.0.0.1"), {
    onFailure: () => Effect.succeed(false),
    onSuccess: (server) => Effect.async<boolean>((resume) => void server.close(() => resume(Effect.succeed(true))))
  })

const listening = (port: number, host: string) =>
  Effect.async<Server, NodeJS.ErrnoException>((resume) => {
    const server = createServer((socket) => socket.destroy())
    server.once("error", (error) => resume(Effect.fail(error)))
    server.listen(port, host, () => resume(Effect.succeed(server)))
  })
