/**
 * Reads a field of a submitted form without consuming the body, so that the handler reads it as it likes: as text, as a form, as files
 * on disk, or as a stream, and with its own limits.
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { isWebRequest } from "./request.js"

type Request = HttpServerRequest.HttpServerRequest

/** The number of bytes in which the field is searched for. It is also what a request may keep in memory. */
export const searchedBytes = 1024 * 1024

/**
 * The value of a field of an `application/x-www-form-urlencoded` or `multipart/form-data` body; `undefined` if the first
 * {@link searchedBytes} do not contain it, or the body is of another type.
 */
export const formField = (request: Request, field: string): Effect.Effect<string | undefined> => {
  const [type = "", ...parameters] = (request.headers["content-type"] ?? "").split(";")
  switch (type.trim().toLowerCase()) {
    case "application/x-www-form-urlencoded":
      return Effect.map(
        peek(request) ?? readBefore(request),
        (text) => new URLSearchParams(text).get(field) ?? undefined
      )
    case "multipart/form-data": {
      const boundary = parameters.map((one) => /^\s*boundary=(?:"([^"]+)"|([^\s"]+))\s*$/i.exec(one)).find((one) =>
        one !== null
      )
      const delimiter = boundary?.[1] ?? boundary?.[2]
      const text = delimiter === undefined ? undefined : peek(request)
      return delimiter === undefined || text === undefined
        ? Effect.succeed(undefined)
        : Effect.map(text, (text) => partOf(text, delimiter, field))
    }
    default:
      return Effect.succeed(undefined)
  }
}

/** The content of the first complete part of that name. Takes time in proportion to the text. */
const partOf = (text: string, boundary: string, field: string): string | undefined => {
  const parts = `\r\n${text}`.split(`\r\n--${boundary}`).slice(1, -1)
  for (const part of parts) {
    const end = part.indexOf("\r\n\r\n")
    const disposition = part.slice(0, end).split("\r\n").find((line) => /^content-disposition:/i.test(line))
    if (end >= 0 && disposition !== undefined && nameOf(disposition) === field) return part.slice(end + 4)
  }
  return undefined
}

const nameOf = (disposition: string): string | undefined => {
  const name = /;\s*name=(?:"([^"]*)"|([^\s;"]+))/i.exec(disposition)
  return name?.[1] ?? name?.[2]
}

/**
 * The first bytes of the body as Latin-1 text: fewer if it cannot be read, and then the handler cannot read it either. `undefined` if
 * it has been read already, or cannot be put back.
 */
const peek = (request: Request): Effect.Effect<string> | undefined => {
  const { headers, source } = request
  const bytes = isWebRequest(source)
    ? source.bodyUsed ? undefined : peekWeb(source)
    : isReadable(source) && !source.readableDidRead
    ? peekReadable(source, headers["content-length"], request)
    : undefined
  return bytes === undefined ? undefined : Effect.map(bytes, latin1)
}

/**
 * The text of a body that has been read. The platform keeps it for all readers of the request, if they have read it as text. Otherwise
 * the end of the body, which has passed, would be waited for without end.
 */
const readBefore = ({ source, text }: Request): Effect.Effect<string> => {
  const read = Effect.orElseSucceed(text, () => "")
  return isReadable(source) && (source.readableEnded || source.destroyed)
    ? Effect.flatMap(Effect.forkDaemon(read), (fiber) =>
      Effect.zipRight(
        later,
        Effect.map(fiber.poll, (exit) => Option.isSome(exit) && Exit.isSuccess(exit.value) ? exit.value.value : "")
      ))
    : read
}

/** Completes in a later turn of the event loop, when a text that is there has been returned. */
const later = Effect.async<void>((resume) => void setTimeout(() => resume(Effect.void), 0))

const latin1 = (bytes: Uint8Array): string => new TextDecoder("latin1").decode(bytes)

const joined = (chunks: ReadonlyArray<Uint8Array>): Uint8Array => {
  const bytes = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const chunk of chunks) {
    bytes.set(chunk, at)
    at += chunk.length
  }
  return bytes
}

/** Reads from a clone, which is dropped afterwards. */
const peekWeb = (request: globalThis.Request): Effect.Effect<Uint8Array> =>
  Effect.promise(async () => {
    const reader = request.clone().body?.getReader()
    const chunks: Array<Uint8Array> = []
    try {
      for (let size = 0; reader !== undefined && size < searchedBytes;) {
        const { done, value } = await reader.read()
        if (done) break
        chunks.push(value)
        size += value.length
      }
    } catch {
      // The handler gets the same error when it reads the body.
    }
    // Not awaited: it completes when the body itself has been read.
    void reader?.cancel().catch(() => {})
    return joined(chunks)
  })

/** The part of an HTTP message of Node that is used here. `complete`: its end has arrived; in HTTP/2, it has been read, too. */
interface Readable {
  readonly httpVersionMajor: number
  readonly complete: boolean
  readonly readableDidRead: boolean
  readonly readableEnded: boolean
  readonly destroyed: boolean
  readonly read: () => unknown
  readonly unshift: (chunk: Uint8Array) => void
  readonly resume: () => void
  readonly on: (event: string, listener: () => void) => unknown
  readonly off: (event: string, listener: () => void) => unknown
}

const isResponse = (
  response: unknown
): response is { readonly once: (event: string, listener: () => void) => unknown } =>
  Predicate.hasProperty(response, "once") && typeof response.once === "function"

const isReadable = (source: unknown): source is Readable =>
  Predicate.hasProperty(source, "httpVersionMajor") && Predicate.hasProperty(source, "complete") &&
  Predicate.hasProperty(source, "readableDidRead") && Predicate.hasProperty(source, "unshift")

/** Reads from the message, and puts it back, which is possible only until its end is reported. */
const peekReadable = (
  source: Readable,
  contentLength: string | undefined,
  request: Request
): Effect.Effect<Uint8Array> | undefined => {
  if (source.httpVersionMajor > 1 && contentLength === undefined) return undefined
  // Node itself discards an unread body when the response ends. Left on the connection, it would break the next request.
  const response = Predicate.hasProperty(request, "resolvedResponse") ? request.resolvedResponse : undefined
  if (isResponse(response)) response.once("finish", () => source.resume())
  const enough = Math.min(searchedBytes, contentLength === undefined ? Infinity : Number(contentLength))
  return Effect.async((resume) => {
    const chunks: Array<Uint8Array> = []
    let size = 0
    const stop = () => {
      for (const event of ends) source.off(event, finish)
      source.off("readable", onReadable)
    }
    const finish = () => {
      stop()
      const bytes = joined(chunks)
      // In the same step as the last read: the end of the message is reported in the next one.
      if (size > 0 && !source.readableEnded && !source.destroyed) source.unshift(bytes)
      resume(Effect.succeed(bytes))
    }
    const onReadable = () => {
      for (let chunk = source.read(); chunk instanceof Uint8Array; chunk = source.read()) {
        chunks.push(chunk)
        size += chunk.length
      }
      if (size >= enough || (source.httpVersionMajor === 1 && source.complete)) finish()
    }
    for (const event of ends) source.on(event, finish)
    source.on("readable", onReadable)
    return Effect.sync(stop)
  })
}

const ends = ["end", "close", "error"]
