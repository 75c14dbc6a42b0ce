/**
 * The credential that a response carries, without its value.
 */
import * as Cookies from "@effect/platform/Cookies"
import type { HttpServerResponse } from "@effect/platform/HttpServerResponse"
import * as Option from "effect/Option"
import { webResponseOf } from "../http/headers.js"
import type { ObservedTag } from "../session/observer.js"
import { separator } from "../session/presented.js"
import type { Sent } from "./report.js"

export const sentOf = ({ cookie, transport }: ObservedTag, response: HttpServerResponse): Sent | undefined => {
  const { header } = transport
  const web = webResponseOf(response)
  if (
    transport.accepts !== "cookie" && (response.headers[header] ?? web?.headers.get(header) ?? undefined) !== undefined
  ) {
    return { _tag: "Token", header }
  }
  const line = Option.match(Cookies.get(response.cookies, cookie.name), {
    onNone: () => web?.headers.getSetCookie().find((line) => line.startsWith(`${cookie.name}=`)),
    onSome: Cookies.serializeCookie
  })
  return line === undefined ? undefined : withoutValue(line.slice(cookie.name.length + 1))
}

/** Drops the value, which ends at the first semicolon. An empty one, and one that only names ended sessions, ends the session. */
const withoutValue = (line: string): Sent => {
  const end = line.indexOf(";")
  const value = end < 0 ? line : line.slice(0, end)
  const attributes = end < 0 ? "" : line.slice(end + 1).trim()
  const [, maxAge] = /(?:^|; ?)max-age=(-?\d+)/i.exec(attributes) ?? []
  return {
    _tag: "Cookie",
    attributes,
    expires: value === "" || value.startsWith(separator),
    maxAge: maxAge === undefined ? undefined : Number(maxAge)
  }
}
