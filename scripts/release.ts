/**
 * `npm run release`: releases the version of `package.json`. It dates the section of the changelog, brings the versions in the
 * documentation and in the template up to date, commits, tags and pushes. The pushed tag starts `.github/workflows/publish.yml`,
 * which runs all tests and publishes to npm with provenance.
 *
 * - `npm run release -- 0.7.0` sets the version first.
 * - `npm run release -- --dry-run` prints what would change, and changes nothing.
 */
import { execFileSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import * as Path from "node:path"
import { parseArgs } from "node:util"

/** Stands for the owner's account in the fields of `package.json` that name it. */
const placeholder = "OWNER"

/** The fields that the owner fills in, in `package.json` of the root only. The template gets the same. */
const owned = ["author", "homepage", "bugs", "repository"] as const

const template = Path.join("create-effect-session", "package.json")

/** The folders whose programs depend on the published library. */
const starts = Path.join("examples", "getting-started")

/** The command line has the version in its own text: the package cannot read its `package.json` on every runtime. */
const cli = Path.join("src", "Cli.ts")

const git = (...args: ReadonlyArray<string>): string => execFileSync("git", args, { encoding: "utf8" }).trim()

const json = (file: string): Record<string, unknown> => JSON.parse(readFileSync(file, "utf8"))

const release = (args: ReadonlyArray<string>): void => {
  const { positionals, values } = parseArgs({
    args: [...args],
    options: { "dry-run": { type: "boolean", default: false } },
    allowPositionals: true
  })
  const [version = String(json("package.json").version), ...rest] = positionals
  if (!/^\d+\.\d+\.\d+$/.test(version) || rest.length > 0) {
    throw new Error(`"${positionals.join(" ")}" is no version, such as 0.7.0.`)
  }
  const edits = editsFor(version)
  const problems = problemsOf(version)
  if (problems.length > 0) {
    throw new Error(`${version} cannot be released:\n${problems.map((it) => `- ${it}`).join("\n")}`)
  }
  if (values["dry-run"]) {
    console.log([`Would release ${version}, and change:`, ...edits.map(([file]) => `- ${file}`)].join("\n"))
    return
  }
  for (const [file, text] of edits) writeFileSync(file, text)
  execFileSync("npm", ["install", "--package-lock-only", "--ignore-scripts"], { stdio: "ignore" })
  git("commit", "--all", "--quiet", "--message", `release: ${version}`)
  git("tag", "--annotate", `v${version}`, "--message", version)
  git("push", "--quiet", "--atomic", "origin", "HEAD", `v${version}`)
  console.log(`Pushed v${version}. The workflow "publish" tests and publishes it.`)
}

/** Reasons why the version cannot be released now, each with its remedy. */
const problemsOf = (version: string): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const fields = owned.filter((field) =>
    JSON.stringify(json("package.json")[field] ?? placeholder).includes(placeholder)
  )
  if (fields.length > 0) {
    problems.push(
      `package.json has the placeholder ${placeholder} in ${fields.join(", ")}: write the owner's account there.`
    )
  }
  if (git("status", "--porcelain") !== "") {
    problems.push("There are changes that are not committed: commit or stash them.")
  }
  if (git("tag", "--list", `v${version}`) !== "") problems.push(`The tag v${version} exists: choose another version.`)
  if (!git("remote").split("\n").includes("origin")) {
    problems.push("There is no remote \"origin\" to push to: add it with `git remote add origin`.")
  }
  return problems
}

/** The changed files and their new texts. */
const editsFor = (version: string): ReadonlyArray<readonly [file: string, text: string]> => {
  const root = { ...json("package.json"), version }
  const edits: Array<readonly [string, string]> = [
    ["package.json", formatted(root)],
    ["CHANGELOG.md", dated(version)],
    [cli, readFileSync(cli, "utf8").replace(/(name: "effect-session", version: ")[^"]+/, `$1${version}`)]
  ]
  if (existsSync(template)) {
    const fields = owned.map((field) => [field, (root as Record<string, unknown>)[field]] as const)
    edits.push([template, formatted({ ...json(template), version, ...Object.fromEntries(fields) })])
  }
  for (const name of readdirSync(starts)) {
    const file = Path.join(starts, name, "package.json")
    const own = json(file)
    edits.push([file, formatted({ ...own, dependencies: { ...Object(own.dependencies), "effect-session": version } })])
  }
  const [major, minor] = version.split(".")
  for (const page of ["README.md", ...pagesIn("docs"), ...pagesIn("examples"), ...pagesIn("create-effect-session")]) {
    const text = readFileSync(page, "utf8")
    edits.push([page, text.replaceAll(/(effect-session@)\d+\.\d+\b/g, `$1${major}.${minor}`)])
  }
  return edits.filter(([file, text]) => text !== readFileSync(file, "utf8"))
}

const formatted = (value: object): string => `${JSON.stringify(value, null, 2)}\n`

/** The changelog with its section `[Unreleased]` under the version and today's date, below a new empty one. */
const dated = (version: string): string => {
  const text = readFileSync("CHANGELOG.md", "utf8")
  const [, entries = ""] = /^## \[Unreleased\]\n([^]*?)(?=^## )/m.exec(text) ?? []
  if (entries.trim() === "") {
    throw new Error("CHANGELOG.md has no entries under [Unreleased]: describe the release there.")
  }
  const today = new Date().toISOString().slice(0, 10)
  return text.replace("## [Unreleased]\n", `## [Unreleased]\n\n## ${version} - ${today}\n`)
}

/** Markdown files of a folder, without installed packages. */
const pagesIn = (folder: string): ReadonlyArray<string> =>
  existsSync(folder)
    ? readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".md") && !file.includes("node_modules"))
      .map((file) => Path.join(folder, file))
    : []

try {
  release(process.argv.slice(2))
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
