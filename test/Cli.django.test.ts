/**
 * `django check` and `django decode` on sessions that a real Django has written.
 */
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Effect } from "effect"
import { assert, describe } from "vitest"
import { type Answer, failure, runWith } from "./support/cli.js"
import { type Database, databases } from "./support/djangoDatabases.js"
import * as Django from "./support/servers/django.js"

const older = "an older SECRET_KEY of the Django of the tests"

/** Runs a command with secrets, and asserts that its output has none of them. */
const run = (env: Readonly<Record<string, string>>, ...args: ReadonlyArray<string>) =>
  Effect.tap(runWith(env, ["django", ...args]), ({ stderr, stdout }) => {
    for (const secret of [Django.secretKey, older, "hunter2"]) assert.notInclude(stdout + stderr, secret)
  })

const current = { SECRET_KEY: Django.secretKey }

/** The document and the sentence of `django check --json`. */
const checked = (env: Readonly<Record<string, string>>, { url }: Database, ...args: ReadonlyArray<string>) =>
  Effect.map(
    run(env, "check", "--json", "--database-url", url, ...args),
    ({ stdout, ...answer }) => ({ ...answer, report: JSON.parse(stdout) })
  )

const unusable = (count: number, of: number): Omit<Answer, "stdout"> => ({
  exitCode: 1,
  stderr:
    `DjangoEngine cannot use ${count} of ${of} sessions: their visitors would be anonymous. (help: django-session-unreadable)\n`
})

const wrongZone = (zone: string): Omit<Answer, "stdout"> => ({
  exitCode: 1,
  stderr:
    `Dates of Django are not in the zone ${zone}, so sessions would end at another time. (help: django-time-zone)\n`
})

const good: Omit<Answer, "stdout"> = { exitCode: 0, stderr: "" }

/** Runs a statement in the database of Django. */
const execute = ({ client }: Database, statement: string, ...parameters: ReadonlyArray<string>) =>
  Effect.provide(Effect.flatMap(SqlClient, (sql) => sql.unsafe(statement, [...parameters])), client)

/** A worker of a Django with other settings. */
const workerOf = (database: Database, settings: Django.Settings) => Django.worker({ database: database.url, settings })

const pickled = { SESSION_SERIALIZER: "django.contrib.sessions.serializers.PickleSerializer" }

const big = `{"cart":["sku"],"total":12345678901234567890}`

