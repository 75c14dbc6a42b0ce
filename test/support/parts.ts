/**
 * Programs that tests need besides npm packages, and which of them a run leaves out.
 */
import { readdirSync } from "node:fs"
import * as Path from "node:path"
import { parseArgs } from "node:util"
import { find } from "./servers/programs.js"

export interface Part {
  readonly name: string
  /** The programs that must be on the path. */
  readonly programs: ReadonlyArray<string>
  /** The Debian packages of the programs. */
  readonly packages: ReadonlyArray<string>
  /** The test files that need it, as globs. */
  readonly files: ReadonlyArray<string>
}

export const browser: Part = {
  name: "browser",
  programs: ["chromium"],
  packages: ["chromium"],
  files: ["test/browser/**/*.test.ts", "test/stranger.test.ts"]
}

export const django: Part = {
  name: "django",
  programs: ["django-admin"],
  packages: ["python3-django", "python3-psycopg2", "python3-mysqldb"],
  files: [
    "test/DjangoEngine*.test.ts",
    "test/Cli.django.test.ts",
    "test/internal/django/*.django.test.ts",
    "test/browser/django*.test.ts",
    "test/examples.django.test.ts"
  ]
}

export const mariadb: Part = {
  name: "mariadb",
  programs: ["mariadbd", "mariadb-install-db"],
  packages: ["mariadb-server"],
  // Tests of several databases skip this one.
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
  // Tests of several stores skip this one.
  files: ["test/RedisStore*.test.ts", "test/TieredStore.redis.test.ts"]
}

export const valkey: Part = {
  name: "valkey",
  programs: ["valkey-server", "valkey-cli"],
  packages: ["valkey-server"],
  files: ["test/SessionStore.valkey.test.ts"]
}

export const parts: ReadonlyArray<Part> = [browser, django, mariadb, pgbouncer, redis, valkey]

/** The environment variable with the names of the parts to leave out. */
export const variable = "TEST_WITHOUT"

/** The parts that this run leaves out. */
export const leftOut = (): ReadonlyArray<Part> => {
  const names = process.env[variable] ?? ""
  return names === "" ? [] : partsOf(names)
}

/** Parses a list such as `browser,redis`. Throws if a part is unknown. */
const partsOf = (names: string): ReadonlyArray<Part> =>
  names.split(",").map((name) => {
    const part = parts.find((part) => part.name === name.trim())
    if (part !== undefined) return part
    throw new Error(`The tests have no part "${name}": --without takes ${parts.map(({ name }) => name).join(", ")}.`)
  })

/** Separates every `--without` from the other arguments. */
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

/** Whether a run with these arguments may include test files of the part. */
export const isWanted = (part: Part, args: ReadonlyArray<string>): boolean => {
  // The value of an option may look like a file pattern: then nothing is installed, and the tests name what is missing.
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

/** The error message if the part is not installed: what is missing and what to do. */
export const advice = (part: Part): string =>
  `The ${part.name} tests need ${part.programs.join(" and ")}: ` +
  `run \`sudo apt-get update && sudo apt-get ${installing(part).join(" ")}\`, ` +
  `or leave them out with \`npm test -- --without ${part.name}\`.`
