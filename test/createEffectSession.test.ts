/**
 * The template: every combination of its choices type-checks with the packed library; some run their own tests, and start.
 */
import { SqlClient } from "@effect/sql/SqlClient"
import { Effect, Layer } from "effect"
import { execFile } from "node:child_process"
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import {
  dependenciesOf,
  devDependencies,
  type Engine,
  engines,
  type FrontEnd,
  frontEnds,
  isEngine,
  isFrontEnd
} from "../create-effect-session/src/choices.js"
import { postgresDatabase } from "./support/databases.js"
import { install, run, version } from "./support/packedPackage.js"
import { postgresUrl } from "./support/serverClients.js"
import { packages } from "./support/sharedServers.js"
import { started } from "./support/startedProject.js"
import { templateTarball } from "./support/tarballs.js"

const outside = mkdtempSync(Path.join(tmpdir(), "effect-session-create-"))
const root = process.cwd()
const program = Path.join(outside, "tool/dist/bin.js")
let packed: ReadonlyArray<string> = []

beforeAll(async () => {
  await install(outside)
  for (const tool of [".bin", "@clack", "vitest"]) {
    symlinkSync(Path.join(root, "node_modules", tool), Path.join(outside, "node_modules", tool))
  }
  const archive = Path.join(packages(), templateTarball)
  const unpacked = Path.join(outside, "unpacked")
  mkdirSync(unpacked)
  await run("tar", ["xzf", archive], unpacked)
  renameSync(Path.join(unpacked, "package"), Path.join(outside, "tool"))
  packed = (await run("tar", ["tzf", archive], outside)).trim().split("\n")
})

afterAll(() => rmSync(outside, { recursive: true, force: true }))

/** Runs the program without a terminal. */
const create = (...args: ReadonlyArray<string>) =>
  new Promise<{ readonly code: unknown; readonly stdout: string; readonly stderr: string }>((resolve) => {
    const child = execFile(
      "node",
      [program, ...args],
      { cwd: outside },
      (error, stdout, stderr) => resolve({ code: error === null ? 0 : error.code, stdout, stderr })
    )
    child.stdin?.end()
  })

describe("the package create-effect-session", () => {
  it("has the version of the library, and installs the versions that are tested here", () => {
    const read = (file: string) => JSON.parse(readFileSync(file, "utf8"))
    const own = read("create-effect-session/package.json")
    const tested: Readonly<Record<string, string>> = {
      ...read("package.json").devDependencies,
      "effect-session": version
    }
    assert.strictEqual(own.version, version)
    const installed = [
      own.dependencies,
      devDependencies,
      ...Object.keys(engines).filter(isEngine).map((engine) => dependenciesOf("http-api", engine, version))
    ].flatMap((dependencies) => Object.entries(dependencies))
    assert.deepStrictEqual(installed.filter(([name, exact]) => tested[name] !== exact), [])
  })

  it("contains the program and the template, and nothing else", () => {
    assert.includeMembers([...packed], [
      "package/dist/bin.js",
      "package/template/base/gitignore",
      "package/template/base/.dockerignore",
      "package/template/base/src/main.ts",
      "package/template/engines/postgres/.env.example",
      "package/LICENSE",
      "package/README.md"
    ])
    assert.deepStrictEqual(
      packed.filter((file) => !/^package\/(?:dist\/|template\/|package\.json$|README\.md$|LICENSE$)/.test(file)),
      []
    )
  })

  it("the README of both packages names this version", () => {
    const minor = version.replace(/\.\d+$/, "")
    for (const file of ["README.md", "create-effect-session/README.md"]) {
      const named = [...readFileSync(file, "utf8").matchAll(/create effect-session@([\d.]+)/g)].map(([, at]) => at)
      assert.isNotEmpty(named)
      assert.deepStrictEqual([...new Set(named)], [minor])
    }
  })

  it("prints its version and its options", async () => {
    assert.strictEqual((await create("--version")).stdout, `${version}\n`)
    const { code, stdout } = await create("--help")
    assert.strictEqual(code, 0)
    for (const name of ["--front-end", "--engine", ...Object.keys(engines), ...Object.keys(frontEnds)]) {
      assert.include(stdout, name)
    }
  })

  for (
    const [args, message] of [
      [["app", "--engine", "oracle", "--yes"], /^There is no --engine "oracle": take postgres, sqlite, .*\.\n$/],
      [["app", "--front-end", "rpc", "--yes"], /^There is no --front-end "rpc": take http-api, router\.\n$/],
      [["app", "--colour"], /^Unknown option '--colour'.*\n$/],
      [["app", "other", "--yes"], /^Give one folder, not 2\.\n$/],
      [["app"], /^Without a terminal, give --front-end, or --yes for the defaults\.\n$/]
    ] as const
  ) {
    it(`refuses ${args.join(" ")} with one sentence and exit code 2`, async () => {
      const { code, stderr, stdout } = await create(...args)
      assert.match(stderr, message)
      assert.deepStrictEqual([code, stdout], [2, ""])
      assert.isFalse(existsSync(Path.join(outside, "app")))
    })
  }

  it("refuses a folder that is not empty with one sentence and exit code 1", async () => {
    mkdirSync(Path.join(outside, "full"))
    writeFileSync(Path.join(outside, "full/notes.txt"), "mine")
    assert.deepStrictEqual(await create("full", "--yes"), {
      code: 1,
      stdout: "",
      stderr: "The folder full is not empty: choose another one.\n"
    })
  })
})

