/**
 * Facts of a request that the diagnosis and the protection of the page depend on.
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { hostsOf, isLoopback, isWebRequest } from "../http/request.js"

type Request = HttpServerRequest.HttpServerRequest

/** The path as the client sent it, without the query. */
export const pathOf = ({ originalUrl }: Request): string =>
  originalUrl.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, "").replace(/[?#].*$/s, "") || "/"

/** The scheme that the browser uses, as far as the request shows it. */
export const schemeOf = ({ headers, source }: Request): "http" | "https" => {
  const isSecure = headers["x-forwarded-proto"] !== undefined
    ? headers["x-forwarded-proto"] === "https"
    : isWebRequest(source)
    ? source.url.startsWith("https:")
    : Predicate.hasProperty(source, "socket") && Predicate.hasProperty(source.socket, "encrypted")
  return isSecure ? "https" : "http"
}

/** The headers of proxies. Behind one, the address of the client is not known. */
const forwarding = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"] as const

/**
 * Returns whether a request comes from this machine: by the address of the client if the server knows it, by every host that the
 * request names, and without a proxy. The host also refuses a page of another site whose name resolves to this machine.
 */
export const isFromThisMachine = (request: Request): boolean =>
  hostsOf(request).every(isLoopback) &&
  forwarding.every((name) => request.headers[name] === undefined) &&
  Option.match(request.remoteAddress, {
    onNone: () => isWebRequest(request.source),
    onSome: isLoopbackAddress
  })

/** Returns whether an IP address is this machine, in IPv4, IPv6, or IPv4 mapped to IPv6. */
const isLoopbackAddress = (address: string): boolean => /^(?:::1|(?:::ffff:)?127(?:\.\d{1,3}){3})$/i.test(address)
