import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Cause, Context, DateTime, Deferred, Effect, Exit, Layer, Logger, Scope } from "effect"
import { SessionEvents } from "effect-session"
import { freshId } from "effect-session/Fixtures"
import type { SessionEvent } from "effect-session/SessionEvents"
import type { SessionId } from "effect-session/SessionId"
import * as SqlAudit from "effect-session/SqlAudit"
import * as SqlMigrations from "effect-session/SqlMigrations"
import { assert, describe } from "vitest"
import { range, together } from "./support/concurrency.js"
import { mysqlDatabase, postgresDatabase } from "./support/databases.js"
import { freshPrefix, sqliteClient } from "./support/localStores.js"
import { ofMariadb } from "./support/serverClients.js"

const databases: ReadonlyArray<readonly [name: string, client: () => Layer.Layer<SqlClient, unknown>]> = [
  ["postgres", postgresDatabase],
  ["sqlite", () => sqliteClient],
  ...ofMariadb(["mariadb", mysqlDatabase] as const)
]

const start = Date.UTC(2026, 0, 1)
const common = (second: number, id: SessionId | undefined, subject: string | undefined, namespace = "shop") => ({
  session: "shop/Session",
  namespace,
  id,
  subject,
  at: DateTime.unsafeMake(start + 1000 * second)
})

/** A client with an audit table. */
const audited = (client: () => Layer.Layer<SqlClient, unknown>) =>
  Effect.gen(function*() {
    const prefix = freshPrefix()
    const context = yield* Layer.build(client())
    yield* Effect.provide(SqlMigrations.run({ prefix, audit: true }), context)
    const built = Layer.succeedContext(context)
    return {
      prefix,
      sql: Context.get(context, SqlClient),
      client: built,
      audit: yield* Effect.provide(SqlAudit.make({ prefix }), built)
    }
  })

/** Publishes events, and returns when they are written. */
const written = (prefix: string, client: Layer.Layer<SqlClient>, events: ReadonlyArray<SessionEvent>) =>
  Effect.scoped(Effect.gen(function*() {
    const context = yield* Layer.build(
      SqlAudit.layerWith({ prefix }).pipe(Layer.provideMerge(SessionEvents.layer), Layer.provide(client))
    )
    const { unsafePublish } = Context.get(context, SessionEvents.SessionEvents)
    events.forEach((event) => unsafePublish(() => event))
  }))

const eventsOf = (entries: ReadonlyArray<SqlAudit.AuditEntry>) => entries.map(({ event }) => event)

/** Statements that make the writes of a table fail, and succeed again. */
const outage = (name: string, table: string): readonly [begin: string, end: string] =>
  name === "sqlite"
    // The client caches a statement that failed because its table was missing.
    ? [
      `CREATE TRIGGER broken BEFORE INSERT ON ${table} BEGIN SELECT RAISE(ABORT, 'no answer'); END`,
      "DROP TRIGGER broken"
    ]
    : [`ALTER TABLE ${table} RENAME TO ${table}_away`, `ALTER TABLE ${table}_away RENAME TO ${table}`]

