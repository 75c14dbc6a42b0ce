import cookieSession from "cookie-session"
import express from "express"
import { data, type Make } from "../app.js"
import { nodeApp } from "./nodeApp.js"

export const make: Make = async (options) => {
  const app = express()
  app.disable("x-powered-by")
  app.disable("etag")
  app.get("/hello", (_, response) => void response.send("ok"))
  app.use(
    cookieSession({
      name: "session",
      keys: ["a secret of at least thirty-two bytes"],
      maxAge: 86_400_000,
      sameSite: "lax"
    })
  )
  app.get("/untouched", (_, response) => void response.send("ok"))
  app.get("/read", (request, response) => void response.send(request.session?.["user"] ?? "none"))
  const increment: express.RequestHandler = (request, response) => {
    if (request.session) request.session["count"]++
    response.send("ok")
  }
  app.get("/modify", increment)
  app.get("/create", (request, response) => {
    Object.assign(request.session ?? {}, data)
    response.send("ok")
  })
  app.get("/held", async (request, response, next) => {
    // The session is opened on first use, not by the middleware.
    void request.session?.["count"]
    await options.pause()
    await increment(request, response, next)
  })
  app.get("/count", (request, response) => {
    response.send(request.session?.["user"] === undefined ? "none" : String(request.session["count"]))
  })
  app.get("/logout", (request, response) => {
    // The types of express-session, loaded in the same program, do not allow `null`.
    Object.assign(request, { session: null })
    response.send("ok")
  })
  return nodeApp(app)
}
