/**
 * The commands about the sessions of a user, `explain`, and `--json`, run in this process.
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as Terminal from "@effect/platform/Terminal"
import type { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Console, Context, DateTime, Effect, Layer, Mailbox, Option } from "effect"
import { SessionEvents } from "effect-session"
import * as Cli from "effect-session/Cli"
import { aRecord, freshId, freshKey, hour } from "effect-session/Fixtures"
import type { SessionEvent } from "effect-session/SessionEvents"
import * as SqlAudit from "effect-session/SqlAudit"
import { assert, describe } from "vitest"
import type { Answer } from "./support/cli.js"
import { databases, done, failure, files, migrated, run, stores } from "./support/cli.js"
import { range } from "./support/concurrency.js"
import { freshPrefix } from "./support/localStores.js"

const namespace = "shop/Session"
const end = Date.UTC(2100, 0, 1)
const begin = Date.UTC(2026, 0, 1)
const attributes = JSON.stringify({ methods: ["pwd"], level: 2, remembered: true, context: { label: "a\u001b[2J" } })
const recordOf = (subject: string, i = 0) =>
  aRecord({
    namespace,
    subject,
    createdAt: begin + i,
    lastSeenAt: begin + i,
    modifiedAt: begin + i,
    authenticatedAt: undefined,
    data: `{"card":"4242"}`,
    attributes,
    expiry: { at: end, deadline: undefined, lifetime: undefined }
  })

/** The documents of an answer, one per line. It has no other output. */
const documents = ({ exitCode, stderr, stdout }: Answer): ReadonlyArray<unknown> => {
  assert.deepStrictEqual([exitCode, stderr], [0, ""])
  return stdout.split("\n").slice(0, -1).map((line) => JSON.parse(line))
}

