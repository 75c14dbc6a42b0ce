/**
 * The command line of the shop: its progress, its usage, and one sentence for each reason why it cannot start.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "vitest"

const root = process.cwd()
let project: string
let data: string

beforeEach(() => {
  project = mkdtempSync(Path.join(tmpdir(), "effect-session-start-"))
  data = Path.join(project, ".data")
  // The embedded Postgres, and the child without permissions, run as other users.
  chmodSync(project, 0o755)
  cpSync(Path.join(root, "examples"), Path.join(project, "examples"), { recursive: true })
  for (const name of ["package.json", "tsconfig.json", "src", "node_modules"]) {
    symlinkSync(Path.join(root, name), Path.join(project, name))
  }
})

afterEach(() => {
  chmodSync(project, 0o755)
  rmSync(project, { recursive: true, force: true })
})

interface Run {
  readonly code: number | null
  readonly output: string
  readonly errors: string
}

/** Starts the shop, and closes it when it is open. `uid`: the user that it runs as, if the tests run as root. */
const start = async (
  args: ReadonlyArray<string>,
  environment: Readonly<Record<string, string>> = {},
  uid?: number
): Promise<Run> => {
  const child = spawn(process.execPath, ["--import", "tsx", "examples/shop/main.ts", ...args], {
    cwd: project,
    env: { PATH: process.env.PATH, HOME: project, TMPDIR: tmpdir(), PORT: "0", ...environment },
    ...(uid !== undefined && process.getuid?.() === 0 ? { uid, gid: uid } : {})
  })
  let output = ""
  let errors = ""
  child.stdout.on("data", (chunk) => {
    output += chunk
    if (output.includes("The shop is open at")) child.kill("SIGINT")
  })
  child.stderr.on("data", (chunk) => errors += chunk)
  const [code] = await once(child, "close")
  return { code, output, errors }
}

describe("the command line of the shop", () => {
  it("--help prints every engine and variable", async () => {
    const { code, errors, output } = await start(["--help"])
    assert.deepStrictEqual([code, errors], [0, ""])
    for (const word of ["sql", "sqlite", "mysql", "redis", "file", "memory", "cookie"]) {
      assert.match(output, new RegExp(`^  ${word} `, "m"))
    }
    for (const word of ["PORT", "DATABASE_URL", "MYSQL_URL", "REDIS_URL", "SESSION_KEYS"]) assert.include(output, word)
  })

  const wrong: Readonly<Record<string, readonly [args: ReadonlyArray<string>, expected: RegExp]>> = {
    "an unknown option": [["--engin", "sqlite"], /^Unknown option '--engin': .*--help.*\n$/],
    "an unexpected argument": [["sqlite"], /^Unexpected argument 'sqlite': .*--help.*\n$/],
    "an option without its value": [["--engine"], /^Option '--engine <value>' argument missing: .*--help.*\n$/],
    "an unknown engine": [["--engine", "toString"], /^There is no engine "toString": .*--help.*\n$/]
  }
  for (const [title, [args, expected]] of Object.entries(wrong)) {
    it(`rejects ${title} with one sentence and the exit code 2`, async () => {
      const { code, errors, output } = await start(args)
      assert.match(errors, expected)
      assert.deepStrictEqual([code, output], [2, ""])
    })
  }
})

describe("the start of the shop", () => {
  it("prints what it waits for", async () => {
    const { errors, output } = await start(["--engine", "sqlite"])
    assert.match(
      output,
      /^Opening SQLite at .*\.data\/sessions\.sqlite …\nCreating tables …\nThe shop is open at http:\/\/127\.0\.0\.1:\d+ - Ctrl-C closes it\.\n$/
    )
    assert.strictEqual(errors, "")
  })

  it("on a port that is in use names the variable for another one", async () => {
    const server = createServer().listen(0, "127.0.0.1")
    await once(server, "listening")
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    const { code, errors } = await start(["--engine", "memory"], { PORT: String(port) })
    server.close()
    assert.strictEqual(errors, `Port ${port} is in use: stop what listens there, or set PORT to another one.\n`)
    assert.strictEqual(code, 1)
  })

  for (
    const [engine, variable, url] of [
      ["sql", "DATABASE_URL", "postgres://shop:hunter2@127.0.0.1:1/shop"],
      ["mysql", "MYSQL_URL", "mysql://shop:hunter2@127.0.0.1:1/shop"]
    ] as const
  ) {
    it(`on a database that cannot be reached names ${variable} and the reason, without the password`, async () => {
      const { code, errors, output } = await start(["--engine", engine], { [variable]: url })
      assert.match(
        errors,
        new RegExp(
          `^The database at ${variable} cannot be used \\(connect ECONNREFUSED 127\\.0\\.0\\.1:1\\): .*\\?\\n$`
        )
      )
      assert.notInclude(errors + output, "hunter2")
      assert.strictEqual(code, 1)
    })
  }

  for (const engine of ["sql", "sqlite", "file", "cookie"]) {
    it(`on ${engine} with a file in place of the data folder names the folder and the reason`, async () => {
      writeFileSync(data, "")
      const { code, errors } = await start(["--engine", engine])
      assert.match(errors, /^The folder .*\.data.* cannot be written \((?:EEXIST|ENOTDIR): [^)]*\): .*\.\n$/)
      assert.strictEqual(code, 1)
    })
  }

  it("with a data folder of another user names the folder and the reason", async () => {
    mkdirSync(data)
    chmodSync(data, 0o555)
    const { code, errors } = await start(["--engine", "sqlite"], {}, 65534)
    chmodSync(data, 0o755)
    assert.match(errors, /^The folder .*\.data.* cannot be written \(EACCES: permission denied\): .*\.\n$/)
    assert.strictEqual(code, 1)
  })

  it("on an embedded Postgres that fails prints the last lines of its log", async () => {
    const directory = Path.join(data, "postgres")
    mkdirSync(directory, { recursive: true })
    writeFileSync(Path.join(directory, "PG_VERSION"), "9.0\n")
    const { code, errors, output } = await start([])
    assert.match(output, /^Starting Postgres in .*\.data\/postgres …\n$/)
    assert.match(errors, /^Postgres did not start\. Its output: .*(?:postgres|FATAL): .+/)
    assert.notMatch(errors, /^\s+at /m)
    assert.strictEqual(code, 1)
  })

  it("on the embedded Postgres prints each step", async () => {
    const { errors, output } = await start([])
    assert.match(output, /^Starting Postgres in .*\nCreating tables …\nThe shop is open at .*\n$/)
    assert.strictEqual(errors, "")
  })
})
