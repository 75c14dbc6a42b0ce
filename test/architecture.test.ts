/**
 * Layering of the modules: a module imports only from its own layer and lower ones. The folder decides the layer.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { assert, describe, it } from "vitest"

/** The folders of `src/internal`, by layer. Modules directly in `src/internal` are in layer 0. */
const layers: ReadonlyArray<ReadonlyArray<string>> = [
  ["schema"],
  ["crypto", "store"],
  ["cookie", "file", "memory", "migrating", "redis", "sql", "tiered"],
  ["session"],
  ["http"],
  ["cli", "testing"]
]

/** The folders of back ends, which must not import each other. Store decorators are not back ends. */
const backEnds = ["file", "memory", "redis", "sql"]

/** The modules of the platform that are independent of HTTP. */
const files = new Set(["Error", "FileSystem", "Path"].map((name) => `@effect/platform/${name}`))

/** The HTTP layer, the highest that an API definition shared with a browser may import. */
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

/** `SessionError` is exempt: errors convert themselves to responses and are raised in every layer. */
const knowsHttp = (module: string): boolean =>
  module !== "SessionError" &&
  foreign(module).some((path) => /^@effect\/(?:platform|rpc)/.test(path) && !files.has(path))

/** The layer of the module's folder; for a public module the highest layer that it imports. */
const layerOf = (module: string, path: ReadonlyArray<string> = []): number => {
  const folder = folderOf(module)
  if (folder !== undefined) return layers.findIndex((folders) => folders.includes(folder))
  if (module.startsWith("internal/") || path.includes(module)) return 0
  return Math.max(knowsHttp(module) ? http : 0, ...own(module).map((other) => layerOf(other, [...path, module])))
}

describe("architecture", () => {
  it("every folder has a layer", () => {
    const folders = readdirSync("src/internal", { withFileTypes: true }).filter((entry) => entry.isDirectory())
    assert.deepStrictEqual(folders.map(({ name }) => name).sort(), layers.flat().sort())
    assert.isTrue(backEnds.every((folder) => existsSync(`src/internal/${folder}`)))
  })

  it("internal modules import only from their own layer and lower ones", () => {
    const upwards = modules.filter((module) => module.startsWith("internal/")).flatMap((module) =>
      own(module).filter((other) => layerOf(other) > layerOf(module)).map((other) => `${module} → ${other}`)
    )
    assert.deepStrictEqual(upwards, [])
  })

  it("layer 0 imports only effect", () => {
    const others = modules.filter((module) => layerOf(module) === 0 && module !== "SessionError")
      .flatMap((module) =>
        foreign(module).filter((path) => !path.startsWith("effect/")).map((path) => `${module} → ${path}`)
      )
    assert.deepStrictEqual(others, [])
  })

  it("modules below the HTTP layer do not import HTTP modules", () => {
    assert.deepStrictEqual(modules.filter((module) => layerOf(module) < http && knowsHttp(module)), [])
  })

  it("a back end never imports another", () => {
    const violations = modules.flatMap((module) => {
      const folders = new Set(
        [module, ...own(module)].flatMap((other) => backEnds.filter((folder) => folder === folderOf(other)))
      )
      return folders.size > 1 ? [`${module} → ${[...folders].join(", ")}`] : []
    })
    assert.deepStrictEqual(violations, [])
  })

  it("no module imports Node modules, and only the modules of a driver import it", () => {
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
    // The command loads its own modules and the driver in use only when they are needed.
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
    assert.isTrue([...reachable("Session")].every((module) => layerOf(module) <= http))
  })

  it("there are no import cycles", () => {
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
