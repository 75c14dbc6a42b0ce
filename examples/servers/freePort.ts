/**
 * Ports for servers that stop and start again where they were.
 */
import { Effect } from "effect"
import { createServer } from "node:net"

// Below the range from which systems take the ports of outgoing connections. From within it, a port is not safe while its
// server is down: whoever keeps connecting to it is given that very port in the end, and is then connected with itself.
const first = 10_000
const last = 32_767

// Two processes begin at different places, and none gives a port twice.
let next = first + Math.floor(Math.random() * (last - first))

/** A port of this machine on which nobody listens. */
export const freePort: Effect.Effect<number> = Effect.suspend(() => {
  const port = next
  next = next === last ? first : next + 1
  return Effect.flatMap(isFree(port), (free) => free ? Effect.succeed(port) : freePort)
})

const isFree = (port: number) =>
  Effect.async<boolean>((resume) => {
    const server = createServer()
    server.once("error", () => resume(Effect.succeed(false)))
    server.listen(port, "127.0.0.1", () => server.close(() => resume(Effect.succeed(true))))
  })
