/**
 * Retries of statements that conflict with other transactions.
 */
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { SqlClient } from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import { it } from "@effect/vitest"
import { Context, Effect, Fiber, FiberStatus, Layer } from "effect"
import { freshKey, isAlive, isDead, isKeyDead, isThere, namespace, start, stored } from "effect-session/Fixtures"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { assert, describe } from "vitest"
import { untilWaiting } from "./support/databases.js"
import { freshPrefix, sqlStore } from "./support/localStores.js"
import { mysqlClient, ofMariadb, postgresClient } from "./support/serverClients.js"

/** For each database: objects that reject a statement as if it conflicted with another transaction, and that count its executions. */
const databases = [
  {
    name: "postgres",
    client: postgresClient,
    codes: ["40001", "40P01"],
    rejection: (prefix: string, code: string, times: number) => [
      `CREATE SEQUENCE ${prefix}tries`,
      `CREATE FUNCTION ${prefix}busy() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('${prefix}tries') <= ${times} THEN RAISE EXCEPTION 'busy' USING ERRCODE = '${code}'; END IF;
        RETURN true;
      END $$`,
      `CREATE FUNCTION ${prefix}reject() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM ${prefix}busy(); RETURN NEW;
      END $$`
    ],
    trigger: (prefix: string) =>
      `CREATE TRIGGER ${prefix}reject BEFORE UPDATE ON ${prefix}sessions FOR EACH ROW EXECUTE FUNCTION ${prefix}reject()`,
    tries: (prefix: string) => `SELECT last_value AS tries FROM ${prefix}tries`
  },
  ...ofMariadb(
    {
      name: "mariadb",
      client: mysqlClient,
      codes: ["1213", "1205", "1020"],
      rejection: (prefix: string, code: string, times: number) => [
        `CREATE SEQUENCE ${prefix}tries CACHE 0`,
        `CREATE FUNCTION ${prefix}busy() RETURNS boolean BEGIN
          IF NEXTVAL(${prefix}tries) <= ${times} THEN SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = ${code}; END IF;
          RETURN true;
        END`
      ],
      trigger: (prefix: string) =>
        `CREATE TRIGGER ${prefix}reject BEFORE UPDATE ON ${prefix}sessions FOR EACH ROW SET @rejected = ${prefix}busy()`,
      tries: (prefix: string) => `SELECT next_not_cached_value - 1 AS tries FROM ${prefix}tries`
    } as const
  )
] as const

