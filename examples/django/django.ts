/**
 * Runs the Django project of `site`.
 */
import { Command } from "@effect/platform"
import { Data, Effect } from "effect"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { freePort } from "../shop/freePort.js"
import { answers } from "../shop/server.js"

export class DjangoError extends Data.TaggedError("DjangoError")<{ readonly message: string }> {}

const site = fileURLToPath(new URL("site", import.meta.url))

/** Imports Django, and one of the drivers of Postgres that it uses. */
const check = `import django
try: import psycopg
except ImportError: import psycopg2`

/** The first of these programs that has Django: that of a virtual environment, or Debian's. */
const python = Effect.findFirst(
  ["python3", "/usr/bin/python3", "python"],
  (program) =>
    Command.exitCode(Command.make(program, "-c", check)).pipe(
      Effect.map((code) => code === 0),
      Effect.orElseSucceed(() => false)
    )
).pipe(
  Effect.flatten,
  Effect.mapError(() =>
    new DjangoError({
      message:
        "The example needs Django and its driver of Postgres: run `sudo apt-get install python3-django python3-psycopg2`, or " +
        "`pip install django psycopg2-binary` in a virtual environment, and activate it."
    })
  )
)

/** Creates Django's tables and a user, and serves the project on a free port until the end of the scope. */
export const serve = (
  environment: Readonly<Record<"DATABASE_URL" | "SECRET_KEY", string>>,
  user: { readonly name: string; readonly password: string }
) =>
  Effect.gen(function*() {
    const program = yield* python
    const manage = (...args: ReadonlyArray<string>) =>
      Command.make(program, "-B", Path.join(site, "manage.py"), ...args, "--verbosity", "0").pipe(
        Command.env(environment),
        Command.stderr("inherit")
      )
    const run = (...args: ReadonlyArray<string>) =>
      Effect.filterOrFail(
        Command.exitCode(manage(...args)),
        (code) => code === 0,
        () => new DjangoError({ message: `Django failed in "manage.py ${args[0] ?? ""}": its output is above.` })
      )
    yield* run("migrate")
    yield* run(
      "shell",
      "--command",
      "from django.contrib.auth.models import User\n" +
        `User.objects.filter(username="${user.name}").exists() or User.objects.create_user("${user.name}", password="${user.password}")`
    )
    const port = yield* freePort
    const server = yield* Command.start(manage("runserver", "--noreload", `127.0.0.1:${port}`))
    const open = Effect.repeat(Effect.delay(answers({ host: "127.0.0.1", port }), "50 millis"), {
      until: (open) => open
    })
    const ended = Effect.zipRight(
      server.exitCode,
      new DjangoError({ message: "Django ended before it answered: its output is above." })
    )
    yield* Effect.raceFirst(open, ended)
    return port
  })
