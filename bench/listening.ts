import { once } from "node:events"
import type { Server } from "node:http"

/** The port of a server, when it listens. */
export const listening = async (server: Server): Promise<number> => {
  if (!server.listening) await once(server, "listening")
  const address = server.address()
  if (address === null || typeof address === "string") throw new Error("the server does not listen on a port")
  return address.port
}
