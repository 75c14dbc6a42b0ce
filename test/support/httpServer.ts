/**
 * Real HTTP servers on free ports, and raw access to their responses and cookies.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpServer from "@effect/platform/HttpServer"
import { Context, Deferred, Effect, Layer, Logger } from "effect"
import { MemoryStore, StoredEngine } from "effect-session"
import type { Operation } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import * as Http from "node:http"
import * as Net from "node:net"
import { headersOf, type RawAnswer } from "./rawHttp.js"

/** Serves until the scope closes. The result is the port. */
export const serve = <E>(
  app: Layer.Layer<never, E, HttpServer.HttpServer>,
  createServer: () => Http.Server = () => Http.createServer()
) =>
  Effect.flatMap(
    Layer.build(
      app.pipe(
        Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })),
        Layer.provide(Logger.remove(Logger.defaultLogger))
      )
    ),
    (context) => {
      const { address } = Context.get(context, HttpServer.HttpServer)
      return address._tag === "TcpAddress" ? Effect.succeed(address.port) : Effect.dieMessage("not a port")
    }
  )

/** An engine on a memory store whose calls are intercepted. The timeout is long, for calls that a test holds. */
export const wrappedEngine = (wrap: FaultyStore.Interception, remote?: boolean): Layer.Layer<StoredEngine.Provided> =>
  StoredEngine.layerWith({ timeout: "20 seconds" }).pipe(
    Layer.provide(FaultyStore.layerIntercepted(wrap, remote)),
    Layer.provide(MemoryStore.layer)
  )

/** A call of the store that is being held. */
export interface Held {
  /** Completes when the call has arrived. */
  readonly reached: Effect.Effect<void>
  readonly go: Effect.Effect<unknown>
}

/** An interception that holds the next call of an operation on demand: before it runs, or before it returns. */
export const gate = () => {
  const holds: Array<{
    readonly operation: Operation
    readonly when: "before" | "after"
    readonly reached: Deferred.Deferred<void>
    readonly go: Deferred.Deferred<void>
  }> = []
  const wrap: FaultyStore.Interception = (operation, call) =>
    Effect.suspend(() => {
      const at = holds.findIndex((hold) => hold.operation === operation)
      const hold = holds.splice(at, at < 0 ? 0 : 1)[0]
      if (hold === undefined) return call
      const pause = Effect.zipRight(Deferred.succeed(hold.reached, undefined), Deferred.await(hold.go))
      return hold.when === "before" ? Effect.zipRight(pause, call) : Effect.zipLeft(call, pause)
    })
  const hold = (operation: Operation, when: "before" | "after"): Effect.Effect<Held> =>
    Effect.map(Effect.all([Deferred.make<void>(), Deferred.make<void>()]), ([reached, go]) => {
      holds.push({ operation, when, reached, go })
      return { reached: Deferred.await(reached), go: Deferred.succeed(go, undefined) }
    })
  return { wrap, hold }
}

/**
 * Sends text as latin-1 bytes and reads the responses until the server closes the connection, which the last request must ask for.
 */
export const exchange = (port: number, bytes: string): Effect.Effect<ReadonlyArray<RawAnswer>> =>
  Effect.async((resume) => {
    const socket = Net.connect(port, "127.0.0.1", () => socket.write(bytes, "latin1"))
    const chunks: Array<Buffer> = []
    socket.on("data", (chunk) => chunks.push(chunk))
    // A server that rejects a request may reset the connection after its response.
    socket.on("error", () => {})
    socket.on("close", () => resume(Effect.sync(() => answersIn(Buffer.concat(chunks).toString("latin1")))))
    return Effect.sync(() => socket.destroy())
  })

const answersIn = (text: string): ReadonlyArray<RawAnswer> => {
  const answers: Array<RawAnswer> = []
  let rest = text
  while (rest !== "") {
    const [head = "", after = ""] = rest.split(/\r\n\r\n([\s\S]*)/)
    const [status = "", ...lines] = head.split("\r\n")
    const headers = lines.map((line) => {
      const colon = line.indexOf(":")
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const
    })
    const length = Number(headers.find(([name]) => name === "content-length")?.[1] ?? 0)
    answers.push({ status: Number(status.split(" ")[1]), headers, body: after.slice(0, length) })
    rest = after.slice(length)
  }
  return answers
}

/** A parsed `Set-Cookie` header. */
export interface SetCookie {
  readonly line: string
  readonly name: string
  readonly value: string
  /** In the order of the header, with names in lower case. */
  readonly attributes: ReadonlyArray<readonly [name: string, value: string]>
}

export const setCookiesOf = (answer: RawAnswer): ReadonlyArray<SetCookie> =>
  headersOf(answer, "set-cookie").map((line) => {
    const [pair, ...attributes] = line.split("; ").map((part): readonly [string, string] => {
      const equals = part.indexOf("=")
      return equals < 0 ? [part, ""] : [part.slice(0, equals), part.slice(equals + 1)]
    })
    const [name, value] = pair ?? ["", ""]
    return { line, name, value, attributes: attributes.map(([name, value]) => [name.toLowerCase(), value]) }
  })

/** The name and value of the one cookie that a response sets, as a `Cookie` header. Dies if there is none. */
export const pairOf = (answer: RawAnswer): Effect.Effect<string> => {
  const [only, ...others] = setCookiesOf(answer)
  return only === undefined || others.length > 0 || only.value === ""
    ? Effect.dieMessage(`not one cookie, but ${JSON.stringify(answer)}`)
    : Effect.succeed(`${only.name}=${only.value}`)
}

/** All permutations of an array. */
export const permutations = <A>(items: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
  items.length === 0
    ? [[]]
    : items.flatMap((item, at) => permutations(items.filter((_, other) => other !== at)).map((rest) => [item, ...rest]))
