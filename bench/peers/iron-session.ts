import { getIronSession } from "iron-session"
import type { IncomingMessage, ServerResponse } from "node:http"
import { data, type Make } from "../app.js"
import { nodeApp } from "./nodeApp.js"

const options = {
  cookieName: "session",
  password: "a secret of at least thirty-two bytes",
  ttl: 86_400,
  cookieOptions: { secure: false }
}

interface Data {
  user?: string
  count?: number
}

/** On plain `node:http`, because the library has no framework. */
export const make: Make = async ({ pause }) => {
  const session = (request: IncomingMessage, response: ServerResponse) =>
    getIronSession<Data>(request, response, options)
  type Handler = (request: IncomingMessage, response: ServerResponse) => Promise<string>
  const change = (pause: () => Promise<void> | undefined): Handler => async (request, response) => {
    const data = await session(request, response)
    await pause()
    data.count = (data.count ?? 0) + 1
    await data.save()
    return "ok"
  }
  const routes: Readonly<Record<string, Handler>> = {
    "/hello": async () => "ok",
    // No middleware: only handlers that request a session have one.
    "/untouched": async () => "ok",
    "/read": async (request, response) => (await session(request, response)).user ?? "none",
    "/modify": change(() => undefined),
    "/create": async (request, response) => {
      const created = await session(request, response)
      Object.assign(created, data)
      await created.save()
      return "ok"
    },
    "/held": change(pause),
    "/count": async (request, response) => {
      const { count, user } = await session(request, response)
      return user === undefined ? "none" : String(count)
    },
    "/logout": async (request, response) => {
      ;(await session(request, response)).destroy()
      return "ok"
    }
  }
  return nodeApp((request, response) => {
    const handler = routes[request.url ?? ""]
    if (handler === undefined) response.writeHead(404).end()
    else {
      handler(request, response).then(
        (body) => response.setHeader("content-type", "text/plain").end(body),
        (error: unknown) => response.writeHead(500).end(String(error))
      )
    }
  })
}
