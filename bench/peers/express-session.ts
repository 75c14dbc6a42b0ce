import express from "express"
import session from "express-session"
import { data, type Make } from "../app.js"
import { nodeApp } from "./nodeApp.js"
import { observedIf, storeOf } from "./stores.js"

declare module "express-session" {
  interface SessionData {
    user: string
    locale: string
    count: number
    cart: unknown
  }
}

export const make: Make = async (options) => {
  const store = observedIf(await storeOf(options) ?? new session.MemoryStore(), options)
  const app = express()
  app.disable("x-powered-by")
  app.disable("etag")
  app.get("/hello", (_, response) => void response.send("ok"))
  app.use(session({
    store,
    secret: "a secret of at least thirty-two bytes",
    // The minimal configuration.
    resave: false,
    saveUninitialized: false,
    cookie: { maxAge: 86_400_000, sameSite: "lax" }
  }))
  app.get("/untouched", (_, response) => void response.send("ok"))
  app.get("/read", (request, response) => void response.send(request.session.user ?? "none"))
  const increment: express.RequestHandler = (request, response) => {
    request.session.count = (request.session.count ?? 0) + 1
    response.send("ok")
  }
  app.get("/modify", increment)
  app.get("/create", (request, response) => {
    Object.assign(request.session, data)
    response.send("ok")
  })
  app.get("/held", async (request, response, next) => {
    await options.pause()
    await increment(request, response, next)
  })
  app.get("/count", (request, response) => {
    response.send(request.session.user === undefined ? "none" : String(request.session.count))
  })
  app.get("/logout", (request, response) => request.session.destroy(() => response.send("ok")))
  return nodeApp(app)
}
