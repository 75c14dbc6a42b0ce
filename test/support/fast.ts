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
  ["sharedServers", "packedPackage", "servers/django", "servers/mariadb", "servers/redis", "servers/server"].map((
    name
  ) => Path.join("test", "support", `${name}.ts`)).concat(
    Path.join("examples", "shop", "EmbeddedPostgres.ts"),
    Path.join("test", "browser", "support.ts")
  )
)

/** In a fast run it has the local stores only, so that its imports do not count. */
const stores = Path.join("test", "support", "stores.ts")

/** Files that would be fast by their imports but take long, and why. */
const slow: Readonly<Record<string, string>> = {
  "compileErrors": "runs the compiler",
  "shop.missing": "starts the shop without its dependencies, as child processes",
  "shop.start": "starts the shop, as child processes",
  "FileStore.crash": "starts and kills 200 processes",
  "FileStore.limits": "50 logins in several processes, and locks of processes that have ended",
  "FileStore.full": "fills a file system, with child processes",
  "FileStore.interleaved": "runs thousands of random orders of file system calls",
  "FileStore.processes": "25,000 reads beside other processes",
  "FileStore.steps": "runs each write once for each of its file system calls",
  "L4-commit-then-answer": "repeats every case on every store",
  "SqlStore.d1": "starts Cloudflare's runtime",
  "FileStore": "all cases, on the file system",
  "MigratingStore.reversed": "random orders of concurrent migrations",
  "StoredEngine.outcomes": "every fault at every call",
  "telemetry": "starts a program",
  "SessionStore.file": "all laws, on the file system",
  "SessionStore.combined": "all laws, on combined stores",
  "MigratingStore": "all laws, while each session migrates",
  "ObservedStore": "all laws, observed",
  "SealedStore": "all laws, sealed",
  "ownStore": "all laws, on the example",
  "combined.orders": "every order of the calls of two requests, on combined stores",
  "commit.limits": "a commit with each call delayed",
  "django": "Django's behaviour, on every local store",
  "django.behaviour": "Django's behaviour, on every local store",
  "L1-no-lost-update": "repeats every case on every store",
  "L2-gone-is-gone": "repeats every case on every store",
  "SessionHandle.exclusive": "concurrent logins, on every local store",
  "SessionMiddleware.cookieJar": "random sequences of requests with a cookie jar",
  "SessionMiddleware.hostile": "thousands of hostile requests over sockets",
  "SessionMiddleware.interleaved": "random orders of concurrent requests",
  "TieredStore": "random orders of concurrent calls"
}

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
    .filter((file) => Path.basename(file, ".test.ts") in slow || needs(file, new Set()))