describe.each(databases)("django check on %s", (name, open) => {
  const isPostgres = name === "postgres"

  it.scopedLive("reports which key has signed how many sessions, and which logins are valid", () =>
    Effect.gen(function*() {
      const database = yield* open
      const server = yield* Django.serve({ database: database.url })
      const login = (password: string) =>
        Effect.flatMap(
          Effect.sync(Django.browser),
          (browser) => browser.send(`${server.url}/login`, JSON.stringify({ ...Django.user, password }))
        )
      yield* login(Django.user.password)
      yield* Django.browser().send(
        `${server.url}/password`,
        JSON.stringify({ ...Django.user, password: "hunter2" })
      )
      yield* login("hunter2")
      const worker = yield* workerOf(database, {})
      yield* worker.save("db", `{"_auth_user_id":"99","_auth_user_hash":"0"}`)
      yield* worker.save("db", `{"__proto__":1,${big.slice(1)}`, undefined, { seconds: 3600 })
      yield* worker.save("db", "{}", undefined, { seconds: -60 })
      yield* (yield* workerOf(database, { SECRET_KEY: older })).save("db", big)

      assert.deepStrictEqual(
        yield* run(
          { ...current, SECRET_KEY_FALLBACKS: `another,${older}`, DATABASE_URL: database.url },
          "check",
          "--sample",
          "100"
        ),
        {
          exitCode: 0,
          stderr: "",
          stdout: [
            "alive                         5",
            "expired                       1",
            "sample                        5",
            "readable                      5",
            "  by SECRET_KEY               4",
            "  by SECRET_KEY_FALLBACKS[0]  0",
            "  by SECRET_KEY_FALLBACKS[1]  1",
            "logins                        3",
            "  valid                       1",
            "  of an older password        1",
            "  of no active user           1",
            `expire_date                   ${
              isPostgres ? "moments, as Postgres keeps them" : "in UTC, by the _session_expiry of 1 session"
            }`,
            "most frequent age             1209600 seconds (14d) in 4",
            `Members with values that JavaScript cannot hold: "total" in 2, "__proto__" in 1. DjangoEngine keeps their text; leave them out of the schema of the session.`,
            "DjangoEngine can read every session of the sample.",
            ""
          ].join("\n")
        }
      )
      const { report } = yield* checked(current, database, "--sample", "1")
      assert.deepInclude(report, { current: 5, expired: 1, sample: 1 })
    }))

  it.scopedLive("reports sessions without a valid signature, pickled ones, and keys of another form", () =>
    Effect.gen(function*() {
      const database = yield* open
      const worker = yield* workerOf(database, {})
      const moved = yield* worker.save("db", "{}")
      yield* execute(
        database,
        `UPDATE django_session SET session_key = 'moved.${moved}' WHERE session_key = '${moved}'`
      )
      const list = yield* worker.save("db", "{}")
      yield* execute(
        database,
        `UPDATE django_session SET session_data = '${yield* worker.encode("[]")}' WHERE session_key = '${list}'`
      )
      yield* worker.save("db", `{"cart":[]}`)
      const key = yield* worker.save("db", `{"cart":[]}`)
      yield* execute(database, `UPDATE django_session SET session_key = 'a.b.c.d.e' WHERE session_key = '${key}'`)
      yield* (yield* workerOf(database, { SECRET_KEY: older })).save("db", big)
      const dates = yield* workerOf(database, pickled)
      yield* dates.save("db", big)
      yield* dates.save("db", "{}")

      const { report, ...answer } = yield* checked(current, database)
      assert.deepStrictEqual(answer, unusable(5, 6))
      assert.deepInclude(report, {
        sample: 6,
        moved: 1,
        usable: 1,
        invalidKeys: 1,
        unreadable: { signature: 1, pickle: 2, payload: 1, date: 0 }
      })
      assert.deepStrictEqual(
        report.problems.map((problem: string) => problem.split(":")[0]),
        [
          "1 without a signature of these secret keys and this salt",
          "2 written by Django's PickleSerializer",
          "1 signed, but without a JSON object of at most 1 MiB",
          "1 with a key of another form than 8 to 40 letters, digits, hyphens and underscores"
        ]
      )
      assert.notInclude(JSON.stringify(report), "sku")
      const { stdout } = yield* run(current, "check", "--database-url", database.url)
      assert.match(
        stdout,
        /^without a valid signature +1\npickled +2\nwithout a JSON object +1\nwith a key of another form +1\nmoved to another engine +1$/m
      )
      for (const secret of ["sku", "a.b.c.d.e", moved, list]) assert.notInclude(stdout, secret)
      for (const problem of report.problems) assert.include(stdout, `\n${problem}\n`)
    }))

  it.scopedLive("with another SECRET_KEY or another salt, no session can be read", () =>
    Effect.gen(function*() {
      const database = yield* open
      yield* (yield* workerOf(database, {})).save("db", "{}")
      const wrong = { signature: 1, pickle: 0, payload: 0, date: 0 }
      for (
        const { report, ...answer } of [
          yield* checked({ SECRET_KEY: older }, database),
          yield* checked(current, database, "--salt", "django.contrib.sessions.OurStore")
        ]
      ) {
        assert.deepStrictEqual(answer, unusable(1, 1))
        assert.deepInclude(report, { usable: 0, unreadable: wrong })
      }
    }))

  it.scopedLive("recognizes the zone of a Django without time zones by seconds, and by the age of the cookie", () =>
    Effect.gen(function*() {
      const database = yield* open
      const worker = yield* workerOf(database, { USE_TZ: false, TIME_ZONE: "Asia/Kolkata" })
      yield* worker.save("db", "{}")
      const byAge = yield* checked(current, database)
      yield* worker.save("db", "{}", undefined, { seconds: 86_400 })
      const bySeconds = yield* checked(current, database)
      for (const { report, ...answer } of [byAge, bySeconds]) {
        assert.deepStrictEqual(answer, isPostgres ? good : wrongZone("UTC"))
        assert.deepStrictEqual(report.zone.differing, isPostgres ? {} : { "+05:30": 1 })
      }
      assert.strictEqual(bySeconds.report.age.seconds, isPostgres ? 1_209_600 : 1_209_600 + 19_800)
      if (!isPostgres) {
        const advice = "Django's USE_TZ is false: give its TIME_ZONE as --time-zone, and as timeZone of DjangoEngine."
        assert.deepStrictEqual(byAge.report.problems, [
          "expire_date is not in the zone UTC: by a SESSION_COOKIE_AGE of 1209600 seconds (--cookie-age gives another), its offset is " +
          `+05:30 in 1 session. ${advice}`
        ])
        assert.deepStrictEqual(bySeconds.report.problems, [
          `expire_date is not in the zone UTC: by the _session_expiry of the sessions, its offset is +05:30 in 1 session. ${advice}`
        ])
      }

      const { report, ...answer } = yield* checked(current, database, "--time-zone", "Asia/Kolkata")
      assert.deepStrictEqual(answer, good)
      assert.deepInclude(report.zone, {
        assumed: isPostgres ? null : "Asia/Kolkata",
        agreeing: isPostgres ? 0 : 1,
        contradicted: false
      })
      assert.strictEqual(report.age.seconds, 1_209_600)
    }))

  it.scopedLive("reports a time zone that is given for a Django with time zones", () =>
    Effect.gen(function*() {
      const database = yield* open
      const worker = yield* workerOf(database, {})
      yield* worker.save("db", "{}", undefined, { seconds: 86_400 })
      const { report, ...answer } = yield* checked(current, database, "--time-zone", "Asia/Kolkata")
      assert.deepStrictEqual(answer, isPostgres ? good : wrongZone("Asia/Kolkata"))
      assert.deepStrictEqual(report.zone.differing, isPostgres ? {} : { "+00:00": 1 })
      if (!isPostgres) assert.match(report.problems[0], /USE_TZ is true: leave out --time-zone/)
    }))

  it.scopedLive("does not derive a zone from an age of hours, or from sessions that this library has written", () =>
    Effect.gen(function*() {
      const database = yield* open
      const worker = yield* workerOf(database, { SESSION_COOKIE_AGE: 5400 })
      yield* worker.save("db", "{}")
      const { report, ...answer } = yield* checked(current, database)
      assert.deepStrictEqual(answer, good)
      assert.deepInclude(report, { age: { seconds: 5400, sessions: 1 }, problems: [] })
      const { stdout } = yield* run(current, "check", "--database-url", database.url)
      assert.include(
        stdout,
        isPostgres ? "moments, as Postgres keeps them" : "taken for UTC, and no session of the sample shows its zone"
      )
      // Seconds that do not match its `expire_date`.
      const kolkata = yield* workerOf(database, { USE_TZ: false, TIME_ZONE: "Asia/Kolkata" })
      yield* kolkata.save("db", `{"_effect_session":{}}`, undefined, { seconds: 86_400 })
      assert.deepStrictEqual((yield* checked(current, database)).report.zone.differing, {})
    }))

  it.scopedLive("reports two processes of Django with different time zones by the most frequent age", () =>
    Effect.gen(function*() {
      const database = yield* open
      const age = { SESSION_COOKIE_AGE: 5400 }
      const worker = yield* workerOf(database, age)
      yield* Effect.replicateEffect(worker.save("db", "{}"), 2)
      yield* (yield* workerOf(database, { ...age, USE_TZ: false, TIME_ZONE: "Asia/Kolkata" })).save("db", "{}")
      const { report, ...answer } = yield* checked(current, database)
      assert.deepStrictEqual(answer, isPostgres ? good : wrongZone("UTC"))
      assert.deepStrictEqual(
        report.problems,
        isPostgres ? [] : [
          "expire_date is not in the zone UTC: by the most frequent age of 5400 seconds (--cookie-age gives SESSION_COOKIE_AGE), its offset " +
          "is +05:30 in 1 session, and that of UTC in 2 sessions. Django's USE_TZ is false: give its TIME_ZONE as --time-zone, and as " +
          "timeZone of DjangoEngine."
        ]
      )
      const { report: other } = yield* checked(current, database, "--cookie-age", String(5400 + 19_800))
      assert.deepStrictEqual(other.zone.differing, isPostgres ? {} : { "-05:30": 2 })
    }))

  it.scopedLive("reports a date without an offset, and with --time-zone a date with one", () =>
    Effect.gen(function*() {
      const database = yield* open
      const worker = yield* workerOf(database, {})
      const key = yield* worker.save("db", "{}")
      /** As Django 4.1 and later write it. */
      const expiring = (date: string, expireDate: string) =>
        Effect.flatMap(worker.encode(JSON.stringify({ _session_expiry: date })), (data) =>
          execute(
            database,
            `UPDATE django_session SET session_data = '${data}', expire_date = '${expireDate}' WHERE session_key = '${key}'`
          ))
      yield* expiring("2100-01-01T12:00:00", `2100-01-01 12:00:00${isPostgres ? "+00" : ""}`)
      const naive = yield* checked(current, database)
      assert.deepStrictEqual({ exitCode: naive.exitCode, stderr: naive.stderr }, wrongZone("UTC"))
      assert.match(naive.report.problems[0], /^1 without an offset in the date of _session_expiry, .* USE_TZ is false/)
      assert.strictEqual((yield* checked(current, database, "--time-zone", "Asia/Kolkata")).exitCode, 0)

      yield* expiring("2100-01-01T12:00:00+00:00", `2100-01-01 12:00:00${isPostgres ? "+00" : ""}`)
      const aware = yield* checked(current, database)
      assert.strictEqual(aware.exitCode, 0)
      assert.strictEqual(aware.report.zone.agreeing, isPostgres ? 0 : 1)
      const wrong = yield* checked(current, database, "--time-zone", "Asia/Kolkata")
      assert.deepStrictEqual({ exitCode: wrong.exitCode, stderr: wrong.stderr }, wrongZone("Asia/Kolkata"))
      assert.match(wrong.report.problems.at(-1), /^1 with an offset in _session_expiry, .* USE_TZ is true/)
    }))

  it.scopedLive("reports a missing table of sessions, and verifies no login without auth_user", () =>
    Effect.gen(function*() {
      const database = yield* open
      yield* (yield* workerOf(database, {})).save("db", `{"_auth_user_id":"1","_auth_user_hash":"0"}`)
      const { exitCode, stderr, stdout } = yield* run(
        current,
        "check",
        "--database-url",
        database.url,
        "--table",
        "nothing"
      )
      assert.deepStrictEqual([exitCode, stdout], [1, ""])
      assert.match(
        stderr,
        /^The table nothing is missing \(.*\)\. Run "python manage\.py migrate" .*django-table-unusable\)\n$/
      )

      yield* execute(database, "ALTER TABLE auth_user RENAME TO people")
      const { report, ...answer } = yield* checked(current, database)
      assert.deepStrictEqual(answer, good)
      assert.deepStrictEqual(report.logins, { total: 1, verified: null })
      assert.deepStrictEqual(report.problems, [
        "The table auth_user is missing or may not be read, so no login was verified: give DjangoEngine the option authHash."
      ])
      assert.match((yield* run(current, "check", "--database-url", database.url)).stdout, /^ {2}valid +not verified$/m)
    }))

  it.scopedLive("reports that a table without a live session shows nothing", () =>
    Effect.gen(function*() {
      const database = yield* open
      const answer = yield* run(current, "check", "--database-url", database.url)
      assert.strictEqual(answer.exitCode, 0)
      assert.match(answer.stdout, /\nThe table has no live session, so nothing was verified\.\n$/)
    }))
})

