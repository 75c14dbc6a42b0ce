/**
 * A TCP proxy to a server of this machine that can drop the server's replies.
 */
import { Effect } from "effect"
import * as Net from "node:net"

export const make = (port: number) =>
  Effect.gen(function*() {
    let to = port
    let delay = 0
    const sockets = new Set<Net.Socket>()
    const unanswered = new Set<Net.Socket>()
    let mode: "pass" | "loseNext" | "loseAll" = "pass"
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
        if (mode === "pass") {
          wasAnswered = true
          return client.write(data)
        }
        lost++
        if (!wasAnswered) unanswered.add(client)
        if (mode === "loseAll") return
        mode = "pass"
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
      /** The number of chunks from the server that were dropped. */
      lost: Effect.sync(() => lost),
      /** The number of open connections whose first reply was dropped. */
      unanswered: Effect.sync(() => unanswered.size),
      /** Drops the next chunk from the server and closes its connection. */
      loseNextReply: set("loseNext"),
      /** From now on drops everything from the server and keeps all connections open. */
      loseReplies: set("loseAll"),
      /** From now on forwards replies again. Those already dropped stay lost. */
      passReplies: set("pass"),
      /** Delays everything that clients send by this number of milliseconds. */
      slow: (millis: number) => Effect.sync(() => void (delay = millis)),
      /** Sends new connections to the server on another port. Open connections are not affected. */
      connectTo: (port: number) => Effect.sync(() => void (to = port))
    }
  })
