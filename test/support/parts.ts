/**
 * What tests need besides the npm packages, part by part, and which parts a run leaves out.
 */
import { readdirSync } from "node:fs"
import * as Path from "node:path"
import { parseArgs } from "node:util"
import { find } from "./servers/programs.js"

export interface Part {
  readonly name: string
  /** What can be run where it is installed. */
  readonly programs: ReadonlyArray<string>
  /** The Debian packages that bring it. */
  readonly packages: ReadonlyArray<string>
  /** The test files that need it, as globs. */
  readonly files: ReadonlyArray<string>
}

export const browser: Part = {
  name: "browser",
  programs: ["chromium"],
  packages: ["chromium"],
  files: ["test/browser/**/*.test.ts"]
}

export const mariadb: Part = {
  name: "mariadb",
  programs: ["mariadbd", "mariadb-install-db"],
  packages: ["mariadb-server"],
  // Tests of several databases leave this one out of their lists.
  files: ["test/SqlStore.mariadb*.test.ts"]
}

export const pgbouncer: Part = {
  name: "pgbouncer",
  programs: ["pgbouncer"],
  packages: ["pgbouncer"],
  files: ["test/PgInvalidation.pooler.test.ts"]
}

export const redis: Part = {
  name: "redis",
  programs: ["redis-server", "redis-cli"],
  packages: ["redis-server"],
  // Tests of several stores leave this one out of their lists.
  files: ["test/RedisStore*.test.ts", "test/TieredStore.redis.test.ts"]
}

export const parts: ReadonlyArray<Part> = [browser, mariadb, pgbouncer, redis]

/** The environment variable by which a run is told what to leave out. */
export const variable = "TEST_WITHOUT"

/** What this run leaves out. */
export const leftOut = (): ReadonlyArray<Part> => {
  const names = process.env[variable] ?? ""
  return names === "" ? [] : partsOf(names)
}

/** The parts in a list such as `browser,redis`. Throws a sentence if one is unknown. */
const partsOf = (names: string): ReadonlyArray<Part> =>
  names.split(",").map((name) => {
    const part = parts.find((part) => part.name === name.trim())
    if (part !== undefined) return part
    throw new Error(`The tests have no part "${name}": --without takes ${parts.map(({ name }) => name).join(", ")}.`)
  })

/** A command line without its `--without`, however often and in whichever form that is there. */
export const parse = (
  args: ReadonlyArray<string>
): { readonly without: ReadonlyArray<Part>; readonly rest: ReadonlyArray<string> } => {
  const { tokens } = parseArgs({
    args: [...args],
    options: { without: { type: "string", multiple: true } },
    strict: false,
    tokens: true
  })
  const without = new Set<Part>()
  const taken = new Set<number>()
  for (const token of tokens) {
    if (token.kind !== "option" || token.name !== "without") continue
    for (const part of partsOf(token.value ?? "")) without.add(part)
    taken.add(token.index)
    if (token.inlineValue === false) taken.add(token.index + 1)
  }
  return { without: [...without], rest: args.filter((_, index) => !taken.has(index)) }
}

/** Whether a run with these arguments can come to test files of the part. */
export const isWanted = (part: Part, args: ReadonlyArray<string>): boolean => {
  // The value of an option may be taken for a file here: then nothing is installed, and the tests say what they need.
  const filters = args.filter((arg) => !arg.startsWith("-"))
  const files = readdirSync("test", { recursive: true, encoding: "utf8" })
    .map((file) => Path.posix.join("test", file.replaceAll("\\", "/")))
    .filter((file) => part.files.some((glob) => patternOf(glob).test(file)))
  return filters.length === 0 || filters.some((filter) => files.some((file) => file.includes(filter)))
}

const patternOf = (glob: string): RegExp =>
  new RegExp(
    `^${
      glob.replaceAll(
        /\*\*\/|\*|[^\w/]/g,
        (piece) => piece === "**/" ? "(?:.*/)?" : piece === "*" ? "[^/]*" : `\\${piece}`
      )
    }$`
  )

export const isInstalled = (part: Part, path?: string): boolean =>
  part.programs.every((program) => find(program, path) !== undefined)

export const installing = (part: Part): ReadonlyArray<string> => [
  "install",
  "-y",
  "--no-install-recommends",
  ...part.packages
]

/** What to do, in a sentence, where the part is not installed. */
export const advice = (part: Part): string =>
  `The ${part.name} tests need ${part.programs.join(" and ")}: ` +
  `run \`sudo apt-get update && sudo apt-get ${installing(part).join(" ")}\`, ` +
  `or leave them out with \`npm test -- --without ${part.name}\`.`
