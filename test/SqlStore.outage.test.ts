import { PgClient } from "@effect/sql-pg"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { it } from "@effect/vitest"
import { Effect, Exit, Layer, Redacted, Scope } from "effect"
import { SessionStore, SessionStoreError } from "effect-session"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { assert, describe } from "vitest"
import * as EmbeddedPostgres from "../examples/shop/EmbeddedPostgres.js"
import { isAlive, isDead, start, stored } from "./laws/records.js"
import { furnish, reads, writes } from "./support/databases.js"

/** A folder that users other than root may enter. */
const directory = Effect.acquireRelease(
  Effect.promise(async () => {
    const directory = await mkdtemp(Path.join(tmpdir(), "effect-session-outage-"))
    await chmod(directory, 0o755)
    return directory
  }),
  (directory) => Effect.promise(() => rm(directory, { recursive: true, force: true }))
)

describe("a database that goes away", () => {
  it.scopedLive(
    "postgres: every call says that it is unavailable; after a crash it holds what was confirmed",
    () =>
      Effect.gen(function*() {
        const data = Path.join(yield* directory, "data")
        const port = yield* EmbeddedPostgres.freePort
        const running = yield* Scope.make()
        const url = yield* Scope.extend(EmbeddedPostgres.make({ directory: data, port }), running)
        const client = PgClient.layer({ url: Redacted.make(url), maxConnections: 3 })
        const context = yield* Layer.build(
          SqlStore.layer().pipe(Layer.provide(SqlMigrations.layer()), Layer.provide(client))
        )
        yield* Effect.gen(function*() {
          const store = yield* SessionStore
          assert.deepStrictEqual(store.capabilities, { durableDestroy: true, remote: true })
          const one = yield* furnish(store)
          const destroyed = yield* stored(store)
          const revoked = yield* stored(store, { subject: "revoked" })
          yield* store.revokeSubject(revoked.record.namespace, "revoked")
          yield* store.destroy(destroyed.key)

          // As if the power had failed: no checkpoint, no farewell.
          const pid = Number.parseInt(yield* Effect.promise(() => readFile(Path.join(data, "postmaster.pid"), "utf8")))
          yield* Effect.sync(() => process.kill(pid, "SIGQUIT"))
          yield* Scope.close(running, Exit.void)

          for (const [name, run] of [...reads, ...writes]) {
            const error = yield* Effect.flip(Effect.timeout(run(store, one), "5 seconds"))
            assert.instanceOf(error, SessionStoreError, name)
            assert.deepStrictEqual([error.operation, error.reason], [name.split(" ")[0], "unavailable"])
            assert.notInclude(error.message, url)
          }

          // The same store goes on with the server that comes back, without anybody's doing.
          yield* EmbeddedPostgres.make({ directory: data, port })
          yield* isAlive(store, one, start)
          yield* isDead(store, destroyed, start)
          yield* isDead(store, revoked, start)
        }).pipe(Effect.provide(context))
      }),
    60_000
  )

  it.scopedLive("sqlite: what another process destroyed and revoked stays so when the file is opened again", () =>
    Effect.gen(function*() {
      const filename = Path.join(yield* directory, "sessions.sqlite")
      const opened = <A, E>(use: Effect.Effect<A, E, SessionStore>) =>
        Effect.provide(
          use,
          SqlStore.layer().pipe(Layer.provide(SqlMigrations.layer()), Layer.provide(SqliteClient.layer({ filename })))
        )
      const [one, destroyed, revoked] = yield* opened(Effect.gen(function*() {
        const store = yield* SessionStore
        assert.deepStrictEqual(store.capabilities, { durableDestroy: true, remote: false })
        const all = [yield* stored(store), yield* stored(store), yield* stored(store, { subject: "revoked" })] as const
        yield* store.destroy(all[1].key)
        yield* store.revokeSubject(all[2].record.namespace, "revoked")
        return all
      }))
      yield* opened(Effect.gen(function*() {
        const store = yield* SessionStore
        yield* isAlive(store, one, start)
        yield* isDead(store, destroyed, start)
        yield* isDead(store, revoked, start)
      }))
    }))
})
