/**
 * In-memory stores of other libraries.
 */
import fastifySession from "@fastify/session"
import expressSession from "express-session"

export const stores = {
  "express-session": () => new expressSession.MemoryStore(),
  "@fastify/session": () => new fastifySession.MemoryStore(new Map())
}
