/**
 * The modules of the library: their imports, folders and floors. `test/architecture.test.ts` checks them and the pictures of
 * the documentation draw them.
 */
import { readdirSync, readFileSync } from "node:fs"

/**
 * The folders of `src/internal` by floor: a module imports modules of its own floor and below. Modules in `src/internal`
 * itself are on the lowest floor. This is the only place that states it.
 */
export const floors: ReadonlyArray<ReadonlyArray<string>> = [
  ["domain", "schema"],
  ["crypto", "store"],
  ["cookie", "django", "file", "memory", "migrating", "redis", "sql", "tiered"],
  ["session"],
  ["http"],
  ["cli", "devtools", "testing"]
]

/** The folders of back ends. None of them imports another. */
export const backEnds: ReadonlyArray<string> = ["file", "memory", "redis", "sql"]

export interface Module {
  /** The path below `src`, without extension: `SessionStore`, `internal/sql/calls`. */
  readonly name: string
  /** The folder below `src/internal`. `undefined`: a public module, or one in `src/internal` itself. */
  readonly folder: string | undefined
  readonly isPublic: boolean
  /** The names of the modules that it imports. */
  readonly imports: ReadonlyArray<string>
  /** The packages and built-in modules that it imports, with their sub-paths. */
  readonly packages: ReadonlyArray<string>
  /** The arguments of `import()`: packages, and relative paths, unresolved. */
  readonly dynamic: ReadonlyArray<string>
}

const folderOf = (name: string): string | undefined => /^internal\/([^/]+)\//.exec(name)?.[1]

/** The module that a relative import names. */
const resolve = (from: string, path: string): string =>
  new URL(path.replace(/\.js$/, ""), `file:///${from}`).pathname.slice(1)

const read = (name: string): Module => {
  const source = readFileSync(`src/${name}.ts`, "utf8")
  const code = source.replaceAll(/\/\*\*[\s\S]*?\*\//g, "")
  const imports = [...code.matchAll(/^(?:import|export)\b[^"]*?from "([^"]+)"$/gm)].flatMap((match) => match[1] ?? [])
  return {
    name,
    folder: folderOf(name),
    isPublic: !name.startsWith("internal/"),
    imports: imports.filter((path) => path.startsWith(".")).map((path) => resolve(name, path)),
    packages: imports.filter((path) => !path.startsWith(".")),
    dynamic: [...source.matchAll(/(?<![\w"])import\("([^"]+)"\)/g)].flatMap((match) => match[1] ?? [])
  }
}

/** All modules, by name. */
export const modules: ReadonlyMap<string, Module> = new Map(
  readdirSync("src", { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => file.replaceAll("\\", "/").replace(/\.ts$/, ""))
    .sort()
    .map((name) => [name, read(name)])
)

/** The floor of HTTP. It is the highest that an API definition may import that a server shares with a browser. */
export const httpFloor = floors.findIndex((folders) => folders.includes("http"))

/** The modules of the platform that are independent of HTTP. */
const files = new Set(["Error", "FileSystem", "Path"].map((name) => `@effect/platform/${name}`))

/** Whether a module imports HTTP. Session errors do, because they convert themselves to responses: any floor may throw them. */
export const knowsHttp = ({ name, packages }: Module): boolean =>
  name !== "SessionError" && packages.some((path) => /^@effect\/(?:platform|rpc)/.test(path) && !files.has(path))

/**
 * The floor of a module: that of its folder; of a public module the highest of what it imports; -1 for a folder that `floors`
 * does not contain.
 */
export const floorOf = (name: string, path: ReadonlyArray<string> = []): number => {
  const module = modules.get(name)
  if (module === undefined) throw new Error(`There is no module ${name}.`)
  const { folder, imports, isPublic } = module
  if (folder !== undefined) return floors.findIndex((folders) => folders.includes(folder))
  if (!isPublic || path.includes(name)) return 0
  return Math.max(knowsHttp(module) ? httpFloor : 0, ...imports.map((other) => floorOf(other, [...path, name])))
}

/** The names of a module and of all modules that loading it loads. */
export const reachable = (name: string, seen = new Set<string>()): ReadonlySet<string> => {
  if (seen.has(name)) return seen
  seen.add(name)
  for (const other of modules.get(name)?.imports ?? []) reachable(other, seen)
  return seen
}
