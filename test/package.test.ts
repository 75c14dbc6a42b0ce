/**
 * The published tarball: it installs into an empty project, type-checks there under strict settings, runs, and its tag module
 * can be bundled for a browser.
 */
import { SqlClient } from "@effect/sql/SqlClient"
import { Effect, Layer, Schedule } from "effect"
import { build } from "esbuild"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { pathToFileURL } from "node:url"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { freePort } from "../examples/shop/freePort.js"
import { files as assistantFiles } from "../scripts/llms.js"
import { postgresDatabase } from "./support/databases.js"
import { install, run as runIn, tarball, version } from "./support/packedPackage.js"
import { postgresUrl } from "./support/serverClients.js"

const project = mkdtempSync(Path.join(tmpdir(), "effect-session-package-"))
const root = process.cwd()

const run = (command: string, args: ReadonlyArray<string>) => runIn(command, args, project)

beforeAll(async () => {
  await install(project)
  writeFileSync(Path.join(project, "session.ts"), session)
  writeFileSync(Path.join(project, "api.ts"), api)
  writeFileSync(Path.join(project, "main.ts"), main)
})

afterAll(() => rmSync(project, { recursive: true, force: true }))

/** The first program of the README. */
const [, pasted = ""] = /^```ts\n([^]*?)^```/m.exec(readFileSync("README.md", "utf8")) ?? []

/** Its line that creates the tables. */
const migrated = /^ *Layer\.provide\(SqlMigrations\.layer\),.*\n/m

const session = `
import { Schema } from "effect"
import { Session } from "effect-session"

export class AppSession extends Session.Tag<AppSession>()("app/Session", {
  schema: Schema.Struct({ visits: Schema.optionalWith(Schema.Number, { default: () => 0 }) })
}) {}
`

const api = `
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiClient from "@effect/platform/HttpApiClient"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import { Schema } from "effect"
import { AppSession } from "./session.js"

export class Visits extends HttpApiGroup.make("visits")
  .add(HttpApiEndpoint.get("count", "/visits").addSuccess(Schema.Number))
  .middleware(AppSession.HttpApi)
{}

export class Api extends HttpApi.make("api").add(Visits) {}

export const client = HttpApiClient.make(Api)
`

const main = `
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { Effect, Layer, ManagedRuntime } from "effect"
import * as SqlEngine from "effect-session/SqlEngine"
import * as SqlMigrations from "effect-session/SqlMigrations"
import { AppSession } from "./session.js"

const app = AppSession.middleware(
  AppSession.modify("visits", (n): readonly [number, number] => [n + 1, n + 1]).pipe(
    Effect.map((n) => HttpServerResponse.text(String(n)))
  )
)
const database = SqliteClient.layer({ filename: ":memory:" })
const runtime = ManagedRuntime.make(
  AppSession.layer.pipe(
    Layer.provide(SqlEngine.layer),
    Layer.provide(SqlMigrations.layer),
    Layer.provide(database)
  )
)
const handle = HttpApp.toWebHandlerRuntime(await runtime.runtime())(app)
const first = await handle(new Request("http://localhost/"))
const cookie = first.headers.getSetCookie()[0]?.split(";")[0] ?? ""
const second = await handle(new Request("http://localhost/", { headers: { cookie } }))
console.log(await first.text(), await second.text())
await runtime.dispose()
`

