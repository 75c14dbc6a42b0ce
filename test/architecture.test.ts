/**
 * The layers of the modules: imports point down, from floor to floor. `scripts/modules.ts` states the floors.
 */
import { readdirSync, readFileSync } from "node:fs"
import { assert, describe, it } from "vitest"
import type { Module } from "../scripts/modules.js"
import { backEnds, floorOf, floors, httpFloor, knowsHttp, modules, reachable } from "../scripts/modules.js"

const all = [...modules.values()]

/** Arrows from modules to those of their imports that break a rule. */
const arrows = (
  importers: ReadonlyArray<Module>,
  imported: (module: Module) => ReadonlyArray<string>,
  breaksRule: (target: string, module: Module) => boolean
): ReadonlyArray<string> =>
  importers.flatMap((module) =>
    imported(module).filter((target) => breaksRule(target, module)).map((target) => `${module.name} → ${target}`)
  )

const internal = all.filter(({ isPublic }) => !isPublic)
const imports = ({ imports }: Module) => imports
const packages = ({ packages }: Module) => packages

/** The packages that an application installs only if it uses what needs them. */
const { peerDependenciesMeta }: { readonly peerDependenciesMeta: Readonly<Record<string, unknown>> } = JSON.parse(
  readFileSync("package.json", "utf8")
)
const isOf = (name: string) => (path: string) => path === name || path.startsWith(`${name}/`)
const isOptional = (path: string) => Object.keys(peerDependenciesMeta).some((name) => isOf(name)(path))
const isDriver = (path: string) => path.startsWith("@effect/sql") || isOf("ioredis")(path)

describe("architecture", () => {
  it("every folder of src/internal has one floor", () => {
    const folders = readdirSync("src/internal", { withFileTypes: true }).filter((entry) => entry.isDirectory())
    assert.deepStrictEqual(folders.map(({ name }) => name).sort(), floors.flat().sort())
    assert.includeMembers(floors.flat(), [...backEnds])
  })

  it("imports point down, or stay on the floor", () => {
    assert.deepStrictEqual(arrows(internal, imports, (other, { name }) => floorOf(other) > floorOf(name)), [])
  })

  it("the lowest floor imports no package but effect", () => {
    const lowest = all.filter(({ name }) => floorOf(name) === 0 && name !== "SessionError")
    assert.deepStrictEqual(arrows(lowest, packages, (path) => !path.startsWith("effect/")), [])
  })

  it("modules below the floor of HTTP do not import HTTP", () => {
    assert.deepStrictEqual(all.filter((module) => floorOf(module.name) < httpFloor && knowsHttp(module)), [])
  })

  it("a session tag imports nothing above the floor of HTTP", () => {
    assert.deepStrictEqual([...reachable("Session")].filter((name) => floorOf(name) > httpFloor), [])
  })

  it("a back end never imports another", () => {
    const mixed = all.flatMap(({ folder, imports, name }) => {
      const folders = new Set([folder, ...imports.map((other) => modules.get(other)?.folder)])
      const mine = backEnds.filter((backEnd) => folders.has(backEnd))
      return mine.length > 1 ? [`${name} → ${mine.join(", ")}`] : []
    })
    assert.deepStrictEqual(mixed, [])
  })

  it("no module of the library imports node", () => {
    assert.deepStrictEqual(arrows(all, packages, (path) => path.startsWith("node:")), [])
  })

  it("the index loads no driver, and internal modules import drivers in the folders of their back ends only", () => {
    const loaded = all.filter(({ name }) => reachable("index").has(name))
    assert.deepStrictEqual(arrows(loaded, packages, isDriver), [])
    assert.deepStrictEqual(
      arrows(
        internal.filter(({ folder }) => folder !== "cli"),
        packages,
        (path, { folder }) => isDriver(path) && folder !== (path.startsWith("@effect/sql") ? "sql" : "redis")
      ),
      []
    )
  })

  it("the index exports a namespace for each public module that needs no optional package, and nothing else", () => {
    const needsOptional = (name: string) =>
      [...reachable(name)].some((other) => modules.get(other)?.packages.some(isOptional))
    const others = ["bin", "index", "testing"] // the program and the barrels
    const expected = all.filter(({ isPublic, name }) => isPublic && !others.includes(name) && !needsOptional(name))
    const index = readFileSync("src/index.ts", "utf8").replace(/^\/\*\*[\s\S]*?\*\/\n/, "")
    assert.sameMembers(
      index.trimEnd().split("\n"),
      expected.map(({ name }) => `export * as ${name} from "./${name}.js"`)
    )
    assert.includeMembers(expected.map(({ name }) => name), ["SessionStore", "RedisStore", "Keyring"])
    assert.isTrue(needsOptional("SqlEngine") && needsOptional("SessionRpc"))
  })

  it("only the command line loads modules dynamically: its own, effect, and optional packages", () => {
    const lazy = all.filter(({ dynamic }) => dynamic.length > 0)
    assert.isAbove(lazy.length, 0)
    assert.deepStrictEqual(
      arrows(
        lazy,
        ({ dynamic }) => dynamic,
        (path, { folder, name }) =>
          !(name === "bin" || folder === "cli") ||
          !(path.startsWith("./") || path.startsWith("effect/") || isOptional(path))
      ),
      []
    )
  })

  it("no cycles", () => {
    const done = new Set<string>()
    const visit = (name: string, path: ReadonlyArray<string>): ReadonlyArray<string> => {
      if (path.includes(name)) return [[...path, name].join(" → ")]
      if (done.has(name)) return []
      const cycles = (modules.get(name)?.imports ?? []).flatMap((other) => visit(other, [...path, name]))
      done.add(name)
      return cycles
    }
    assert.deepStrictEqual(all.flatMap(({ name }) => visit(name, [])), [])
  })

  it("no module imports the barrel of a package of effect", () => {
    assert.deepStrictEqual(arrows(all, packages, (path) => path === "effect" || /^@effect\/[a-z-]+$/.test(path)), [])
  })
})
