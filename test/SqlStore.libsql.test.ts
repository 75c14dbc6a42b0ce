/**
 * A libSQL file that another process uses: the command line, and a writer that holds the lock.
 */
import * as LibsqlClient from "@effect/sql-libsql/LibsqlClient"
import { it } from "@effect/vitest"
import { Chunk, Context, Effect, Fiber, Layer, TestClock } from "effect"
import { aRecord, freshKey, hour, isAlive, isDead, start, stored } from "effect-session/Fixtures"
import { SessionStore } from "effect-session/SessionStore"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import * as Path from "node:path"
import { assert } from "vitest"
import { startProcess } from "./support/childProcesses.js"
import { begun, builtProgram, done } from "./support/cli.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

const program = builtProgram()

/** A store on a new file. */
const opened = Effect.gen(function*() {
  const file = Path.join(yield* temporaryDirectory("libsql"), "sessions.db")
  const layer = SqlStore.layer.pipe(
    Layer.provide(SqlMigrations.layer),
    Layer.provide(LibsqlClient.layer({ url: `file:${file}` }))
  )
  return { file, store: Context.get(yield* Layer.build(layer), SessionStore) }
})

/** Another process in a write transaction, which is rolled back when the process is killed. */
const lockHolder = (file: string) =>
  Effect.tap(
    startProcess(process.execPath, [
      "--input-type=module",
      "--eval",
      `import { createClient } from "@libsql/client"
       await createClient({ url: ${JSON.stringify(`file:${file}`)} }).transaction("write")
       console.log("locked")
       setInterval(() => {}, 1000)`
    ]),
    (child) => child.printed(1)
  )

/** Waits until a retry is due later, while the clock stands still. */
const retryScheduled = Effect.repeat(
  Effect.zipRight(Effect.promise(() => new Promise(setImmediate)), TestClock.sleeps()),
  {
    until: Chunk.isNonEmpty
  }
)

it.scopedLive("the command line opens the file as `sqlite:`, and the store sees what it has ended", () =>
  Effect.gen(function*() {
    const { file, store } = yield* opened
    const now = Date.now()
    const session = {
      key: freshKey(),
      record: aRecord({ expiry: { at: now + hour, deadline: undefined, lifetime: undefined } })
    }
    yield* store.create(session.key, session.record, now)
    const run = (...args: ReadonlyArray<string>) =>
      Effect.scoped(Effect.flatMap(begun(program, [...args, "--database-url", `sqlite:${file}`]), ({ ended }) => ended))
    assert.deepStrictEqual(yield* run("migrate"), done("The tables are up to date.\n"))
    assert.deepStrictEqual(yield* run("stats"), done("current  1\nexpired  0\n"))
    yield* isAlive(store, session, now)
    assert.deepStrictEqual(
      yield* run("revoke", session.record.id, "--namespace", session.record.namespace),
      done("The session is revoked.\n")
    )
    yield* isDead(store, session, now)
  }))

it.scoped("a write retries while another process writes, and succeeds once that has ended", () =>
  Effect.gen(function*() {
    const { file, store } = yield* opened
    const session = yield* stored(store)
    const other = yield* lockHolder(file)
    const destroying = yield* Effect.fork(store.destroy(session.key))
    yield* retryScheduled
    yield* isAlive(store, session, start)
    yield* other.kill
    yield* other.lines
    yield* TestClock.adjust("8 millis")
    yield* Fiber.join(destroying)
    yield* isDead(store, session, start)
  }))

it.scopedLive("a write fails with `unavailable` if another process keeps writing, and changes nothing", () =>
  Effect.gen(function*() {
    const { file, store } = yield* opened
    const session = yield* stored(store)
    const other = yield* lockHolder(file)
    const error = yield* Effect.flip(store.destroy(session.key))
    assert.deepInclude(error, { reason: "unavailable", operation: "destroy" })
    yield* isAlive(store, session, start)
    yield* other.kill
    yield* other.lines
    yield* store.destroy(session.key)
    yield* isDead(store, session, start)
  }))
