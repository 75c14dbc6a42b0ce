import { once } from "node:events"
import type { Server } from "node:http"

/** Waits until the server listens and returns its port. Idle connections stay open while other contenders are measured. */
export const listening = async (server: Server): Promise<number> => {
  server.keepAliveTimeout = 0
  if (!server.listening) await once(server, "listening")
  const address = server.address()
  if (address === null || typeof address === "string") throw new Error("the server does not listen on a port")
  return address.port
}
