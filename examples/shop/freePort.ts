/**
 * Ports for servers that stop and start again where they were.
 */
import { Effect } from "effect"
import { createServer, type Server } from "node:net"

// Below the range from which systems take the ports of outgoing connections. From within it, a port is not safe while its
// server is down: whoever keeps connecting to it is given that very port in the end, and is then connected with itself.
const first = 10_000
const last = 32_767

// Processes begin at different places, and none gives a port twice.
let next = first + Math.floor(Math.random() * (last - first))

/** A port of this machine on which nobody listens, and which no other process is given as long as this one lives. */
export const freePort: Effect.Effect<number> = Effect.suspend(() => {
  const port = next
  next = next === last ? first : next + 1
  return Effect.flatMap(
    isMine(port),
    (mine) => mine ? Effect.flatMap(isFree(port), (free) => free ? Effect.succeed(port) : freePort) : freePort
  )
})

/** Takes a port at an address that is there for this only: servers listen at another one. Not every system has it. */
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
