/**
 * Runs the Django project of `site`.
 */
import { Command } from "@effect/platform"
import { Data, Effect } from "effect"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { freePort } from "../shop/freePort.js"
import { answers } from "../shop/server.js"

export class NoDjango extends Data.TaggedError("NoDjango")<{ readonly message: string }> {}

const site = fileURLToPath(new URL("site", import.meta.url))

/** The first of these programs that has Django and the driver of Postgres. */
const python = Effect.firstSuccessOf(
  ["python3", "/usr/bin/python3", "python"].map((program) =>
    Effect.filterOrFail(
      Effect.map(
        Effect.exit(Command.exitCode(Command.make(program, "-c", "import django, psycopg2"))),
        (exit) => exit._tag === "Success" && exit.value === 0 ? program : undefined
      ),
      (program) => program !== undefined,
      () =>
        new NoDjango({
          message:
            "Django is not installed for any python3 here: run `sudo apt-get install python3-django python3-psycopg2`, or " +
            "`pip install django psycopg2-binary` in a virtual environment that is active."
        })
    )
  )
)

/** Creates Django's tables and a user, and serves the project on a free port until the end of the scope. */
export const serve = (environment: Readonly<Record<"DATABASE_URL" | "SECRET_KEY", string>>, user: {
  readonly name: string
  readonly password: string
}) =>
  Effect.gen(function*() {
    const program = yield* python
    const manage = (...args: ReadonlyArray<string>) =>
      Command.make(program, "-B", Path.join(site, "manage.py"), ...args).pipe(
        Command.workingDirectory(site),
        Command.env(environment),
        Command.stderr("inherit")
      )
    const run = (...args: ReadonlyArray<string>) =>
      Effect.filterOrFail(
        Command.exitCode(manage(...args)),
        (code) => code === 0,
        () => new NoDjango({ message: `Django failed in "manage.py ${args[0] ?? ""}": its output is above.` })
      )
    yield* run("migrate", "--verbosity", "0")
    yield* run(
      "shell",
      "--command",
      `from django.contrib.auth.models import User
User.objects.filter(username="${user.name}").exists() or User.objects.create_user("${user.name}", password="${user.password}")`
    )
    const port = yield* freePort
    const server = yield* Command.start(manage("runserver", "--noreload", "--verbosity", "0", `127.0.0.1:${port}`))
    const up = Effect.repeat(Effect.delay(answers({ host: "127.0.0.1", port }), "50 millis"), { until: (up) => up })
    const ended = Effect.zipRight(
      server.exitCode,
      new NoDjango({ message: "Django ended before it answered: its output is above." })
    )
    yield* Effect.raceFirst(up, ended)
    return port
  })
