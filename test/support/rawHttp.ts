/**
 * HTTP over a raw socket: sends any bytes, also those that HTTP clients reject.
 */
import { Effect } from "effect"
import * as Net from "node:net"

export interface RawAnswer {
  readonly status: number
  readonly body: string
  /** Every header line, in lower-case names and the order of arrival. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
}

export const headersOf = (answer: RawAnswer, name: string): ReadonlyArray<string> =>
  answer.headers.filter(([key]) => key === name).map(([, value]) => value)

/** Sends one request and reads the whole response. Header values are sent as latin-1: each character is a byte. */
export const request = (
  port: number,
  path: string,
  headers: ReadonlyArray<readonly [name: string, value: string]> = [],
  method = "GET"
): Effect.Effect<RawAnswer, Error> =>
  Effect.async((resume) => {
    const socket = Net.connect(port, "127.0.0.1")
    const chunks: Array<Buffer> = []
    const lines = headers.some(([name]) => name.toLowerCase() === "host")
      ? headers
      : [["Host", "localhost"], ...headers]
    socket.on("connect", () =>
      socket.write(
        `${method} ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}` +
          `Connection: close\r\n\r\n`,
        "latin1"
      ))
    socket.on("data", (chunk) => chunks.push(chunk))
    socket.on("error", (error) => resume(Effect.fail(error)))
    socket.on("close", () => resume(Effect.sync(() => parse(Buffer.concat(chunks).toString("latin1")))))
    return Effect.sync(() => socket.destroy())
  })

const parse = (answer: string): RawAnswer => {
  const [head = "", body = ""] = answer.split(/\r\n\r\n([\s\S]*)/)
  const [status = "", ...lines] = head.split("\r\n")
  return {
    status: Number(status.split(" ")[1]),
    body,
    headers: lines.map((line) => {
      const colon = line.indexOf(":")
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const
    })
  }
}
