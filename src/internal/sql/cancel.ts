/**
 * How the server is told to cancel a statement that nobody waits for any more: what waits there, such as for a lock, would
 * otherwise be done after the visitor was told that it was not.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"

/** The request to cancel was begun, and it is not known whether the server will still come to it. */
class NotAnswered extends Data.TaggedError("NotAnswered") {}

/**
 * Asks the server, on connections of its own, to cancel what a connection does. Gives whether it was asked: it is not where
 * the driver is unknown, the server cannot be reached, or a commit may be waiting for a replica. Such a wait that is cancelled
 * leaves a commit that others see, and that is lost with its server.
 */
export const cancel = (connection: Connection): Effect.Effect<boolean, NotAnswered> => {
  if (Predicate.hasProperty(connection, "pg")) return Effect.scoped(cancelPg(connection.pg))
  if (Predicate.hasProperty(connection, "conn")) return Effect.scoped(cancelMysql(connection.conn))
  return Effect.succeed(false)
}

/** Calls a method of a driver, if that is there. */
const call = (target: unknown, method: string, ...parameters: ReadonlyArray<unknown>): unknown => {
  const found: unknown = Predicate.isRecord(target) ? target[method] : undefined
  if (!Predicate.isFunction(found)) throw new TypeError(`The driver has no ${method}`)
  return Reflect.apply(found, target, parameters)
}

const property = (target: unknown, name: string): unknown => Predicate.isRecord(target) ? target[name] : undefined

/** A method that tells its result to a function. */
const answered = (target: unknown, method: string, ...parameters: ReadonlyArray<unknown>) =>
  Effect.async<unknown, unknown>((resume) => {
    const done = (cause: unknown, result: unknown) =>
      resume(Predicate.isNotNullable(cause) ? Effect.fail(cause) : Effect.succeed(result))
    try {
      call(target, method, ...parameters, done)
    } catch (cause) {
      resume(Effect.fail(cause))
    }
  })

/** Another connection of the same driver to the same server, which is cut when the scope ends. */
const another = (
  client: unknown,
  close: (fresh: unknown) => void,
  ...parameters: ReadonlyArray<unknown>
): Effect.Effect<unknown, unknown, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.try((): unknown => {
      const made = property(client, "constructor")
      if (!Predicate.isFunction(made)) throw new TypeError("The driver has no constructor")
      const fresh: unknown = Reflect.construct(made, parameters)
      // An error that nobody listens to would end the process.
      call(fresh, "on", "error", () => {})
      return fresh
    }),
    (fresh) => Effect.ignore(Effect.try(() => close(fresh)))
  )

/** By the request of the protocol, with the key that the server or its pooler gave to this connection alone. */
const cancelPg = (client: unknown): Effect.Effect<boolean, NotAnswered, Scope.Scope> => {
  const close = (fresh: unknown) => call(property(property(fresh, "connection"), "stream"), "destroy")
  const fresh = another(client, close, property(client, "connectionParameters"))
  const mayBe = Effect.gen(function*() {
    const asking = yield* fresh
    yield* answered(asking, "connect")
    const result = yield* answered(asking, "query", "SELECT current_setting('synchronous_standby_names') AS names")
    const rows = property(result, "rows")
    return Array.isArray(rows) && property(rows[0], "names") === ""
  })
  const asked = Effect.flatMap(fresh, (speaking) =>
    Effect.async<boolean, NotAnswered>((resume) => {
      const connection = property(speaking, "connection")
      const speak = () => call(connection, "cancel", property(client, "processID"), property(client, "secretKey"))
      const host = property(client, "host")
      const port = property(client, "port")
      let isAsked = false
      const on = (event: string, listener: () => void) => call(connection, "on", event, listener)
      const begin = () => {
        isAsked = true
        speak()
      }
      on("connect", () => {
        const ssl = property(connection, "ssl")
        if (ssl === false || ssl === undefined) begin()
        else if (property(connection, "sslNegotiation") !== "direct") call(connection, "requestSsl")
      })
      on("sslconnect", begin)
      on("error", () => resume(isAsked ? Effect.fail(new NotAnswered()) : Effect.succeed(false)))
      // The server answers by closing.
      on("end", () => resume(Effect.succeed(isAsked)))
      if (typeof host === "string" && host.startsWith("/")) {
        call(connection, "connect", `${host}/.s.PGSQL.${String(port)}`)
      } else {
        call(connection, "connect", port, host)
      }
    }))
  return Effect.flatMap(
    Effect.orElseSucceed(mayBe, () => false),
    (mayBe) => mayBe ? Effect.catchAll(asked, () => Effect.fail(new NotAnswered())) : Effect.succeed(false)
  )
}

/** By the number of the connection, if the server that we reach knows that number as ours: behind a proxy it may be a stranger's. */
const cancelMysql = (client: unknown): Effect.Effect<boolean, NotAnswered, Scope.Scope> => {
  const id = property(client, "threadId")
  const port = property(property(client, "stream"), "localPort")
  if (typeof id !== "number" || typeof port !== "number") return Effect.succeed(false)
  const close = (fresh: unknown) => {
    // It stops its timer, and ends what it has sent; a server that is silent would keep the socket.
    call(fresh, "destroy")
    call(property(fresh, "stream"), "destroy")
  }
  const fresh = another(client, close, undefined, { config: property(client, "config") })
  const mayBe = Effect.gen(function*() {
    const asking = yield* fresh
    const ours = `SELECT 1 FROM information_schema.processlist WHERE id = ${id} AND host LIKE '%:${port}'`
    const isOurs = count(yield* answered(asking, "query", ours)) === 1
    const waitsForReplicas =
      "SHOW GLOBAL STATUS WHERE Variable_name LIKE 'Rpl\\_semi\\_sync\\_%\\_status' AND Value = 'ON'"
    return isOurs && count(yield* answered(asking, "query", waitsForReplicas)) === 0 ? asking : undefined
  })
  return Effect.flatMap(
    Effect.orElseSucceed(mayBe, () => undefined),
    (asking) =>
      asking === undefined
        ? Effect.succeed(false)
        : Effect.mapBoth(answered(asking, "query", `KILL QUERY ${id}`), {
          onFailure: () => new NotAnswered(),
          onSuccess: () => true
        })
  )
}

const count = (rows: unknown): number => Array.isArray(rows) ? rows.length : Number.NaN