for (const { client, codes, name, rejection, trigger, tries } of databases) {
  describe(name, () => {
    /** A store on its own tables, and the number of executions of the rejected statement. */
    const opened = Effect.gen(function*() {
      const prefix = freshPrefix()
      const context = yield* Layer.build(sqlStore<unknown>(client(), prefix))
      return yield* Effect.gen(function*() {
        const sql = yield* SqlClient
        const run = (statements: ReadonlyArray<string>) =>
          Effect.forEach(statements, (statement) => sql.unsafe(statement).unprepared)
        const executions = Effect.map(
          sql.unsafe<{ readonly tries: unknown }>(tries(prefix)),
          ([row]) => Number(row?.tries)
        )
        return { prefix, sql, run, executions, store: yield* SessionStore }
      }).pipe(Effect.provide(context))
    })

    for (const code of codes) {
      it.scopedLive(`a write that fails with ${code} three times succeeds at the fourth attempt`, () =>
        Effect.gen(function*() {
          const { executions, prefix, run, store } = yield* opened
          const { key, record } = yield* stored(store)
          yield* run([...rejection(prefix, code, 3), trigger(prefix)])
          assert.strictEqual(yield* store.save(key, record, { expectedVersion: 1, now: start }), "saved")
          assert.strictEqual(yield* executions, 4)
          yield* isAlive(store, { key, record: { ...record, version: 2 } }, start)
        }))

      it.scopedLive(`a write that fails with ${code} each time fails after the fourth attempt`, () =>
        Effect.gen(function*() {
          const { executions, prefix, run, store } = yield* opened
          const { key, record } = yield* stored(store)
          yield* run([...rejection(prefix, code, 1000), trigger(prefix)])
          const error = yield* Effect.flip(store.save(key, record, { expectedVersion: 1, now: start }))
          assert.deepStrictEqual([error.operation, error.reason], ["save", "unavailable"])
          assert.instanceOf(error.cause, SqlError)
          assert.strictEqual(yield* executions, 4)
          yield* isAlive(store, { key, record }, start)
        }))
    }

    it.scopedLive("a transaction of the store is retried as a whole", () =>
      Effect.gen(function*() {
        const { executions, prefix, run, store } = yield* opened
        const spared = yield* stored(store)
        const ended = yield* stored(store)
        yield* run([...rejection(prefix, codes[0], 3), trigger(prefix)])
        yield* store.revokeSubject(namespace, "ann", spared.record.id)
        assert.strictEqual(yield* executions, 4)
        yield* isDead(store, ended, start)
        // Executed once, and not four times.
        yield* isAlive(store, spared, start)
        const later = yield* stored(store)
        yield* store.revokeSubject(namespace, "ann", later.record.id)
        yield* isAlive(store, later, start)
      }))

    it.scopedLive("a read is retried, but not inside the application's transaction, which fails as a whole", () =>
      Effect.gen(function*() {
        const { executions, prefix, run, sql, store } = yield* opened
        const { key } = yield* stored(store)
        yield* run([
          ...rejection(prefix, codes[0], 7),
          `ALTER TABLE ${prefix}sessions RENAME TO ${prefix}rows`,
          `CREATE VIEW ${prefix}sessions AS SELECT * FROM ${prefix}rows WHERE ${prefix}busy()`
        ])
        const inside = yield* Effect.flip(sql.withTransaction(store.load(key, start)))
        assert.instanceOf(inside, SessionStoreError)
        assert.strictEqual(yield* executions, 1)
        assert.strictEqual((yield* Effect.flip(store.load(key, start))).reason, "unavailable")
        assert.strictEqual(yield* executions, 5)
        assert.isTrue(yield* isThere(store, key, start))
        assert.strictEqual(yield* executions, 8)
      }))

    it.scopedLive("a statement that is the victim of a deadlock is retried and succeeds", () =>
      Effect.gen(function*() {
        const { prefix, sql, store } = yield* opened
        const { key, record } = yield* stored(store)
        const newKey = freshKey()
        const column = name === "mariadb" ? "`key`" : "key"
        const other = yield* sql.reserve
        const execute = (statement: string) => other.executeUnprepared(statement, [], undefined)
        // The other transaction locks what the statement will wait for, and must not be the victim: Postgres ends the one that
        // detects the deadlock, MariaDB the one that has changed fewer rows.
        yield* execute("BEGIN")
        if (name === "postgres") {
          yield* execute("SET LOCAL deadlock_timeout = '1h'")
          yield* execute(
            `INSERT INTO ${prefix}sessions SELECT '${newKey}', namespace, 'other', data, schema_version, subject, version, ` +
              `write_id, created_at, authenticated_at, modified_at, last_seen_at, expires_at, deadline, lifetime, ` +
              `attributes, namespace_epoch, subject_epoch FROM ${prefix}sessions`
          )
        } else {
          yield* execute(
            `INSERT INTO ${prefix}session_epochs SELECT '${namespace}', 'subject', seq, 1 FROM seq_1_to_100`
          )
          yield* execute(`INSERT INTO ${prefix}session_epochs VALUES ('${namespace}', 'subject', 'ann', 1)`)
        }
        const rotation = yield* Effect.fork(
          store.rotate(key, newKey, { ...record, version: 2 }, { expectedVersion: 1, now: start })
        )
        yield* untilWaiting(sql, name, prefix, 1)
        // Now each waits for the other. The lock is granted only because the statement is ended.
        yield* execute(`SELECT id FROM ${prefix}sessions WHERE ${column} = '${key}' FOR UPDATE`)
        yield* execute("ROLLBACK")
        assert.strictEqual(yield* rotation, "saved")
        yield* isAlive(store, { key: newKey, record: { ...record, version: 2 } }, start)
        yield* isKeyDead(store, { key, record }, start)
      }))

    it.scopedLive("a connection that is lost in a transaction of the store is an error, not a defect", () =>
      Effect.gen(function*() {
        const { prefix, sql, store } = yield* opened
        const { key, record } = yield* stored(store)
        const other = yield* sql.reserve
        const execute = (statement: string) => other.executeUnprepared(statement, [], undefined)
        yield* execute("BEGIN")
        yield* execute(`SELECT id FROM ${prefix}sessions FOR UPDATE`)
        const revocation = yield* Effect.fork(store.revokeSubject(namespace, "ann", record.id))
        const [id] = yield* untilWaiting(sql, name, prefix, 1)
        yield* sql.unsafe(name === "mariadb" ? `KILL CONNECTION ${id}` : `SELECT pg_terminate_backend(${id})`)
        const error = yield* Effect.flip(Fiber.join(revocation))
        assert.deepStrictEqual([error.operation, error.reason], ["revokeSubject", "unavailable"])
        yield* execute("ROLLBACK")
        yield* isAlive(store, { key, record }, start)
        yield* store.revokeSubject(namespace, "ann")
        yield* isDead(store, { key, record }, start)
      }))
  })
}

describe("sqlite", () => {
  const file = Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(Path.join(tmpdir(), "effect-session-busy-"))),
      (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
    ),
    (directory) => Path.join(directory, "sessions.sqlite")
  )

  /** A store that does not wait for a lock, and another process that takes it. */
  const opened = Effect.gen(function*() {
    const client = SqliteClient.layer({ filename: yield* file })
    const context = yield* Layer.build(
      SqlStore.layer.pipe(Layer.provide(SqlMigrations.layer), Layer.provideMerge(client))
    )
    yield* Context.get(context, SqlClient).unsafe("PRAGMA busy_timeout = 0")
    const other = Context.get(yield* Layer.build(Layer.fresh(client)), SqlClient)
    return { store: Context.get(context, SessionStore), other }
  })

  it.scopedLive("a write to a locked file succeeds when the lock is released, and fails if it stays locked", () =>
    Effect.gen(function*() {
      const { other, store } = yield* opened
      const { key, record } = yield* stored(store)
      yield* other.unsafe("BEGIN IMMEDIATE")
      const error = yield* Effect.flip(store.save(key, record, { expectedVersion: 1, now: start }))
      assert.deepStrictEqual([error.operation, error.reason], ["save", "unavailable"])
      assert.propertyVal(error.cause instanceof SqlError ? error.cause.cause : undefined, "code", "SQLITE_BUSY")

      const save = yield* Effect.fork(store.save(key, record, { expectedVersion: 1, now: start }))
      // It waits for the lock.
      yield* Effect.repeat(Effect.zipRight(Effect.yieldNow(), Fiber.status(save)), {
        until: (status) => !FiberStatus.isRunning(status)
      })
      yield* other.unsafe("COMMIT")
      assert.strictEqual(yield* save, "saved")
    }))
})