describe.each(stores)("%s", (_, open) => {
  it.scopedLive("list prints the sessions of a user in pages, oldest first, without a key or data", () =>
    Effect.gen(function*() {
      const { options, store } = yield* open
      const all = range(101).map((i) => ({ key: freshKey(), record: recordOf("ann", i) }))
      yield* Effect.forEach(all, ({ key, record }) => store.create(key, record, record.createdAt), { concurrency: 8 })
      yield* store.create(freshKey(), recordOf("bob"), begin)
      const list = (...args: ReadonlyArray<string>) => run("list", "--namespace", namespace, ...options, ...args)
      const text = yield* list("--subject", "ann")
      const [heading, ...lines] = text.stdout.trimEnd().split("\n")
      assert.match(heading ?? "", /^id +created +last seen +expires$/)
      assert.deepStrictEqual(lines.map((line) => line.split(/ +/)[0]), all.map(({ record }) => record.id))
      assert.strictEqual(
        lines[0],
        `${all[0]?.record.id}    2026-01-01T00:00:00.000Z  2026-01-01T00:00:00.000Z  2100-01-01T00:00:00.000Z  ` +
          `methods=["pwd"] level=2 remembered=true context={"label":"a\\u001b[2J"}`
      )
      const json = yield* list("--subject", "ann", "--json")
      assert.strictEqual(documents(json).length, 101)
      assert.deepStrictEqual(documents(json)[100], {
        namespace,
        id: all[100]?.record.id,
        subject: "ann",
        version: all[100]?.record.version,
        schemaVersion: all[100]?.record.schemaVersion,
        createdAt: "2026-01-01T00:00:00.100Z",
        authenticatedAt: null,
        modifiedAt: "2026-01-01T00:00:00.100Z",
        lastSeenAt: "2026-01-01T00:00:00.100Z",
        expiresAt: "2100-01-01T00:00:00.000Z",
        deadline: null,
        attributes: JSON.parse(attributes)
      })
      for (const { key, record } of all) {
        for (const secret of [key, record.writeId, "4242"]) assert.notInclude(text.stdout + json.stdout, secret)
      }
      assert.deepStrictEqual(
        yield* list("--subject", "eve"),
        done("There is no live session of this subject in this namespace.\n")
      )
      assert.deepStrictEqual(yield* list("--subject", "eve", "--json"), done(""))
      assert.deepStrictEqual(yield* list(), failure(2, "--subject is missing.", "cli-usage"))
    }))

  it.scopedLive("find prints one session and the members of its attributes, without its data", () =>
    Effect.gen(function*() {
      const { options, store } = yield* open
      const [key, record] = [freshKey(), recordOf("ann")]
      yield* store.create(key, record, begin)
      const asked = [...options, "--namespace", namespace, record.id]
      const { stdout } = yield* run("find", ...asked)
      assert.match(
        stdout,
        /^deadline +-\nmethods +\["pwd"\]\nlevel +2\nremembered +true\ncontext +\{"label":"a\\u001b/m
      )
      const [document] = documents(yield* run("find", "--json", ...asked))
      assert.notInclude(stdout + JSON.stringify(document), "4242")
      assert.notInclude(stdout, key)
      assert.deepStrictEqual(documents(yield* run("show", "--json", ...asked)), [document])
      assert.deepStrictEqual(documents(yield* run("show", "--json", "--data", ...asked)), [
        { ...Object(document), data: record.data }
      ])
      const missing = failure(3, "There is no such session in this namespace.", "session-not-found")
      assert.deepStrictEqual(yield* run("find", "--json", freshId(), ...options, "--namespace", namespace), missing)
    }))

  it.scopedLive("revoke ends the sessions of a user, or of a namespace, and no others", () =>
    Effect.gen(function*() {
      const { options, store } = yield* open
      const keys = range(4).map(() => freshKey())
      const others = aRecord({ ...recordOf("ann"), id: freshId(), namespace: "other" })
      const records = [recordOf("ann"), recordOf("ann"), recordOf("bob"), others]
      yield* Effect.forEach(records, (record, i) => store.create(keys[i] ?? freshKey(), record, begin))
      const alive = Effect.map(
        Effect.forEach(keys, (key) => store.load(key, begin)),
        (all) => all.map(Option.isSome)
      )
      const revoke = (...args: ReadonlyArray<string>) => run("revoke", "--namespace", namespace, ...options, ...args)
      assert.deepStrictEqual(
        yield* revoke("--all"),
        failure(2, "--all needs --yes where the command line cannot ask.", "cli-usage")
      )
      assert.deepStrictEqual(yield* alive, [true, true, true, true])
      assert.deepStrictEqual(documents(yield* revoke("--json", "--subject", "ann")), [
        { revoked: "subject", namespace, id: null, subject: "ann" }
      ])
      assert.deepStrictEqual(yield* alive, [false, false, true, true])
      assert.deepStrictEqual(
        yield* revoke("--subject", "ann"),
        done("All sessions of this subject are revoked.\n")
      )
      assert.deepStrictEqual(yield* revoke("--all", "--yes"), done("All sessions of this namespace are revoked.\n"))
      assert.deepStrictEqual(yield* alive, [false, false, false, true])
      assert.deepStrictEqual(documents(yield* revoke("--json", "--all", "--yes")), [
        { revoked: "all", namespace, id: null, subject: null }
      ])
      const one = recordOf("cid")
      yield* store.create(freshKey(), one, begin)
      assert.deepStrictEqual(documents(yield* revoke("--json", one.id)), [
        { revoked: "session", namespace, id: one.id, subject: null }
      ])
    }))

  it.scopedLive("stats and clear-expired print one document with --json", () =>
    Effect.gen(function*() {
      const { options, store } = yield* open
      const expiry = { at: Date.now() - 1, deadline: undefined, lifetime: undefined }
      yield* Effect.forEach(range(2), () => store.create(freshKey(), aRecord({ expiry }), Date.now() - hour))
      yield* store.create(freshKey(), recordOf("ann"), begin)
      assert.deepStrictEqual(documents(yield* run("stats", "--json", ...options)), [{ current: 1, expired: 2 }])
      assert.deepStrictEqual(documents(yield* run("clear-expired", "--json", "--dry-run", ...options)), [
        { deleted: 0, current: 1, expired: 2 }
      ])
      assert.deepStrictEqual(documents(yield* run("clear-expired", "--json", ...options)), [
        { deleted: 2, current: 1, expired: 0 }
      ])
    }))
})

describe.each(databases)("%s", (_, open) => {
  const at = (second: number) => DateTime.unsafeMake(begin + 1000 * second)

  /** Publishes events, and returns when they are written. */
  const audited = (client: Layer.Layer<SqlClient, unknown>, prefix: string, events: ReadonlyArray<SessionEvent>) =>
    Effect.scoped(Effect.gen(function*() {
      const context = yield* Layer.build(
        SqlAudit.layerWith({ prefix }).pipe(Layer.provideMerge(SessionEvents.layer), Layer.provide(client))
      )
      const { unsafePublish } = Context.get(context, SessionEvents.SessionEvents)
      events.forEach((event) => unsafePublish(() => event))
    }))

  it.scopedLive("explain prints the events of a session and why it ended", () =>
    Effect.gen(function*() {
      const { client, url } = yield* open
      const prefix = freshPrefix()
      const options = ["--database-url", url, "--prefix", prefix]
      const applied = documents(yield* run("migrate", "--audit", "--json", ...options))
      assert.deepInclude(Object(applied[0]).applied[0], { id: 1, name: "sessions" })
      assert.deepStrictEqual(documents(yield* run("migrate", "--audit", "--json", ...options)), [{ applied: [] }])
      const [id, other, alive] = [freshId(), freshId(), freshId()]
      const common = { session: "shop", namespace, subject: "ann" }
      const revoked = (
        second: number,
        by: { readonly id: typeof id; readonly subject: string } | undefined
      ): SessionEvent => ({
        _tag: "Ended",
        ...common,
        id: undefined,
        at: at(second),
        reason: "subjectRevoked",
        by
      })
      yield* audited(client, prefix, [
        { _tag: "Created", ...common, id, subject: undefined, at: at(0) },
        { _tag: "Authenticated", ...common, id, at: at(1), methods: ["pwd"], level: 2, remembered: false },
        // It ends the others, and lives on.
        revoked(2, { id, subject: "ann" }),
        { _tag: "Created", ...common, id: other, at: at(3) },
        revoked(4, { id: other, subject: "ann" }),
        revoked(5, undefined),
        { _tag: "Rotated", ...common, id: alive, at: at(6) }
      ])
      const explain = (...args: ReadonlyArray<string>) => run("explain", "--namespace", namespace, ...options, ...args)
      assert.deepStrictEqual(
        yield* explain(id),
        done(
          [
            `2026-01-01T00:00:00.000Z  Created  subject=-`,
            `2026-01-01T00:00:01.000Z  Authenticated  subject="ann"  methods=["pwd"]  level=2  remembered=false`,
            `2026-01-01T00:00:02.000Z  Ended  subject="ann"  reason="subjectRevoked"  by={"id":"${id}","subject":"ann"}`,
            `2026-01-01T00:00:04.000Z  Ended  subject="ann"  reason="subjectRevoked"  by={"id":"${other}","subject":"ann"}`,
            `2026-01-01T00:00:05.000Z  Ended  subject="ann"  reason="subjectRevoked"`,
            `It ended at 2026-01-01T00:00:04.000Z: all sessions of its subject were revoked, by the session ${other} of "ann".`,
            ""
          ].join("\n")
        )
      )
      assert.deepStrictEqual(documents(yield* explain("--json", other)), [
        { at: "2026-01-01T00:00:03.000Z", event: "Created", session: "shop", namespace, id: other, subject: "ann" },
        ...[[4, { id: other, subject: "ann" }] as const, [5, undefined] as const].map(([second, by]) => ({
          at: `2026-01-01T00:00:0${second}.000Z`,
          event: "Ended",
          session: "shop",
          namespace,
          id: null,
          subject: "ann",
          reason: "subjectRevoked",
          ...by === undefined ? {} : { by }
        }))
      ])
      assert.include((yield* explain(alive)).stdout, "No end is recorded: it is alive, or it has expired.\n")
      const missing = failure(
        3,
        "The audit table has no event of such a session in this namespace.",
        "session-not-found"
      )
      assert.deepStrictEqual(yield* explain("--json", freshId()), missing)
    }))

  it.scopedLive("explain shows what revoke ended", () =>
    Effect.gen(function*() {
      const database = yield* open
      const { options, prefix, store } = yield* migrated(Effect.succeed(database))
      assert.strictEqual((yield* run("migrate", "--audit", ...options)).exitCode, 0)
      const record = recordOf("ann")
      yield* store.create(freshKey(), record, begin)
      const created: SessionEvent = {
        _tag: "Created",
        session: "shop",
        namespace,
        id: record.id,
        subject: "ann",
        at: at(0)
      }
      const asked = [...options, "--namespace", namespace]
      for (const how of [[record.id], ["--subject", "ann"], ["--all", "--yes"]]) {
        assert.strictEqual((yield* run("revoke", ...asked, ...how)).exitCode, 0)
      }
      yield* audited(database.client, prefix[1] ?? "", [created])
      const events = documents(yield* run("explain", "--json", ...asked, record.id)).map((one) => Object(one).reason)
      assert.deepStrictEqual(events, [undefined, "revoked", "subjectRevoked", "allRevoked"])
    }))

  it.scopedLive("explain without an audit table names the command that creates it", () =>
    Effect.gen(function*() {
      const { options } = yield* migrated(open)
      assert.deepStrictEqual(
        yield* run("explain", "--namespace", namespace, freshId(), ...options),
        failure(
          1,
          "There is no audit table: \"effect-session migrate --audit\" creates it, and SqlAudit.layer in the server writes to it.",
          "audit-table-missing"
        )
      )
    }))

  it.scopedLive("migrate --print prints one document with --json", () =>
    Effect.gen(function*() {
      const { url } = yield* open
      const text = yield* run("migrate", "--print", "--audit", "--database-url", url)
      assert.include(text.stdout, "effect_session_events")
      assert.deepStrictEqual(documents(yield* run("migrate", "--print", "--audit", "--json", "--database-url", url)), [
        { sql: text.stdout }
      ])
    }))
})

describe("files", () => {
  it.scopedLive("copy prints one document with --json, and its heading to stderr", () =>
    Effect.gen(function*() {
      const [from, to] = [yield* files, yield* files]
      yield* from.store.create(freshKey(), recordOf("ann"), begin)
      const answer = yield* run("copy", "--json", "--from", from.url, "--to", to.url, "--namespace", namespace)
      assert.deepStrictEqual([answer.exitCode, JSON.parse(answer.stdout)], [0, {
        namespace,
        moved: 1,
        ended: 0,
        corrupt: [],
        old: { current: 0, expired: 0 },
        new: { current: 1, expired: 0 }
      }])
      assert.include(answer.stderr, "Moves the sessions of")
    }))

  it.scopedLive("explain of Redis or files asks for the database of the audit table", () =>
    Effect.gen(function*() {
      const { options } = yield* files
      const sentence = "Redis and files have no audit table: give the URL of the SQL database that SqlAudit writes to."
      assert.deepStrictEqual(
        yield* run("explain", "--namespace", namespace, freshId(), ...options),
        failure(1, sentence, "audit-table-missing")
      )
    }))

  for (const [key, code, revoked] of [["y", 0, true], ["n", 1, false]] as const) {
    it.scopedLive(`revoke --all on a terminal asks, and the answer "${key}" ${revoked ? "ends" : "keeps"} the sessions`, () =>
      Effect.gen(function*() {
        const { options, store } = yield* files
        const session = freshKey()
        yield* store.create(session, recordOf("ann"), begin)
        const terminal = yield* Terminal.Terminal
        const shown: Array<string> = []
        const inputs = yield* Mailbox.make<Terminal.UserInput>()
        inputs.unsafeOffer({ input: Option.some(key), key: { name: key, ctrl: false, meta: false, shift: false } })
        const console = yield* Console.consoleWith(Effect.succeed)
        const lines: Array<unknown> = []
        const exitCode = yield* Cli.run(
          ["node", "effect-session", "revoke", "--all", "--namespace", namespace, ...options]
        ).pipe(
          Effect.provideService(Terminal.Terminal, {
            ...terminal,
            isTTY: Effect.succeed(true),
            readInput: Effect.succeed(inputs),
            display: (text) => Effect.sync(() => void shown.push(text))
          }),
          Effect.withConsole({
            ...console,
            log: (line) => Effect.sync(() => void lines.push(line)),
            error: (line) => Effect.sync(() => void lines.push(line))
          })
        )
        assert.include(shown.join(""), `End all sessions of "${namespace}"?`)
        assert.strictEqual(exitCode, code)
        assert.deepStrictEqual(lines, [
          revoked ? "All sessions of this namespace are revoked." : "Nothing was revoked."
        ])
        assert.strictEqual(Option.isNone(yield* store.load(session, begin)), revoked)
      }).pipe(Effect.provide(NodeContext.layer)))
  }
})

it.live("revoke refuses wrong combinations with a sentence, before it connects", () =>
  Effect.forEach(
    [
      [[], "Give exactly one: the id of a session, --subject or --all."],
      [[freshId(), "--all"], "Give exactly one: the id of a session, --subject or --all."],
      [["--subject", "ann", "--all", "--yes"], "Give exactly one: the id of a session, --subject or --all."],
      [[freshId(), "--subject", "ann"], "Give exactly one: the id of a session, --subject or --all."],
      [["--subject", "ann", "--yes"], "--yes is for --all only."],
      [["--all", "--json"], "--all needs --yes where the command line cannot ask."]
    ] as const,
    ([args, sentence]) =>
      Effect.map(
        run("revoke", ...args, "--database-url", "redis://127.0.0.1:1", "--namespace", "shop"),
        (answer) => assert.deepStrictEqual(answer, failure(2, sentence, "cli-usage"))
      )
  ))

it.live("generate-key and migrate of a store without tables print one document with --json", () =>
  Effect.gen(function*() {
    const [key] = documents(yield* run("generate-key", "--id", "k1", "--json"))
    assert.match(Object(key).key, /^k1:/)
    assert.deepStrictEqual(documents(yield* run("migrate", "--json", "--database-url", "file:none")), [{ applied: [] }])
  }))
