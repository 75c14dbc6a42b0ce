/**
 * Adapter for applications that are `node:http` listeners. In process they receive real request and response objects, whose
 * socket records the output.
 */
import { createServer, IncomingMessage, type RequestListener, ServerResponse } from "node:http"
import { Socket } from "node:net"
import type { App } from "../app.js"
import { listening } from "../listening.js"

class Unconnected extends Socket {
  private chunks: Array<Buffer> = []
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void) {
    this.chunks.push(Buffer.from(chunk))
    done()
  }
  override _writev(chunks: ReadonlyArray<{ readonly chunk: Buffer }>, done: () => void) {
    for (const { chunk } of chunks) this.chunks.push(Buffer.from(chunk))
    done()
  }
  /** The output since the last call. */
  written(): ReadonlyArray<Buffer> {
    const chunks = this.chunks
    this.chunks = []
    return chunks
  }
}

export const nodeApp = (listener: RequestListener): App => {
  const free: Array<Unconnected> = []
  return {
    handle: (path, cookie) =>
      new Promise((resolve) => {
        const socket = free.pop() ?? new Unconnected()
        const request = new IncomingMessage(socket)
        request.method = "GET"
        request.url = `/${path}`
        request.httpVersionMajor = 1
        request.httpVersionMinor = 1
        request.httpVersion = "1.1"
        request.headers = cookie === "" ? { host: "localhost" } : { host: "localhost", cookie }
        request.push(null)
        const response = new ServerResponse(request)
        response.assignSocket(socket)
        response.on("finish", () => {
          response.detachSocket(socket)
          const written = socket.written()
          free.push(socket)
          const parts = () => Buffer.concat(written).toString().split("\r\n\r\n")
          resolve({
            status: response.statusCode,
            // Parsed from the output, because the response object does not expose headers passed to `writeHead`.
            setCookies: () => [...(parts()[0] ?? "").matchAll(/^set-cookie: (.*)$/gim)].map(([, value = ""]) => value),
            body: async () => parts()[1] ?? ""
          })
        })
        listener(request, response)
      }),
    listen: () => listening(createServer(listener).listen(0, "127.0.0.1"))
  }
}
