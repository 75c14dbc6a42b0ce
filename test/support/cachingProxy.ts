/**
 * A shared cache that stores all that HTTP permits: `Set-Cookie` too, and responses of any status.
 */
import { Effect } from "effect"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"

/** Stores every response that is not `no-store`, and serves it to requests with the same values of the `Vary` headers. */
export const cachingProxy = (origin: number) => {
  const kept: Array<Page & { readonly key: string; readonly asked: Http.IncomingHttpHeaders }> = []
  const server = Http.createServer((request, response) => {
    const key = `${request.method} ${request.url}`
    const send = ({ body, headers, status }: Page) => response.writeHead(status, headers).end(body)
    const found = kept.find((page) =>
      page.key === key && page.vary.every((name) => page.asked[name] === request.headers[name])
    )
    if (found !== undefined) return send(found)
    Http.request({ port: origin, path: request.url, method: request.method, headers: request.headers }, (reply) => {
      const chunks: Array<Buffer> = []
      reply.on("data", (chunk) => chunks.push(chunk))
      reply.on("end", () => {
        const vary = (reply.headers.vary ?? "").toLowerCase().split(",").map((name) => name.trim()).filter(Boolean)
        const page = { body: Buffer.concat(chunks), headers: reply.rawHeaders, status: reply.statusCode ?? 0, vary }
        const keeps = !/no-store/.test(reply.headers["cache-control"] ?? "") && !vary.includes("*")
        if (keeps) kept.push({ ...page, key, asked: request.headers })
        send(page)
      })
    }).end()
  })
  return Effect.map(
    Effect.acquireRelease(
      Effect.async<Http.Server>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))),
      (server) => Effect.sync(() => (server.closeAllConnections(), server.close()))
    ),
    () => (server.address() as AddressInfo).port
  )
}

interface Page {
  readonly body: Buffer
  readonly headers: Array<string>
  readonly status: number
  readonly vary: ReadonlyArray<string>
}
