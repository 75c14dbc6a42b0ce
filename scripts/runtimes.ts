/**
 * `npm run test:runtimes`: serves the packed package on every supported runtime, and tests it by HTTP requests.
 *
 * `npm run test:runtimes -- node22 bun` selects some. The runtimes are installed in `test/runtimes` when they are missing.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as SqlClient from "@effect/sql/SqlClient"
import { Effect, Exit, Layer, Redacted, Scope } from "effect"
import { build } from "esbuild"
import { Miniflare } from "miniflare"
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync
} from "node:fs"
import { get, type IncomingMessage } from "node:http"
import * as Path from "node:path"
import * as EmbeddedPostgres from "../examples/shop/EmbeddedPostgres.js"
import { type Answer, checks, type Outcome } from "../test/runtimes/checks.js"
import { run, tarball } from "../test/support/tarballs.js"
import { memoryFolder } from "../test/support/temporaryDirectories.js"

const folder = Path.resolve("test/runtimes")
const modules = Path.join(folder, "node_modules")
const built = Path.join(folder, "build")

interface Server {
  readonly version: string
  readonly origin: string
  readonly stop: () => Promise<void> | void
}

interface Places {
  /** The URL of a Postgres with a database of this runtime's own. */
  readonly url: string
  /** An empty directory. */
  readonly directory: string
}

interface Runtime {
  readonly name: string
  readonly start: (places: Places) => Promise<Server>
}

/** The packages that ship the binaries, by platform. */
const platforms: Readonly<Record<string, { readonly bun: string; readonly deno: string }>> = {
  "linux-arm64": { bun: "@oven/bun-linux-aarch64", deno: "@deno/linux-arm64-glibc" },
  "linux-x64": { bun: "@oven/bun-linux-x64", deno: "@deno/linux-x64-glibc" }
}

const platform = `${process.platform}-${process.arch}`

const binary = (packageOf: (names: { readonly bun: string; readonly deno: string }) => string, path: string) => {
  const names = platforms[platform]
  if (names === undefined) {
    throw new Error(
      `The runtimes are tested on ${Object.keys(platforms).join(" and ")} only, and this machine is ${platform}.`
    )
  }
  const file = Path.join(modules, packageOf(names), path)
  if (!existsSync(file)) throw new Error(`There is no ${file}: run \`npm ci --ignore-scripts\` in test/runtimes.`)
  return file
}

/** Starts a program that prints the port on which it listens. */
const startProgram = async (program: string, args: ReadonlyArray<string>, version: string): Promise<Server> => {
  const child = spawn(program, args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] })
  process.once("exit", () => child.kill("SIGKILL"))
  return { version, origin: await originOf(child), stop: () => stopped(child) }
}

const originOf = (child: ChildProcess): Promise<string> =>
  new Promise((resolve, reject) => {
    let output = ""
    // A program that never listens must not hold up the run.
    const limit = setTimeout(() => child.kill("SIGKILL"), 60_000)
    child.once("exit", () => clearTimeout(limit))
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        output = `${output}${chunk}`.slice(-4000)
        const port = /listening on (\d+)/.exec(output)?.[1]
        if (port === undefined) return
        clearTimeout(limit)
        resolve(`http://127.0.0.1:${port}`)
      })
    }
    child.once("error", reject)
    child.once("exit", (code) => reject(new Error(`The program ended with ${code} before it listened: ${output}`)))
  })

const stopped = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    child.removeAllListeners("exit")
    child.once("exit", () => resolve())
    child.kill("SIGKILL")
  })

const versionOf = (program: string, ...args: ReadonlyArray<string>): string =>
  execFileSync(program, args, { encoding: "utf8" }).trim().split("\n", 1).join("")

const node = (major: number): Runtime => ({
  name: `node${major}`,
  start: ({ directory, url }) => {
    const program = binary(() => `node${major}-${platform}`, "bin/node")
    return startProgram(
      program,
      [Path.join(built, "node.js"), url, directory],
      versionOf(program, "-p", "process.version")
    )
  }
})

const bun: Runtime = {
  name: "bun",
  start: ({ directory, url }) => {
    const program = binary(({ bun }) => bun, "bin/bun")
    return startProgram(program, [Path.join(built, "bun.js"), url, directory], versionOf(program, "--version"))
  }
}

const deno: Runtime = {
  name: "deno",
  start: ({ url }) => {
    const program = binary(({ deno }) => deno, "deno")
    const args = ["run", "--no-prompt", "--allow-net", "--allow-env", "--allow-read", "--allow-sys"]
    return startProgram(
      program,
      [...args, Path.join(built, "deno.js"), url],
      versionOf(program, "--version")
    )
  }
}

const workerd: Runtime = {
  name: "workerd",
  start: async () => {
    const { version }: { readonly version: string } = JSON.parse(
      readFileSync("node_modules/workerd/package.json", "utf8")
    )
    const { outputFiles } = await build({
      entryPoints: [Path.join(built, "workerd.js")],
      bundle: true,
      write: false,
      format: "esm",
      platform: "browser",
      conditions: ["workerd", "worker"],
      logLevel: "silent"
    })
    const worker = new Miniflare({
      modules: true,
      script: outputFiles[0]?.text ?? "",
      compatibilityDate: "2026-04-01",
      d1Databases: ["DB"]
    })
    return { version, origin: (await worker.ready).origin, stop: () => worker.dispose() }
  }
}