for (const [, open] of databases.filter(([name]) => name === "postgres")) {
  it.scopedLive("django check works in a read-only database, and changes no row", () =>
    Effect.gen(function*() {
      const database = yield* open
      yield* (yield* workerOf(database, {})).save("db", `{"cart":[]}`)
      const rows = execute(database, "SELECT session_key, session_data, expire_date FROM django_session")
      const before = yield* rows
      yield* execute(
        database,
        `ALTER DATABASE "${new URL(database.url).pathname.slice(1)}" SET default_transaction_read_only = on`
      )
      const { report, ...answer } = yield* checked(current, database)
      assert.deepStrictEqual(answer, good)
      assert.strictEqual(report.usable, 1)
      assert.deepStrictEqual(yield* rows, before)
    }))
}

for (const [, open] of databases.filter(([name]) => name === "sqlite")) {
  it.scopedLive("django check reports a row whose expire_date is no date, which only SQLite can have", () =>
    Effect.gen(function*() {
      const database = yield* open
      yield* (yield* workerOf(database, {})).save("db", "{}")
      yield* execute(database, "UPDATE django_session SET expire_date = 'tomorrow'")
      const { report, ...answer } = yield* checked(current, database)
      assert.deepStrictEqual(answer, unusable(1, 1))
      assert.deepStrictEqual(report.unreadable, { signature: 0, pickle: 0, payload: 0, date: 1 })
      assert.deepStrictEqual(report.problems, ["1 without a date in expire_date: delete these rows."])
    }))
}

