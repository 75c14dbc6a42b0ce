import cookie from "@fastify/cookie"
import session from "@fastify/session"
import fastify from "fastify"
import { data, type Make } from "../app.js"
import { nodeApp } from "./nodeApp.js"
import { observedIf, storeOf } from "./stores.js"

declare module "fastify" {
  interface Session {
    user: string
    locale: string
    count: number
    cart: unknown
  }
}

export const make: Make = async (options) => {
  const shared = await storeOf(options)
  const store = observedIf(
    // Documented as compatible; the types differ only in `undefined`.
    shared === undefined ? new session.MemoryStore(new Map()) : shared as unknown as session.SessionStore,
    options
  )
  const app = fastify()
  app.get("/hello", async () => "ok")
  await app.register(async (app) => {
    await app.register(cookie)
    await app.register(session, {
      store,
      secret: "a secret of at least thirty-two bytes",
      // The minimal configuration.
      saveUninitialized: false,
      rolling: false,
      cookie: { maxAge: 86_400_000, sameSite: "lax", secure: false }
    })
    app.get("/untouched", async () => "ok")
    app.get("/read", async ({ session }) => session.user ?? "none")
    app.get("/modify", async ({ session }) => {
      session.count = (session.count ?? 0) + 1
      return "ok"
    })
    app.get("/create", async ({ session }) => {
      Object.assign(session, data)
      return "ok"
    })
    app.get("/held", async ({ session }) => {
      const { count } = session
      await options.pause()
      session.count = count + 1
      return "ok"
    })
    app.get("/count", async ({ session }) => session.user === undefined ? "none" : String(session.count))
    app.get("/logout", async ({ session }) => {
      await session.destroy()
      return "ok"
    })
  })
  await app.ready()
  return nodeApp(app.routing)
}
