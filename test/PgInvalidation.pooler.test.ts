/**
 * Behind a real pooler: in transaction mode no notification arrives and a warning is logged; in session mode they arrive.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { it } from "@effect/vitest"
import { Context, Deferred, Effect, Layer, Logger, LogLevel, Redacted } from "effect"
import * as PgInvalidation from "effect-session/PgInvalidation"
import { SessionInvalidation } from "effect-session/SessionInvalidation"
import { chmodSync, writeFileSync } from "node:fs"
import * as Path from "node:path"
import { assert } from "vitest"
import { freePort } from "../examples/shop/freePort.js"
import { freshPrefix } from "./support/localStores.js"
import { sharedDirectory } from "./support/outages.js"
import { advice, pgbouncer } from "./support/parts.js"
import { find } from "./support/servers/programs.js"
import * as Server from "./support/servers/server.js"
import * as servers from "./support/sharedServers.js"

/** Starts a pooler in front of the run's Postgres, and returns a client through it. */
const pooled = (mode: "session" | "transaction") =>
  Effect.gen(function*() {
    const program = find("pgbouncer") ?? assert.fail(advice(pgbouncer))
    const port = yield* freePort
    const url = new URL(servers.postgres())
    const folder = yield* sharedDirectory
    const file = Path.join(folder, "pgbouncer.ini")
    writeFileSync(
      file,
      `[databases]
* = host=127.0.0.1 port=${url.port} user=${url.username} password=${url.password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = ${mode}
ignore_startup_parameters = extra_float_digits
`
    )
    chmodSync(file, 0o644)
    // It refuses to run as root.
    const args = process.getuid?.() === 0 ? ["-u", "nobody", file] : [file]
    const { log } = yield* Server.scoped(program, args)
    yield* Server.until(Effect.sync(log), (output) => output.includes("process up"))
    url.port = String(port)
    return PgClient.layer({ url: Redacted.make(url.href) })
  })

/** Subscribes through a pooler until the first event or warning, and returns which it was, and all warnings. */
const firstOf = (mode: "session" | "transaction") =>
  Effect.gen(function*() {
    const first = yield* Deferred.make<string>()
    const warnings: Array<string> = []
    const log = Logger.make(({ logLevel, message }) => {
      if (LogLevel.lessThan(logLevel, LogLevel.Warning)) return
      warnings.push(String(message))
      Deferred.unsafeDone(first, Effect.succeed("a warning"))
    })
    const context = yield* Layer.build(
      Layer.provide(PgInvalidation.layerWith({ channel: freshPrefix(), heartbeat: "200 millis" }), yield* pooled(mode))
    )
    const { subscribe: listen } = Context.get(context, SessionInvalidation)
    yield* Effect.fork(
      Effect.provide(
        listen(({ _tag }) => Deferred.succeed(first, _tag)),
        Logger.replace(Logger.defaultLogger, log)
      )
    )
    return { first: yield* Deferred.await(first), warnings }
  })

it.scopedLive("in transaction mode one warning names the consequence and the remedy", () =>
  Effect.gen(function*() {
    const { first, warnings } = yield* firstOf("transaction")
    assert.strictEqual(first, "a warning")
    assert.lengthOf(warnings, 1)
    assert.include(warnings[0], "none arrives")
    assert.include(warnings[0], "when the lease has ended")
    assert.include(warnings[0], "connects to the database directly")
  }))

it.scopedLive("in session mode notifications arrive and no warning is logged", () =>
  Effect.gen(function*() {
    assert.deepStrictEqual(yield* firstOf("session"), { first: "Lost", warnings: [] })
  }))
