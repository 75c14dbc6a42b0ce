/**
 * Cancels a statement on the server after its caller was interrupted. Otherwise a statement that waits there, such as for a lock, would
 * be executed after the request has reported a failure.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"

/** The request to cancel was sent, and it is not known whether the server will still execute it. */
class NotAnswered extends Data.TaggedError("NotAnswered") {}

/**
 * Requests, on new connections, that the server cancel the statement of a connection. Returns whether the request was sent. It is not
 * sent if the driver is unknown, if the server cannot be reached, or if a commit may be waiting for a replica: to cancel such a wait
 * leaves a commit that is visible, and that is lost if the server fails.
 */
export const cancel = (connection: Connection): Effect.Effect<boolean, NotAnswered> => {
  if (Predicate.hasProperty(connection, "pg")) return Effect.scoped(cancelPg(connection.pg))
  if (Predicate.hasProperty(connection, "conn")) return Effect.scoped(cancelMysql(connection.conn))
  return Effect.succeed(false)
}

/** Calls a method of a driver. Throws if the driver does not have it. */
const call = (target: unknown, method: string, ...parameters: ReadonlyArray<unknown>): unknown => {
  const found: unknown = Predicate.isRecord(target) ? target[method] : undefined
  if (!Predicate.isFunction(found)) throw new TypeError(`The driver has no ${method}`)
  return Reflect.apply(found, target, parameters)
}

const property = (target: unknown, name: string): unknown => Predicate.isRecord(target) ? target[name] : undefined

/** Calls a method that takes a callback. */
const callback = (target: unknown, method: string, ...parameters: ReadonlyArray<unknown>) =>
  Effect.async<unknown, unknown>((resume) => {
    const done = (cause: unknown, result: unknown) =>
      resume(Predicate.isNotNullable(cause) ? Effect.fail(cause) : Effect.succeed(result))
    try {
      call(target, method, ...parameters, done)
    } catch (cause) {
      resume(Effect.fail(cause))
    }
  })

/** Another connection of the same driver to the same server, which is closed when the scope ends. */
const connectAgain = (
  client: unknown,
  close: (fresh: unknown) => void,
  ...parameters: ReadonlyArray<unknown>
): Effect.Effect<unknown, unknown, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.try((): unknown => {
      const made = property(client, "constructor")
      if (!Predicate.isFunction(made)) throw new TypeError("The driver has no constructor")
      const fresh: unknown = Reflect.construct(made, parameters)
      // An `error` event without a listener would end the process.
      call(fresh, "on", "error", () => {})
      return fresh
    }),
    (fresh) => Effect.ignore(Effect.try(() => close(fresh)))
  )

/** Cancels by the request of the Postgres protocol, with the secret key that the server or its pooler gave to this connection. */
const cancelPg = (client: unknown): Effect.Effect<boolean, NotAnswered, Scope.Scope> => {
  const close = (fresh: unknown) => call(property(property(fresh, "connection"), "stream"), "destroy")
  const fresh = connectAgain(client, close, property(client, "connectionParameters"))
  const isAllowed = Effect.gen(function*() {
    const connected = yield* fresh
    yield* callback(connected, "connect")
    const result = yield* callback(connected, "query", "SELECT current_setting('synchronous_standby_names') AS names")
    const rows = property(result, "rows")
    return Array.isArray(rows) && property(rows[0], "names") === ""
  })
  const requested = Effect.flatMap(fresh, (unconnected) =>
    Effect.async<boolean, NotAnswered>((resume) => {
      const connection = property(unconnected, "connection")
      const host = property(client, "host")
      const port = property(client, "port")
      let isRequested = false
      const on = (event: string, listener: () => void) => call(connection, "on", event, listener)
      const request = () => {
        isRequested = true
        call(connection, "cancel", property(client, "processID"), property(client, "secretKey"))
      }
      on("connect", () => {
        const ssl = property(connection, "ssl")
        if (ssl === false || ssl === undefined) request()
        else if (property(connection, "sslNegotiation") !== "direct") call(connection, "requestSsl")
      })
      on("sslconnect", request)
      on("error", () => resume(isRequested ? Effect.fail(new NotAnswered()) : Effect.succeed(false)))
      // The server answers the request by closing the connection.
      on("end", () => resume(Effect.succeed(isRequested)))
      if (typeof host === "string" && host.startsWith("/")) {
        call(connection, "connect", `${host}/.s.PGSQL.${String(port)}`)
      } else {
        call(connection, "connect", port, host)
      }
    }))
  return Effect.flatMap(
    Effect.orElseSucceed(isAllowed, () => false),
    (isAllowed) => isAllowed ? Effect.catchAll(requested, () => Effect.fail(new NotAnswered())) : Effect.succeed(false)
  )
}

/**
 * Cancels by the id of the connection, if the server lists that id with our local port: behind a proxy the id may belong to the
 * connection of another client.
 */
const cancelMysql = (client: unknown): Effect.Effect<boolean, NotAnswered, Scope.Scope> => {
  const id = property(client, "threadId")
  const port = property(property(client, "stream"), "localPort")
  if (typeof id !== "number" || typeof port !== "number") return Effect.succeed(false)
  const close = (fresh: unknown) => {
    call(fresh, "destroy")
    // `destroy` of the client only half-closes the socket, which stays open while the server does not answer.
    call(property(fresh, "stream"), "destroy")
  }
  const fresh = connectAgain(client, close, undefined, { config: property(client, "config") })
  const allowed = Effect.gen(function*() {
    const connected = yield* fresh
    const ours = `SELECT 1 FROM information_schema.processlist WHERE id = ${id} AND host LIKE '%:${port}'`
    const isOurs = count(yield* callback(connected, "query", ours)) === 1
    const waitsForReplicas =
      "SHOW GLOBAL STATUS WHERE Variable_name LIKE 'Rpl\\_semi\\_sync\\_%\\_status' AND Value = 'ON'"
    return isOurs && count(yield* callback(connected, "query", waitsForReplicas)) === 0 ? connected : undefined
  })
  return Effect.flatMap(
    Effect.orElseSucceed(allowed, () => undefined),
    (connected) =>
      connected === undefined
        ? Effect.succeed(false)
        : Effect.mapBoth(callback(connected, "query", `KILL QUERY ${id}`), {
          onFailure: () => new NotAnswered(),
          onSuccess: () => true
        })
  )
}

const count = (rows: unknown): number => Array.isArray(rows) ? rows.length : Number.NaN
