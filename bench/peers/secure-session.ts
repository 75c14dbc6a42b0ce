import secureSession from "@fastify/secure-session"
import fastify, { type FastifyRequest } from "fastify"
import { randomBytes } from "node:crypto"
import { type Data, data, type Make } from "../app.js"
import { nodeApp } from "./nodeApp.js"

/** `request.session` has the type of @fastify/session, loaded in the same program. */
const sessionOf = (request: FastifyRequest) => request.getDecorator<secureSession.Session<Data>>("session")

export const make: Make = async (options) => {
  const app = fastify()
  app.get("/hello", async () => "ok")
  await app.register(async (app) => {
    await app.register(secureSession, { key: randomBytes(32), cookie: { path: "/", maxAge: 86_400, sameSite: "lax" } })
    app.get("/untouched", async () => "ok")
    app.get("/read", async (request) => sessionOf(request).get("user") ?? "none")
    app.get("/modify", async (request) => {
      const session = sessionOf(request)
      session.set("count", (session.get("count") ?? 0) + 1)
      return "ok"
    })
    app.get("/create", async (request) => {
      const session = sessionOf(request)
      session.set("user", data.user)
      session.set("locale", data.locale)
      session.set("count", data.count)
      session.set("cart", data.cart)
      return "ok"
    })
    app.get("/held", async (request) => {
      const session = sessionOf(request)
      await options.pause()
      session.set("count", (session.get("count") ?? 0) + 1)
      return "ok"
    })
    app.get("/count", async (request) => {
      const session = sessionOf(request)
      return session.get("user") === undefined ? "none" : String(session.get("count"))
    })
    app.get("/logout", async (request) => {
      const session = sessionOf(request)
      session.delete()
      return "ok"
    })
  })
  await app.ready()
  return nodeApp(app.routing)
}
