/**
 * One address for both servers: `/cart` and all below it goes to Effect, everything else to Django. In production, nginx does it.
 */
import { Effect, type Scope } from "effect"
import { createServer, request, type Server } from "node:http"
import type { AddressInfo } from "node:net"

const host = "127.0.0.1"

/** Listens until the end of the scope, and returns its port. A request keeps its `Host`, which both sides check. */
export const listen = (
  { django, effect, port }: { readonly port: number; readonly django: number; readonly effect: number }
): Effect.Effect<number, Error, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.async<Server, Error>((resume) => {
        const server = createServer((incoming, outgoing) => {
          const { pathname } = new URL(incoming.url ?? "/", "http://localhost")
          const isEffect = pathname === "/cart" || pathname.startsWith("/cart/")
          const { headers, method, url } = incoming
          const forwarded = request(
            { host, port: isEffect ? effect : django, method, path: url, headers },
            (response) => {
              outgoing.writeHead(response.statusCode ?? 502, response.headers)
              response.pipe(outgoing)
            }
          )
          forwarded.on("error", () => outgoing.headersSent ? outgoing.destroy() : outgoing.writeHead(502).end())
          incoming.pipe(forwarded)
        })
        server.once("error", (error) => resume(Effect.fail(error)))
        server.listen(port, host, () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.async<void>((resume) => {
          server.close(() => resume(Effect.void))
          server.closeAllConnections()
        })
    ),
    (server) => (server.address() as AddressInfo).port
  )