const runtimes: ReadonlyArray<Runtime> = [node(20), node(22), node(24), bun, deno, workerd]

/** Installs the runtimes and what an application on them installs, unless that is done. */
const install = async () => {
  if (existsSync(Path.join(modules, ".package-lock.json"))) return
  console.log("Installing the runtimes in test/runtimes (about 850 MB).")
  await run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder).catch((error: unknown) => {
    throw new Error(`The runtimes could not be installed from npm: ${error instanceof Error ? error.message : error}`)
  })
}

/** Packs the package, unpacks it where an installation would, and removes the types of the programs. */
const prepare = async (temporary: string) => {
  await run("npm", ["pack", "--pack-destination", temporary], process.cwd())
  await run("tar", ["xzf", tarball], temporary)
  const target = Path.join(modules, "effect-session")
  rmSync(target, { recursive: true, force: true })
  cpSync(Path.join(temporary, "package"), target, { recursive: true })
  rmSync(built, { recursive: true, force: true })
  const programs = Path.join(folder, "programs")
  await build({
    entryPoints: readdirSync(programs).map((file) => Path.join(programs, file)),
    outdir: built,
    format: "esm",
    target: "es2022",
    logLevel: "silent"
  })
  // Bun reads the `paths` of the nearest configuration: those of the repository lead to the sources instead of the package.
  writeFileSync(Path.join(built, "tsconfig.json"), "{}\n")
}

/** Tests one runtime, prints a line, and returns its outcomes. */
const test = async (runtime: Runtime, places: Places): Promise<ReadonlyArray<Outcome>> => {
  const begin = Date.now()
  mkdirSync(places.directory, { recursive: true })
  const server = await runtime.start(places)
  try {
    const outcomes = await checks(sender(server.origin))
    const failed = outcomes.filter(({ problem }) => problem !== undefined)
    const seconds = Math.round((Date.now() - begin) / 1000)
    console.log(
      `${runtime.name} (${server.version}): ${
        outcomes.length - failed.length
      } passed, ${failed.length} failed, ${seconds} s`
    )
    for (const { name, problem } of failed) console.log(`  ${name}: ${problem}`)
    return outcomes
  } finally {
    await server.stop()
  }
}

/** Sends each request on a connection of its own: a server may close an idle one at any moment. */
const sender = (origin: string) => async (path: string, cookie = ""): Promise<Answer> => {
  const request = get(new URL(path, origin), {
    agent: false,
    headers: { cookie },
    signal: AbortSignal.timeout(120_000)
  })
  const [response]: Array<IncomingMessage> = await once(request, "response")
  if (response === undefined) throw new Error("There is no response.")
  const text = (await response.setEncoding("utf8").toArray()).join("")
  return { status: response.statusCode ?? 0, text, setCookies: response.headers["set-cookie"] ?? [] }
}

/** Creates a database of this name, so that no runtime finds the tables of another. */
const databaseFor = async (url: string, name: string): Promise<string> => {
  const client = Layer.orDie(PgClient.layer({ url: Redacted.make(url), maxConnections: 1 }))
  const created = Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe(`CREATE DATABASE ${name}`))
  await Effect.runPromise(Effect.provide(created, client))
  return Object.assign(new URL(url), { pathname: name }).href
}

/** Starts a Postgres, and stops it afterwards. */
const withPostgres = async <A>(temporary: string, use: (url: string) => Promise<A>): Promise<A> => {
  const scope = Effect.runSync(Scope.make())
  try {
    const directory = Path.join(temporary, "postgres")
    return await use(await Effect.runPromise(Scope.extend(EmbeddedPostgres.make({ directory }), scope)))
  } finally {
    await Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

const selected = (names: ReadonlyArray<string>): ReadonlyArray<Runtime> => {
  const unknown = names.filter((name) => !runtimes.some((runtime) => runtime.name === name))
  if (unknown.length > 0) {
    throw new Error(`There is no runtime ${unknown.join(", ")}: choose ${runtimes.map(({ name }) => name).join(", ")}.`)
  }
  return names.length === 0 ? runtimes : runtimes.filter(({ name }) => names.includes(name))
}

const main = async (names: ReadonlyArray<string>) => {
  const chosen = selected(names)
  const temporary = mkdtempSync(Path.join(memoryFolder, "effect-session-runtimes-"))
  // Postgres runs as another user if this script runs as root.
  chmodSync(temporary, 0o755)
  try {
    await install()
    await prepare(temporary)
    return await withPostgres(temporary, async (url) => {
      const outcomes: Array<Outcome> = []
      const left = [...chosen]
      const worker = async () => {
        for (let runtime = left.shift(); runtime !== undefined; runtime = left.shift()) {
          const places = { url: await databaseFor(url, runtime.name), directory: Path.join(temporary, runtime.name) }
          outcomes.push(...await test(runtime, places))
        }
      }
      // Two at a time: each mostly waits for its own process.
      await Promise.all([worker(), worker()])
      return outcomes
    })
  } finally {
    rmSync(temporary, { recursive: true, force: true })
  }
}

try {
  const outcomes = await main(process.argv.slice(2))
  const failed = outcomes.filter(({ problem }) => problem !== undefined).length
  console.log(`${outcomes.length - failed} passed, ${failed} failed`)
  process.exitCode = outcomes.length > 0 && failed === 0 ? 0 : 1
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
