/**
 * Minimal HTTP client, so that the server dominates the measurement: one request at a time per connection; reads only the status,
 * the cookies and the body of a response.
 */
import { connect, type Socket } from "node:net"

export interface Response {
  readonly status: number
  readonly head: string
  readonly body: string
}

export interface Connection {
  readonly get: (path: string, cookie: string) => Promise<Response>
  readonly close: () => void
}

/** Parses the first complete response in the text. Bodies are ASCII, so characters are bytes. */
const responseIn = (text: string): Response | undefined => {
  const end = text.indexOf("\r\n\r\n")
  if (end < 0) return undefined
  const head = text.slice(0, end)
  const rest = text.slice(end + 4)
  const length = /^content-length: *(\d+)/im.exec(head)?.[1]
  if (length === undefined ? !rest.endsWith("0\r\n\r\n") : rest.length < Number(length)) return undefined
  return {
    status: Number(head.slice(9, 12)),
    head,
    // Chunked bodies have a single chunk here: its length, the text, and the end.
    body: length === undefined ? rest.split("\r\n")[1] ?? "" : rest
  }
}

export const open = (port: number): Promise<Connection> =>
  new Promise((resolve, reject) => {
    const socket: Socket = connect({ port, host: "127.0.0.1", noDelay: true })
    let text = ""
    let failure: Error | undefined
    let pending: { readonly done: (response: Response) => void; readonly fail: (error: Error) => void } | undefined
    const fail = (error: Error) => {
      failure ??= error
      reject(error)
      pending?.fail(error)
    }
    socket.setEncoding("latin1")
    socket.on("error", fail)
    socket.on("close", () => fail(new Error("the server has closed the connection")))
    socket.on("data", (chunk: string) => {
      text += chunk
      const response = responseIn(text)
      if (response === undefined) return
      text = ""
      pending?.done(response)
    })
    socket.on("connect", () =>
      resolve({
        get: (path, cookie) =>
          new Promise((done, fail) => {
            if (failure !== undefined) return fail(failure)
            pending = { done, fail }
            socket.write(
              `GET /${path} HTTP/1.1\r\nHost: localhost\r\n${cookie === "" ? "" : `Cookie: ${cookie}\r\n`}\r\n`
            )
          }),
        close: () => {
          pending = undefined
          socket.destroy()
        }
      }))
  })

export const openMany = (port: number, count: number): Promise<ReadonlyArray<Connection>> =>
  Promise.all(Array.from({ length: count }, () => open(port)))

/** Creates a session and returns its Cookie header. */
export const begin = async ({ get }: Connection): Promise<string> => {
  const { head } = await get("create", "")
  return [...head.matchAll(/^set-cookie: *([^;\r]+)/gim)].map(([, pair]) => pair).join("; ")
}
