/**
 * A way to a server of this machine, on which what the server says can get lost.
 */
import { Effect } from "effect"
import * as Net from "node:net"

export const make = (port: number) =>
  Effect.gen(function*() {
    let to = port
    let delay = 0
    const sockets = new Set<Net.Socket>()
    const unanswered = new Set<Net.Socket>()
    let mode: "open" | "lossy" | "silent" = "open"
    let lost = 0
    const connect = (client: Net.Socket) => {
      const server = Net.connect(to, "127.0.0.1")
      const both = [client, server]
      let wasAnswered = false
      for (const socket of both) {
        sockets.add(socket)
        socket.on("error", () => {})
        socket.on("close", () => {
          sockets.delete(socket)
          unanswered.delete(client)
          for (const other of both) other.destroy()
        })
      }
      client.on("data", (data) => delay === 0 ? server.write(data) : setTimeout(() => server.write(data), delay))
      server.on("data", (data) => {
        if (mode === "open") {
          wasAnswered = true
          return client.write(data)
        }
        lost++
        if (!wasAnswered) unanswered.add(client)
        if (mode === "silent") return
        mode = "open"
        client.destroy()
      })
    }
    const proxy = yield* Effect.acquireRelease(
      Effect.async<Net.Server>((resume) => {
        const proxy = Net.createServer(connect).listen(0, "127.0.0.1", () => resume(Effect.succeed(proxy)))
      }),
      (proxy) =>
        Effect.sync(() => {
          proxy.close()
          for (const socket of sockets) socket.destroy()
        })
    )
    const address = proxy.address()
    const set = (next: typeof mode) => Effect.sync(() => void (mode = next))
    return {
      port: typeof address === "object" && address !== null ? address.port : 0,
      /** How often something was lost. */
      lost: Effect.sync(() => lost),
      /** How many connections are there that were accepted, and whose first answer was lost. */
      unanswered: Effect.sync(() => unanswered.size),
      /** The next thing that the server says is lost, and the connection breaks. */
      loseNext: set("lossy"),
      /** From now on all that the server says is lost, and no connection breaks. */
      silence: set("silent"),
      /** From now on it is passed on again. What was lost stays lost. */
      open: set("open"),
      /** From now on whatever a client says reaches the server later by so many milliseconds. */
      slow: (millis: number) => Effect.sync(() => void (delay = millis)),
      /** From now on new connections lead to another server. Those that are there stay. */
      lead: (port: number) => Effect.sync(() => void (to = port))
    }
  })