const folderOf = (frontEnd: FrontEnd, engine: Engine) => Path.join(outside, `${frontEnd}-${engine}`)

describe("the application", () => {
  for (const frontEnd of Object.keys(frontEnds).filter(isFrontEnd)) {
    for (const engine of Object.keys(engines).filter(isEngine)) {
      it(`${frontEnd}, ${engine}: is created and type-checks`, async () => {
        const folder = folderOf(frontEnd, engine)
        const { code, stdout } = await create(Path.basename(folder), "--front-end", frontEnd, "--engine", engine)
        assert.strictEqual(code, 0)
        assert.include(stdout, "npm install")
        await run("npm", ["run", "--silent", "check"], folder)
        assert.notMatch(readFileSync(Path.join(folder, ".env"), "utf8"), /^SESSION_KEYS=$/m)
        assert.include(readFileSync(Path.join(folder, ".gitignore"), "utf8"), ".env\n")
      })
    }
  }

  const postgres = Effect.gen(function*() {
    const context = yield* Layer.build(postgresDatabase())
    const [row] = yield* Effect.provide(
      Effect.flatMap(SqlClient, (sql) => sql<{ readonly name: string }>`SELECT current_database() AS name`),
      context
    )
    return { DATABASE_URL: postgresUrl(row?.name ?? "") }
  })

  for (
    const [frontEnd, engine, environment] of [
      ["http-api", "sqlite", Effect.succeed({})],
      ["router", "memory", Effect.succeed({})],
      ["http-api", "postgres", postgres],
      ["router", "cookie", Effect.succeed({})]
    ] as const
  ) {
    it(`${frontEnd}, ${engine}: passes its tests, starts, and logs in`, () =>
      Effect.gen(function*() {
        const folder = folderOf(frontEnd, engine)
        yield* Effect.promise(() => run("npm", ["test"], folder))
        const address = yield* started(folder, yield* environment)
        const ask = (path: string, init: RequestInit & { readonly headers?: Readonly<Record<string, string>> } = {}) =>
          Effect.promise(() =>
            fetch(address + path, {
              ...init,
              headers: { "sec-fetch-site": "same-origin", ...init.headers },
              redirect: "manual"
            })
          )
        const body = new URLSearchParams({ name: "ada", password: "correct horse battery staple" })
        const login = yield* ask("/login", { method: "POST", body })
        assert.strictEqual(login.headers.get("location"), "/account")
        const cookie = login.headers.getSetCookie()[0]?.split(";")[0] ?? ""
        const account = yield* ask("/account", { headers: { cookie } })
        assert.include(yield* Effect.promise(() => account.text()), "This device")
        if (frontEnd !== "http-api") return
        assert.strictEqual((yield* ask("/api/account")).status, 401)
        const own: { readonly user: string; readonly csrfToken: string } = yield* Effect.flatMap(
          ask("/api/account", { headers: { cookie } }),
          (response) => Effect.promise(() => response.json())
        )
        assert.strictEqual(own.user, "ada")
        const change = { method: "PUT", body: `{"theme":"dark"}` }
        const headers = { cookie, "content-type": "application/json" }
        assert.strictEqual((yield* ask("/api/account/theme", { ...change, headers })).status, 403)
        const protectedHeaders = { ...headers, "x-csrf-token": own.csrfToken }
        assert.strictEqual((yield* ask("/api/account/theme", { ...change, headers: protectedHeaders })).status, 204)
      }).pipe(Effect.scoped, Effect.runPromise))
  }

  it("does not start with the demo users where NODE_ENV is production", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(started(folderOf("router", "memory"), {
        NODE_ENV: "production",
        SESSION_COOKIE_SECURE: "true",
        SESSION_COOKIE_PREFIX: "__Host-Http-"
      }))
      assert.include(error.message, "replace Users.layerDemo before production")
    }).pipe(Effect.scoped, Effect.runPromise))
})