describe("django check", () => {
  const check = (env: Readonly<Record<string, string>>, ...args: ReadonlyArray<string>) => run(env, "check", ...args)

  it.live("needs SECRET_KEY, and a SQL database that exists", () =>
    Effect.gen(function*() {
      const missing =
        "SECRET_KEY is not set: give Django's SECRET_KEY, and SECRET_KEY_FALLBACKS separated by commas, as environment variables."
      assert.deepStrictEqual(
        yield* check({}, "--database-url", "sqlite:none"),
        failure(2, missing, "django-key-invalid")
      )
      assert.deepStrictEqual(yield* run({}, "decode", "text"), failure(2, missing, "django-key-invalid"))
      const empty = "A secret key is empty. Give SECRET_KEY, and each of SECRET_KEY_FALLBACKS, of Django's settings."
      assert.deepStrictEqual(yield* run({ SECRET_KEY: "" }, "decode", "text"), failure(2, empty, "django-key-invalid"))
      assert.deepStrictEqual(
        yield* check(current, "--database-url", "redis://127.0.0.1"),
        failure(
          2,
          "Redis and files have no table of Django: give the URL of the SQL database of the Django project.",
          "database-url-invalid"
        )
      )
      assert.deepStrictEqual(
        yield* check(current, "--database-url", "sqlite:none.sqlite"),
        failure(1, "There is no file none.sqlite: give the database file of the Django project.", "store-missing")
      )
      assert.deepStrictEqual(
        yield* check(current, "--database-url", "postgres://ann:hunter2@127.0.0.1:1/shop"),
        failure(1, "The database at 127.0.0.1:1 cannot be reached (ECONNREFUSED).", "database-unreachable")
      )
    }))

  it.live("rejects an option that it cannot use", () =>
    Effect.gen(function*() {
      const rejected = (...args: ReadonlyArray<string>) =>
        check(current, "--database-url", "sqlite:package.json", ...args)
      assert.deepStrictEqual(
        yield* rejected("--time-zone", "Mars/Olympus"),
        failure(2, "--time-zone takes the name of a time zone, such as Europe/Paris.", "cli-usage")
      )
      assert.deepStrictEqual(
        yield* rejected("--sample", "0"),
        failure(2, "--sample takes a whole number from 1 to 100000.", "cli-usage")
      )
      assert.deepStrictEqual(
        yield* rejected("--table", "a b"),
        failure(
          2,
          "table must be the name of a table: letters, digits and underscores, with a schema and a dot in front of it if necessary.",
          "table-names-invalid"
        )
      )
      assert.deepStrictEqual(
        yield* runWith(current, ["django"]),
        failure(2, "A command is missing: django check or django decode.", "cli-usage")
      )
    }))
})