describe("the published package", () => {
  it("contains the expected files and no others", async () => {
    const files = (await run("tar", ["tzf", tarball])).trim().split("\n")
    for (
      const file of [
        "dist/index.js",
        "dist/index.d.ts",
        "dist/SqlEngine.js",
        "src/index.ts",
        "README.md",
        "LICENSE",
        "docs/troubleshooting.md",
        ...Object.keys(assistantFiles())
      ]
    ) {
      assert.include(files, `package/${file}`)
    }
    assert.deepStrictEqual(
      files.filter((file) =>
        !/^package\/(dist|src|package\.json|README\.md|LICENSE|CHANGELOG\.md|AGENTS\.md|llms(-full)?\.txt|docs\/troubleshooting\.md$)/
          .test(
            file
          )
      ),
      []
    )
  })

  it("contains the documentation for coding assistants as the docs are now", () => {
    for (const [file, text] of Object.entries(assistantFiles())) {
      assert.isTrue(readFileSync(Path.join(project, "package", file), "utf8") === text, file)
    }
  })

  it("type-checks and runs in an empty project under strict settings", async () => {
    await run("node_modules/typescript/bin/tsc", ["-p", "."])
    assert.strictEqual((await run("node", ["out/main.js"])).trim(), "1 2")
  })

  const emptyDatabase = Effect.gen(function*() {
    const context = yield* Layer.build(postgresDatabase())
    const [row] = yield* Effect.provide(
      Effect.flatMap(SqlClient, (sql) => sql<{ readonly name: string }>`SELECT current_database() AS name`),
      context
    )
    return postgresUrl(row?.name ?? "")
  })

  /** Starts the program on a free port, its only change. */
  const started = (program: string, database: string) =>
    Effect.gen(function*() {
      const port = yield* freePort
      assert.include(program, "port: 3000")
      const file = Path.join(project, `pasted-${port}.mts`)
      writeFileSync(file, program.replace("port: 3000", `host: "127.0.0.1", port: ${port}`))
      const child = yield* Effect.acquireRelease(
        Effect.sync(() =>
          spawn("node", ["--import", pathToFileURL("node_modules/tsx/dist/loader.mjs").href, file], {
            cwd: project,
            env: { PATH: process.env.PATH, DATABASE_URL: database },
            stdio: "pipe"
          })
        ),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      let output = ""
      for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => output += chunk)
      return { child, output: () => output, at: `http://127.0.0.1:${port}` }
    })

  it("the first program of the README runs as pasted, on an empty database", () =>
    Effect.gen(function*() {
      const { at, child, output } = yield* started(pasted, yield* emptyDatabase)
      const post = (path: string, cookie = "") =>
        Effect.promise(() => fetch(at + path, { method: "POST", headers: { cookie }, redirect: "manual" }))
      const answers = Effect.promise(() =>
        fetch(at, { signal: AbortSignal.timeout(5000) }).then(() => true, () => child.exitCode !== null)
      )
      // Loading the platform takes a while on a busy machine.
      yield* Effect.repeat(answers, { until: (answered) => answered, schedule: Schedule.spaced("100 millis") })
      assert.strictEqual(child.exitCode, null, output())
      const login = yield* post("/login")
      assert.strictEqual(login.status, 302, output())
      const cookie = login.headers.getSetCookie()[0]?.split(";")[0] ?? ""
      assert.match(cookie, /^__Host-Http-session=r1\./)
      for (const items of [1, 2]) {
        const answer = yield* post("/cart", cookie)
        assert.deepStrictEqual([answer.status, yield* Effect.promise(() => answer.json())], [200, { items }])
      }
    }).pipe(Effect.scoped, Effect.runPromise))

  it("the first program without its migrations does not start on an empty database, and the error names the command to run", () =>
    Effect.gen(function*() {
      assert.match(pasted, migrated)
      const { child, output } = yield* started(pasted.replace(migrated, ""), yield* emptyDatabase)
      yield* Effect.promise(() => once(child, "exit"))
      assert.strictEqual(child.exitCode, 1)
      assert.include(output(), "npx effect-session migrate --database-url")
      assert.include(output(), "SqlMigrations.layer")
    }).pipe(Effect.scoped, Effect.runPromise))

  it("has a command that prints its version", async () => {
    const program = JSON.parse(readFileSync("package.json", "utf8")).bin["effect-session"]
    const output = await run("node", [Path.join(project, "node_modules/effect-session", program), "--version"])
    assert.strictEqual(output.trim(), version)
  })

  it("does not export internal modules", async () => {
    writeFileSync(Path.join(project, "internal.mjs"), `import "effect-session/internal/json"`)
    const output = await run("node", ["internal.mjs"]).catch(String)
    assert.match(output, /ERR_PACKAGE_PATH_NOT_EXPORTED/)
  })

  it("the tag can be bundled for a browser, without Node modules", async () => {
    const text = await bundled("session.ts")
    assert.include(text, "app/Session")
    assert.notMatch(text, node)
  })

  it("an API with the session, and its client, can be bundled for a browser, without Node modules", async () => {
    const text = await bundled("api.ts")
    assert.include(text, "app/Session")
    assert.include(text, "/visits")
    assert.notMatch(text, node)
  })
})

const node = /from\s*"node:|require\("node:|import\("node:/

const bundled = async (file: string): Promise<string> => {
  const { outputFiles } = await build({
    entryPoints: [Path.join(project, file)],
    bundle: true,
    write: false,
    platform: "browser",
    format: "esm",
    absWorkingDir: project,
    preserveSymlinks: true,
    nodePaths: [Path.join(root, "node_modules")],
    logLevel: "silent"
  })
  return outputFiles[0]?.text ?? ""
}
