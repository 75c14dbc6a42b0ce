/**
 * A client of HTTP that costs little, so that a server on the other core is what is measured: one request after the other on
 * each connection, and of a response only the status, the cookies and the body are looked at.
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

/** The first whole response in the text, if it is there. Bodies here are ASCII, so characters are bytes. */
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
    // A chunked body is one chunk here: its length, the text, and the end.
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

/** Makes a session, and returns the Cookie header that presents it. */
export const begin = async ({ get }: Connection): Promise<string> => {
  const { head } = await get("create", "")
  return [...head.matchAll(/^set-cookie: *([^;\r]+)/gim)].map(([, pair]) => pair).join("; ")
}
