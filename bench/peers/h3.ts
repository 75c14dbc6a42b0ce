import { clearSession, getSession, H3, type HTTPEvent, toNodeHandler, updateSession } from "h3"
import { createServer } from "node:http"
import { type Data, data, type Make, webApp } from "../app.js"
import { listening } from "../listening.js"

const config = { password: "a secret of at least thirty-two bytes", maxAge: 86_400 }

export const make: Make = async (options) => {
  const session = (event: HTTPEvent) => getSession<Data>(event, config)
  const increment = async (event: HTTPEvent) => {
    await updateSession<Data>(event, config, ({ count = 0 }) => ({ count: count + 1 }))
    return "ok"
  }
  const app = new H3()
  app.get("/hello", () => "ok")
  // No middleware: only handlers that request a session have one.
  app.get("/untouched", () => "ok")
  app.get("/read", async (event) => (await session(event)).data.user ?? "none")
  app.get("/modify", increment)
  app.get("/create", async (event) => {
    await updateSession<Data>(event, config, data)
    return "ok"
  })
  app.get("/held", async (event) => {
    await session(event)
    await options.pause()
    return increment(event)
  })
  app.get("/count", async (event) => {
    const { data } = await session(event)
    return data.user === undefined ? "none" : String(data.count)
  })
  app.get("/logout", async (event) => {
    await clearSession(event, config)
    return "ok"
  })
  return webApp(
    (request) => app.fetch(request),
    () => listening(createServer(toNodeHandler(app)).listen(0, "127.0.0.1"))
  )
}