describe.each(databases)("%s", (name, client) => {
  it.scopedLive("an audit table returns every kind of event as it was published, in order", () =>
    Effect.gen(function*() {
      const { audit, client: built, prefix } = yield* audited(client)
      const id = freshId()
      const subject = "ann 'a\u0131\u{1f600}\" "
      const events: ReadonlyArray<SessionEvent> = [
        { _tag: "Created", ...common(0, id, undefined) },
        // The same moment: the order of publication is kept.
        { _tag: "Authenticated", ...common(0, id, subject), methods: ["pwd", "otp"], level: 2, remembered: true },
        { _tag: "Elevated", ...common(0, id, subject), methods: [], level: undefined },
        { _tag: "Dropped", ...common(1, id, subject) },
        { _tag: "Impersonated", ...common(2, id, subject), as: "bob" },
        { _tag: "ImpersonationEnded", ...common(3, id, subject) },
        { _tag: "Rotated", ...common(4, id, subject) },
        { _tag: "Refused", ...common(5, id, subject), reason: "crossSite" },
        { _tag: "Conflict", ...common(6, id, subject) },
        { _tag: "Undecodable", ...common(7, id, subject) },
        { _tag: "Ended", ...common(8, id, subject), reason: "revoked", by: { id: freshId(), subject } }
      ]
      yield* written(prefix, built, events)
      assert.deepStrictEqual(eventsOf(yield* audit.explain("shop", id)), events)
    }))

  it.scopedLive("`explain` includes ends of the subject and of all since the first event, and nothing of other sessions", () =>
    Effect.gen(function*() {
      const { audit, client: built, prefix } = yield* audited(client)
      const [id, other] = [freshId(), freshId()]
      const ended = (second: number, subject: string | undefined, namespace?: string): SessionEvent => ({
        _tag: "Ended",
        ...common(second, undefined, subject, namespace),
        reason: subject === undefined ? "allRevoked" : "subjectRevoked",
        by: undefined
      })
      const expected: ReadonlyArray<SessionEvent> = [
        { _tag: "Created", ...common(10, id, undefined) },
        { _tag: "Rotated", ...common(11, id, "ann") },
        ended(12, "ann"),
        ended(13, undefined)
      ]
      yield* written(prefix, built, [
        // Before its first event.
        ended(1, "ann"),
        ended(2, undefined),
        ...expected,
        ended(12, "ann "),
        ended(12, "Ann"),
        ended(12, "bob"),
        ended(13, undefined, "other"),
        ended(12, "ann", "other"),
        { _tag: "Refused", ...common(12, undefined, "ann"), reason: "limit" },
        { _tag: "Ended", ...common(12, other, "ann"), reason: "loggedOut", by: undefined }
      ])
      assert.deepStrictEqual(eventsOf(yield* audit.explain("shop", id)), expected)
      assert.deepStrictEqual(eventsOf(yield* audit.explain("other", id)), [])
      assert.deepStrictEqual(eventsOf(yield* audit.explain("shop", freshId())), [])
    }))

  it.scopedLive("`explain` returns pages, and omits rows that it cannot read", () =>
    Effect.gen(function*() {
      const { audit, client: built, prefix, sql } = yield* audited(client)
      const id = freshId()
      const events = range(250).map((i): SessionEvent => ({ _tag: "Rotated", ...common(i % 3, id, "ann") }))
      yield* written(prefix, built, events)
      const keys: Array<string> = []
      let after: string | undefined
      for (const length of [100, 100, 50, 0]) {
        const page: ReadonlyArray<SqlAudit.AuditEntry> = yield* audit.explain("shop", id, { after })
        assert.strictEqual(page.length, length)
        keys.push(...page.map(({ key }) => key))
        after = keys.at(-1)
      }
      assert.strictEqual(new Set(keys).size, 250)
      assert.deepStrictEqual(keys, [...keys].sort())
      yield* sql`UPDATE ${sql.literal(`${prefix}session_events`)} SET event = 'Later' WHERE event_key = ${
        keys[1] ?? ""
      }`
      yield* sql`UPDATE ${sql.literal(`${prefix}session_events`)} SET details = '{' WHERE event_key = ${keys[3] ?? ""}`
      const page = yield* audit.explain("shop", id, { limit: 3 })
      assert.deepStrictEqual(page.map(({ key }) => key), [keys[0], keys[2], keys[4]])
    }))

  it.scopedLive("a subject with U+0000, and a very long one, are written with a replacement and whole", () =>
    Effect.gen(function*() {
      const { audit, client: built, prefix } = yield* audited(client)
      const id = freshId()
      const long = "\u{1f600}".repeat(2000)
      yield* written(prefix, built, [
        { _tag: "Rotated", ...common(0, id, "a\u0000b", "sh\u0000op") },
        { _tag: "Rotated", ...common(1, id, long, "sh\u0000op") }
      ])
      const found = eventsOf(yield* audit.explain("sh\u0000op", id))
      assert.deepStrictEqual(found.map(({ subject }) => subject), ["a\ufffdb", long])
    }))

  it.scopedLive("`removeBefore` deletes older events only, in batches", () =>
    Effect.gen(function*() {
      const { audit, client: built, prefix, sql } = yield* audited(client)
      const [old, fresh] = [freshId(), freshId()]
      yield* written(prefix, built, [
        ...range(2100).map((i): SessionEvent => ({ _tag: "Rotated", ...common(i % 50, old, "ann") })),
        { _tag: "Rotated", ...common(50, fresh, "ann") }
      ])
      assert.strictEqual(yield* audit.removeBefore(common(50, fresh, undefined).at), 2100)
      assert.strictEqual(yield* audit.removeBefore(common(50, fresh, undefined).at), 0)
      const left = yield* sql`SELECT event FROM ${sql.literal(`${prefix}session_events`)}`
      assert.strictEqual(left.length, 1)
      assert.strictEqual((yield* audit.explain("shop", fresh)).length, 1)
    }), 30_000)

  it.scopedLive("an outage is logged, and its events are written once it has passed", () =>
    Effect.gen(function*() {
      const { audit, client: built, prefix, sql } = yield* audited(client)
      const failed = yield* Deferred.make<string>()
      const logger = Logger.replace(
        Logger.defaultLogger,
        Logger.make(({ cause, message }) =>
          void Deferred.unsafeDone(failed, Exit.succeed(`${[message].flat().join(" ")} ${Cause.pretty(cause)}`))
        )
      )
      const scope = yield* Scope.make()
      const context = yield* SqlAudit.layerWith({ prefix }).pipe(
        Layer.provideMerge(SessionEvents.layer),
        Layer.provide(built),
        Layer.provide(logger),
        Layer.buildWithScope(scope)
      )
      const [begin, end] = outage(name, `${prefix}session_events`)
      const { unsafePublish } = Context.get(context, SessionEvents.SessionEvents)
      const ids = [freshId(), freshId()]
      yield* sql.unsafe(begin)
      for (const id of ids) unsafePublish(() => ({ _tag: "Rotated", ...common(0, id, "ann") }))
      assert.match(yield* Deferred.await(failed), /^SqlAudit could not write [12] session events\. It tries again\. /)
      yield* sql.unsafe(end)
      yield* Scope.close(scope, Exit.void)
      for (const id of ids) assert.strictEqual((yield* audit.explain("shop", id)).length, 1)
    }))

  it.scopedLive("without its table the layer fails, and the error names the command to run", () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const context = yield* Layer.build(client())
      yield* Effect.provide(SqlMigrations.run({ prefix }), context)
      const error = yield* SqlAudit.layerWith({ prefix }).pipe(
        Layer.provide(SessionEvents.layer),
        Layer.provide(Layer.succeedContext(context)),
        Layer.build,
        Effect.flip
      )
      assert.strictEqual(
        error.message,
        `SqlAudit: The audit table ${prefix}session_events is missing: run "effect-session migrate --audit" with the same --prefix and ` +
          "--schema, or SqlMigrations with the option audit. (help: audit-table-missing)"
      )
    }))

  it.scopedLive("concurrent migrations create the table once, and a later one keeps its rows", () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const context = yield* Layer.build(client())
      const migrate = Effect.provide(SqlMigrations.run({ prefix, audit: true }), context)
      yield* Effect.provide(SqlMigrations.run({ prefix }), context)
      yield* together(range(3).map(() => migrate))
      const built = Layer.succeedContext(context)
      const id = freshId()
      yield* written(prefix, built, [{ _tag: "Created", ...common(0, id, undefined) }])
      assert.deepStrictEqual(yield* migrate, [])
      const audit = yield* Effect.provide(SqlAudit.make({ prefix }), built)
      assert.strictEqual((yield* audit.explain("shop", id)).length, 1)
    }))
})

describe("postgres", () => {
  it.scopedLive("the audit table may be in a schema, and its SQL may be applied by hand", () =>
    Effect.gen(function*() {
      const context = yield* Layer.build(postgresDatabase())
      const names = { prefix: freshPrefix(), schema: "audits" }
      const script = yield* SqlMigrations.print("pg", { ...names, audit: true })
      yield* Effect.provide(
        Effect.flatMap(SqlClient, (sql) =>
          Effect.gen(function*() {
            yield* sql.unsafe(script)
            yield* sql.unsafe(script)
          })),
        context
      )
      const audit = yield* Effect.provide(SqlAudit.make(names), context)
      assert.deepStrictEqual(yield* audit.explain("shop", freshId()), [])
      assert.strictEqual(yield* audit.removeBefore(DateTime.unsafeMake(start)), 0)
    }))
})
