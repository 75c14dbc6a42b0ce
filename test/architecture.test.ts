/**
 * Layering of the modules: imports point down, from floor to floor. The folder of a module decides its floor.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { assert, describe, it } from "vitest"

/** The folders of `src/internal`, by floor. What lies in `src/internal` itself is on floor 0. */
const floors: ReadonlyArray<ReadonlyArray<string>> = [
  ["domain", "schema"],
  ["crypto", "store"],
  ["cookie", "file", "memory", "migrating", "redis", "sql", "tiered"],
  ["session"],
  ["http"],
  ["cli", "testing"]
]

/** The folders of back ends, none of which imports another. Decorators of stores are none. */
const backEnds = ["file", "memory", "redis", "sql"]

/** The part of the platform that has nothing to do with HTTP. */
const files = new Set(["Error", "FileSystem", "Path"].map((name) => `@effect/platform/${name}`))

/** The floor of HTTP, and the highest that an API definition may import which is shared with a browser. */
const http = 4

const modules = readdirSync("src", { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => file.replace(/\.ts$/, ""))

const importsOf = (module: string): ReadonlyArray<string> =>
  [
    ...readFileSync(`src/${module}.ts`, "utf8").replaceAll(/\/\*\*[\s\S]*?\*\//g, "").matchAll(
      /^(?:import|export)\b[^"]*?from "([^"]+)"$/gm
    )
  ]
    .flatMap((match) => match[1] ?? [])

/** The module that a relative import names. */
const resolve = (from: string, path: string): string =>
  new URL(path.replace(/\.js$/, ""), `file:///${from}`).pathname.slice(1)

const own = (module: string) =>
  importsOf(module).filter((path) => path.startsWith(".")).map((path) => resolve(module, path))
const foreign = (module: string) => importsOf(module).filter((path) => !path.startsWith("."))

const folderOf = (module: string): string | undefined => /^internal\/([^/]+)\//.exec(module)?.[1]

/** Errors answer by themselves, and are thrown on every floor. */
const knowsHttp = (module: string): boolean =>
  module !== "SessionError" &&
  foreign(module).some((path) => /^@effect\/(?:platform|rpc)/.test(path) && !files.has(path))

/** Of a module in a folder, that of the folder; of a public module, the highest of what it imports. */
const floorOf = (module: string, path: ReadonlyArray<string> = []): number => {
  const folder = folderOf(module)
  if (folder !== undefined) return floors.findIndex((folders) => folders.includes(folder))
  if (module.startsWith("internal/") || path.includes(module)) return 0
  return Math.max(knowsHttp(module) ? http : 0, ...own(module).map((other) => floorOf(other, [...path, module])))
}

describe("architecture", () => {
  it("every folder has its floor", () => {
    const folders = readdirSync("src/internal", { withFileTypes: true }).filter((entry) => entry.isDirectory())
    assert.deepStrictEqual(folders.map(({ name }) => name).sort(), floors.flat().sort())
    assert.isTrue(backEnds.every((folder) => existsSync(`src/internal/${folder}`)))
  })

  it("imports point down, or stay on the floor", () => {
    const upwards = modules.filter((module) => module.startsWith("internal/")).flatMap((module) =>
      own(module).filter((other) => floorOf(other) > floorOf(module)).map((other) => `${module} → ${other}`)
    )
    assert.deepStrictEqual(upwards, [])
  })

  it("floor 0 knows only effect", () => {
    const others = modules.filter((module) => floorOf(module) === 0 && module !== "SessionError")
      .flatMap((module) =>
        foreign(module).filter((path) => !path.startsWith("effect/")).map((path) => `${module} → ${path}`)
      )
    assert.deepStrictEqual(others, [])
  })

  it("the modules below HTTP do not know HTTP", () => {
    assert.deepStrictEqual(modules.filter((module) => floorOf(module) < http && knowsHttp(module)), [])
  })

  it("a back end never imports another", () => {
    const strangers = modules.flatMap((module) => {
      const folders = new Set(
        [module, ...own(module)].flatMap((other) => backEnds.filter((folder) => folder === folderOf(other)))
      )
      return folders.size > 1 ? [`${module} → ${[...folders].join(", ")}`] : []
    })
    assert.deepStrictEqual(strangers, [])
  })

  it("no module of the library imports node, and drivers are imported by their own modules only", () => {
    const node = modules.flatMap((module) =>
      foreign(module).filter((path) => path.startsWith("node:")).map((path) => `${module} → ${path}`)
    )
    assert.deepStrictEqual(node, [])
    const sql = modules.filter((module) =>
      folderOf(module) !== "sql" && foreign(module).some((path) => path.startsWith("@effect/sql"))
    )
    assert.deepStrictEqual(sql.sort(), [
      "CachedSqlEngine",
      "PgInvalidation",
      "SqlEngine",
      "SqlMigrations",
      "SqlStore",
      "internal/cli/database"
    ])
    // The command line loads the driver in use, and its program what it is made of, when they are needed.
    const lazy = modules.flatMap((module) =>
      [...readFileSync(`src/${module}.ts`, "utf8").matchAll(/(?<![\w"])import\("([^"]+)"\)/g)].map((match) =>
        `${module} → ${match[1]}`
      )
    )
    assert.deepStrictEqual(lazy.sort(), [
      "bin → ./Cli.js",
      "bin → @effect/platform-node/NodeContext",
      "bin → @effect/platform-node/NodeRuntime",
      "bin → effect/Effect",
      "internal/cli/database → @effect/sql-mysql2/MysqlClient",
      "internal/cli/database → @effect/sql-pg/PgClient",
      "internal/cli/database → @effect/sql-sqlite-node/SqliteClient",
      "internal/cli/store → ioredis"
    ])
    const reachable = (module: string, seen = new Set<string>()): Set<string> => {
      if (!seen.has(module)) {
        seen.add(module)
        for (const other of own(module)) reachable(other, seen)
      }
      return seen
    }
    assert.deepStrictEqual([...reachable("index")].filter((module) => module.startsWith("Sql")), [])
    assert.isTrue([...reachable("Session")].every((module) => floorOf(module) <= http))
  })

  it("no cycles", () => {
    const done = new Set<string>()
    const visit = (module: string, path: ReadonlyArray<string>): ReadonlyArray<string> => {
      if (path.includes(module)) return [[...path, module].join(" → ")]
      if (done.has(module)) return []
      const cycles = own(module).flatMap((other) => visit(other, [...path, module]))
      done.add(module)
      return cycles
    }
    assert.deepStrictEqual(modules.flatMap((module) => visit(module, [])), [])
  })

  it("no module imports the barrel of effect", () => {
    const barrels = modules.flatMap((module) =>
      foreign(module).filter((path) => path === "effect" || /^@effect\/[a-z-]+$/.test(path)).map((path) =>
        `${module} → ${path}`
      )
    )
    assert.deepStrictEqual(barrels, [])
  })
})
