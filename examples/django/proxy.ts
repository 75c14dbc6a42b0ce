/**
 * One address for both servers: `/cart` and all below it goes to Effect, everything else to Django. In production, nginx does it.
 */
import { Data, Effect, type Scope } from "effect"
import { createServer, request, type Server } from "node:http"

export class ProxyError extends Data.TaggedError("ProxyError")<{ readonly message: string }> {}

const host = "127.0.0.1"

/** A view that moves to Effect gets its path here, and Django's `urls.py` loses it. */
const isMoved = (path: string): boolean => /^\/cart(?:[/?]|$)/.test(path)

/**
 * Listens until the end of the scope, and returns the port. A request keeps its `Host`: both sides compare it with the `Origin` to
 * refuse forged requests.
 */
export const listen = (
  { django, effect, port }: { readonly port: number; readonly django: number; readonly effect: number }
): Effect.Effect<number, ProxyError, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.async<Server, ProxyError>((resume) => {
        const server = createServer((incoming, outgoing) => {
          const { headers, method, url: path = "/" } = incoming
          const forwarded = request(
            { host, port: isMoved(path) ? effect : django, method, path, headers },
            (response) => {
              outgoing.writeHead(response.statusCode ?? 502, response.headers)
              response.pipe(outgoing)
            }
          )
          forwarded.on("error", () => outgoing.headersSent ? outgoing.destroy() : outgoing.writeHead(502).end())
          incoming.pipe(forwarded)
        })
        server.once("error", ({ message }) =>
          resume(new ProxyError({ message: `The bookshop cannot open (${message}): set PORT to another port.` })))
        server.listen(port, host, () =>
          resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.async<void>((resume) => {
          server.close(() =>
            resume(Effect.void)
          )
          server.closeAllConnections()
        })
    ),
    (server) => {
      const address = server.address()
      return typeof address === "object" && address !== null ? address.port : port
    }
  )
