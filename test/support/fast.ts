/**
 * The files of `npm run test:fast`: those that need no server, no browser and no installation, and take seconds.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import * as Path from "node:path"

/** The environment variable that makes a run fast. */
export const variable = "TEST_FAST"

export const isFast = (): boolean => process.env[variable] === "1"

/** The modules that start servers or browsers, or install packages. A file that imports one, directly or not, is not fast. */
const slowModules = new Set(
  ["sharedServers", "packedPackage", "servers/mariadb", "servers/redis", "servers/server"].map((name) =>
    Path.join("test", "support", `${name}.ts`)
  ).concat(Path.join("examples", "shop", "EmbeddedPostgres.ts"), Path.join("test", "browser", "support.ts"))
)

/** In a fast run it has the local stores only, so that its imports do not count. */
const stores = Path.join("test", "support", "stores.ts")

/** Files that need nothing but time, which is what they take. */
const slow: ReadonlyMap<string, string> = new Map([])

const importsOf = (file: string): ReadonlyArray<string> =>
  [...readFileSync(file, "utf8").matchAll(/\b(?:from|import\() ?"(\.[^"]+)\.js"/g)]
    .map((match) => Path.join(Path.dirname(file), `${match[1]}.ts`))
    .filter((file) => existsSync(file))

const needs = (file: string, seen: Set<string>): boolean => {
  if (slowModules.has(file)) return true
  if (seen.has(file) || file === stores) return false
  seen.add(file)
  return importsOf(file).some((imported) => needs(imported, seen))
}

/** The test files that a fast run leaves out. */
export const notFast = (): ReadonlyArray<string> =>
  readdirSync("test", { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".test.ts"))
    .map((file) => Path.join("test", file))
    .filter((file) => slow.has(Path.basename(file, ".test.ts")) || needs(file, new Set()))