describe("django decode", () => {
  const secrets = `"_auth_user_hash":"0a1b","_csrftoken":"token"`
  const text = `{"_auth_user_id":"1",${secrets},"n":12345678901234567890,"x":1.0,"s":"\\ud800","_session_expiry":60}`
  const hidden = text.replace(secrets, `"_auth_user_hash":"(hidden)","_csrftoken":"(hidden)"`)

  it.scopedLive("prints the text of Python, and hides what proves a login", () =>
    Effect.gen(function*() {
      const worker = yield* Django.worker()
      const data = yield* worker.encode(text)
      const shown = yield* run(current, "decode", data)
      assert.deepStrictEqual([shown.exitCode, shown.stderr], [0, ""])
      const signed = /^signed +(\S+)\n/.exec(shown.stdout)?.[1] ?? "none"
      assert.strictEqual(new Date(signed).toISOString(), signed)
      assert.strictEqual(
        shown.stdout,
        `signed      ${signed}\nby          SECRET_KEY\ncompressed  ${
          data.startsWith(".") ? "yes" : "no"
        }\nuser        1\n` +
          `ends        60 seconds after the last save\n${hidden}\n`
      )
      const all = yield* run(current, "decode", data, "--show-secrets")
      assert.strictEqual(all.stdout.trimEnd().split("\n").at(-1), text)

      const json = yield* run({ SECRET_KEY: "new", SECRET_KEY_FALLBACKS: Django.secretKey }, "decode", "--json", data)
      assert.deepStrictEqual(JSON.parse(json.stdout), {
        signedAt: signed,
        key: "SECRET_KEY_FALLBACKS[0]",
        compressed: data.startsWith("."),
        user: "1",
        expiry: { seconds: 60 },
        data: hidden
      })
    }))

  it.scopedLive("prints each form of an end, and whether the text was compressed", () =>
    Effect.gen(function*() {
      const worker = yield* Django.worker()
      const endOf = (member: string, ...options: ReadonlyArray<string>) =>
        Effect.flatMap(worker.encode(`{${member}}`), (data) =>
          Effect.map(run(current, "decode", data, ...options), ({ stdout }) =>
            /^ends +(.+)$/m.exec(stdout)?.[1]))
      assert.strictEqual(yield* endOf(""), "SESSION_COOKIE_AGE after the last save")
      assert.strictEqual(yield* endOf(`"_session_expiry":0`), "with the browser session")
      assert.strictEqual(
        yield* endOf(`"_session_expiry":"2100-01-01T12:00:00+05:30"`),
        "2100-01-01T06:30:00.000Z"
      )
      const naive = `"_session_expiry":"2100-01-01T12:00:00"`
      assert.strictEqual(
        yield* endOf(naive),
        "2100-01-01T12:00:00.000Z (a date without an offset, taken for UTC: --time-zone)"
      )
      assert.strictEqual(yield* endOf(naive, "--time-zone", "Asia/Kolkata"), "2100-01-01T06:30:00.000Z")

      const long = yield* worker.encode(`{"a":"${"a".repeat(1000)}"}`)
      assert.match((yield* run(current, "decode", long)).stdout, /^compressed +yes$/m)
      const short = yield* worker.encode(`{"a":"b"}`)
      assert.match((yield* run(current, "decode", short)).stdout, /^compressed +no$/m)
    }))

  it.scopedLive("rejects a bad signature and a pickle, and does not repeat the text", () =>
    Effect.gen(function*() {
      const data = yield* (yield* Django.worker()).encode(text)
      const unsigned = failure(
        1,
        "The session cannot be read. Its text has no signature of these secret keys and this salt.",
        "django-session-unreadable"
      )
      assert.deepStrictEqual(yield* run({ SECRET_KEY: older }, "decode", data), unsigned)
      assert.deepStrictEqual(yield* run(current, "decode", `${data}x`), unsigned)
      assert.deepStrictEqual(yield* run(current, "decode", data, "--salt", "other"), unsigned)
      assert.deepStrictEqual(yield* run(current, "decode", ""), unsigned)
      const pickle = yield* (yield* Django.worker({ settings: pickled })).encode(text)
      assert.deepStrictEqual(
        yield* run(current, "decode", pickle),
        failure(
          1,
          "The session cannot be read. Its text was written by Django's PickleSerializer. A pickle can run any program, so it is never " +
            "decoded: set Django's SESSION_SERIALIZER to django.contrib.sessions.serializers.JSONSerializer.",
          "django-session-unreadable"
        )
      )
    }))

  it.scopedLive("reads a signed cookie with its salt", () =>
    Effect.gen(function*() {
      const worker = yield* Django.worker({
        settings: { SESSION_ENGINE: "django.contrib.sessions.backends.signed_cookies" }
      })
      const cookie = yield* worker.save("signed_cookies", `{"cart":1.0}`)
      const answer = yield* run(current, "decode", cookie, "--salt", "django.contrib.sessions.backends.signed_cookies")
      assert.match(answer.stdout, /\n\{"cart":1\.0\}\n$/)
    }))
})
