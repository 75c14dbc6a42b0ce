/**
 * A stranger's first minutes, from the two packages as they are published: creates an application, installs it from the registry, tests it,
 * starts it, and logs in with a browser, by the README of the application.
 */
import { SqlClient } from "@effect/sql/SqlClient"
import { Effect, Layer } from "effect"
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { chromium } from "playwright-core"
import { afterAll, assert, beforeAll, it } from "vitest"
import { press, settings } from "./browser/support.js"
import { postgresDatabase } from "./support/databases.js"
import { postgresUrl } from "./support/serverClients.js"
import { packages } from "./support/sharedServers.js"
import { started } from "./support/startedProject.js"
import { run, tarball, templateTarball } from "./support/tarballs.js"

const home = mkdtempSync(Path.join(tmpdir(), "effect-session-stranger-"))
const library = Path.join(home, tarball)
const creator = Path.join(home, templateTarball)
const options = ["--no-audit", "--no-fund", "--prefer-offline"]

beforeAll(() => cpSync(packages(), home, { recursive: true }))

afterAll(() => rmSync(home, { recursive: true, force: true }))

it(
  "creates, installs, tests and starts an application on Postgres, logs in and out with a browser",
  () =>
    Effect.gen(function*() {
      const tool = Path.join(home, "tool")
      mkdirSync(tool)
      writeFileSync(Path.join(tool, "package.json"), JSON.stringify({ name: "tool", private: true }))
      yield* Effect.promise(() => run("npm", ["install", ...options, creator], tool))
      const choices = ["--front-end", "http-api", "--engine", "postgres"]
      yield* Effect.promise(() => run("npx", ["create-effect-session", "../my-app", ...choices], tool))

      const app = Path.join(home, "my-app")
      const manifest = JSON.parse(readFileSync(Path.join(app, "package.json"), "utf8"))
      // The registry does not have this version yet.
      manifest.dependencies["effect-session"] = `file:${library}`
      writeFileSync(Path.join(app, "package.json"), JSON.stringify(manifest))
      const readme = readFileSync(Path.join(app, "README.md"), "utf8")
      for (const command of ["npm install", "npm test", "npm start"]) assert.include(readme, `\n${command}`)
      yield* Effect.promise(() => run("npm", ["install", ...options], app))
      const tests = yield* Effect.promise(() => run("npm", ["test"], app))
      assert.match(tests, /Tests .*6 passed/)

      const database = yield* Layer.build(postgresDatabase())
      const [row] = yield* Effect.provide(
        Effect.flatMap(SqlClient, (sql) => sql<{ readonly name: string }>`SELECT current_database() AS name`),
        database
      )
      const address = yield* started(app, { DATABASE_URL: postgresUrl(row?.name ?? "") })
      const browser = yield* Effect.acquireRelease(
        Effect.promise(() => chromium.launch(settings())),
        (browser) => Effect.promise(() => browser.close())
      )
      const [, name = "", password = ""] = /log in as `(.+)` with the password `(.+)`/.exec(readme) ?? []
      yield* Effect.promise(async () => {
        const page = await browser.newPage()
        await page.goto(address)
        await press(page, "Log in")
        await page.getByLabel("Name").fill(name)
        await page.getByLabel("Password").fill(password)
        await press(page, "Log in")
        assert.strictEqual(new URL(page.url()).pathname, "/account")
        assert.match(await page.getByRole("listitem").innerText(), /Chrome.*This device/s)
        await press(page, "Log out")
        await page.goto(`${address}/account`)
        assert.strictEqual(new URL(page.url()).pathname, "/login")
      })
    }).pipe(Effect.scoped, Effect.runPromise),
  600_000
)
