import { getRequestListener } from "@hono/node-server"
import { Hono } from "hono"
import { CookieStore, MemoryStore, type Session, sessionMiddleware, type Store } from "hono-sessions"
import { createServer } from "node:http"
import { data, type Make, type Options, webApp } from "../app.js"
import { listening } from "../listening.js"

const observed = (store: MemoryStore, onCall: (operation: string) => void): Store => ({
  getSessionById: (id) => {
    onCall("get")
    return store.getSessionById(id ?? "")
  },
  createSession: (id, data) => {
    onCall("create")
    store.createSession(id, data)
  },
  persistSessionData: (id, data) => {
    onCall("persist")
    store.persistSessionData(id, data)
  },
  deleteSession: (id) => {
    onCall("delete")
    store.deleteSession(id)
  }
})

const storeOf = ({ onStoreCall, store }: Options) => {
  if (store._tag === "cookie") return new CookieStore()
  if (store._tag !== "memory") throw new Error(`this library has no store for ${store._tag}`)
  return onStoreCall === undefined ? new MemoryStore() : observed(new MemoryStore(), onStoreCall)
}

export const make: Make = async (options) => {
  const app = new Hono<{ Variables: { session: Session } }>()
  app.get("/hello", (c) => c.text("ok"))
  app.use(
    "*",
    sessionMiddleware({
      store: storeOf(options),
      ...options.store._tag === "cookie" ? { encryptionKey: "a secret of at least thirty-two bytes" } : {},
      expireAfterSeconds: 86_400,
      // The minimal configuration.
      autoExtendExpiration: false,
      cookieOptions: { path: "/", httpOnly: true, sameSite: "Lax", maxAge: 86_400 }
    })
  )
  const count = (session: Session) => Number(session.get("count") ?? 0)
  app.get("/untouched", (c) => c.text("ok"))
  app.get("/read", (c) => c.text(String(c.get("session").get("user") ?? "none")))
  app.get("/modify", (c) => {
    const session = c.get("session")
    session.set("count", count(session) + 1)
    return c.text("ok")
  })
  app.get("/create", (c) => {
    const session = c.get("session")
    for (const [key, value] of Object.entries(data)) session.set(key, value)
    return c.text("ok")
  })
  app.get("/held", async (c) => {
    const session = c.get("session")
    const before = count(session)
    await options.pause()
    session.set("count", before + 1)
    return c.text("ok")
  })
  app.get("/count", (c) => {
    const session = c.get("session")
    return c.text(session.get("user") === null ? "none" : String(count(session)))
  })
  app.get("/logout", (c) => {
    c.get("session").deleteSession()
    return c.text("ok")
  })
  return webApp(
    app.fetch,
    () => listening(createServer(getRequestListener(app.fetch)).listen(0, "127.0.0.1"))
  )
}
