/**
 * `npm run release` in a copy of the files that it changes, with a repository to push to.
 */
import { execFileSync, spawnSync } from "node:child_process"
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { pathToFileURL } from "node:url"
import { afterEach, assert, beforeEach, describe, it } from "vitest"

let folder = ""
let copy = ""

const git = (...args: ReadonlyArray<string>) =>
  execFileSync("git", ["-c", "user.name=Ann", "-c", "user.email=ann@example.com", ...args], {
    cwd: copy,
    encoding: "utf8"
  })

beforeEach(() => {
  folder = mkdtempSync(Path.join(tmpdir(), "effect-session-release-"))
  copy = Path.join(folder, "copy")
  mkdirSync(copy)
  for (
    const file of [
      "package.json",
      "package-lock.json",
      "CHANGELOG.md",
      "README.md",
      "docs",
      "src/Cli.ts",
      "create-effect-session",
      "examples/getting-started"
    ]
  ) {
    if (existsSync(file)) {
      cpSync(file, Path.join(copy, file), { recursive: true, filter: (path) => !path.includes("node_modules") })
    }
  }
  appendFileSync(Path.join(copy, "README.md"), "\n`npm install effect-session@0.1`\n")
  execFileSync("git", ["init", "--quiet", "--bare", Path.join(folder, "origin.git")])
  git("init", "--quiet", "--initial-branch", "main")
  git("config", "user.name", "Ann")
  git("config", "user.email", "ann@example.com")
  git("remote", "add", "origin", Path.join(folder, "origin.git"))
  git("add", "--all")
  git("commit", "--quiet", "--message", "start")
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

const loader = pathToFileURL("node_modules/tsx/dist/loader.mjs").href
const script = Path.resolve("scripts/release.ts")

const release = (...args: ReadonlyArray<string>) => {
  const { status, stderr, stdout } = spawnSync("node", ["--import", loader, script, ...args], {
    cwd: copy,
    encoding: "utf8"
  })
  return { status, stdout, stderr }
}

const read = (file: string) => readFileSync(Path.join(copy, file), "utf8")

const fillIn = () => {
  writeFileSync(Path.join(copy, "package.json"), read("package.json").replaceAll("OWNER", "ann"))
  git("commit", "--all", "--quiet", "--message", "the owner")
}

describe("npm run release", () => {
  it("with the placeholder of the owner, refuses, names the fields and changes nothing", () => {
    const { status, stderr } = release()
    assert.strictEqual(status, 1)
    assert.include(stderr, "package.json has the placeholder OWNER in author, homepage, bugs, repository")
    assert.strictEqual(git("status", "--porcelain"), "")
  })

  it("refuses uncommitted changes, a tag that exists, and a repository without origin, all in one message", () => {
    fillIn()
    git("tag", "v9.8.7")
    git("remote", "remove", "origin")
    appendFileSync(Path.join(copy, "README.md"), "more\n")
    const { status, stderr } = release("9.8.7")
    assert.strictEqual(status, 1)
    for (const part of ["not committed", "The tag v9.8.7 exists", "git remote add origin"]) assert.include(stderr, part)
  })

  it("refuses arguments that are no version, and unknown options", () => {
    for (const args of [["next"], ["1.2"], ["1.2.3", "1.2.4"], ["--force"]]) {
      assert.strictEqual(release(...args).status, 1, args.join(" "))
    }
  })

  it("--dry-run lists the files and changes nothing", () => {
    fillIn()
    const { status, stderr, stdout } = release("9.8.7", "--dry-run")
    assert.strictEqual(status, 0, stderr)
    for (const file of ["package.json", "CHANGELOG.md", "README.md"]) assert.include(stdout, `- ${file}`)
    assert.strictEqual(git("status", "--porcelain"), "")
    assert.strictEqual(git("tag"), "")
  })

  it("dates the changelog, sets the versions, and pushes a commit with a tag", () => {
    fillIn()
    const { status, stderr } = release("9.8.7")
    assert.strictEqual(status, 0, stderr)
    assert.strictEqual(JSON.parse(read("package.json")).version, "9.8.7")
    assert.strictEqual(JSON.parse(read("package-lock.json")).version, "9.8.7")
    assert.include(read("src/Cli.ts"), "version: \"9.8.7\"")
    assert.match(read("CHANGELOG.md"), /^## \[Unreleased\]\n\n## 9\.8\.7 - \d{4}-\d\d-\d\d\n\n.*\S/m)
    const pages = [
      "README.md",
      ...readdirSync(Path.join(copy, "docs")).filter((file) => file.endsWith(".md")).map((file) => `docs/${file}`)
    ]
    const versions = new Set(pages.flatMap((page) => read(page).match(/(?<=effect-session@)\d+\.\d+\b/g) ?? []))
    assert.deepStrictEqual([...versions], ["9.8"])
    if (existsSync("create-effect-session")) {
      const { author, bugs, homepage, repository, version } = JSON.parse(read("create-effect-session/package.json"))
      const root = JSON.parse(read("package.json"))
      assert.deepStrictEqual(
        [author, bugs, homepage, repository, version],
        [root.author, root.bugs, root.homepage, root.repository, "9.8.7"]
      )
    }
    for (const name of readdirSync("examples/getting-started")) {
      const { dependencies } = JSON.parse(read(`examples/getting-started/${name}/package.json`))
      assert.strictEqual(dependencies["effect-session"], "9.8.7")
    }
    const pushed = (...args: ReadonlyArray<string>) =>
      execFileSync("git", args, { cwd: Path.join(folder, "origin.git"), encoding: "utf8" }).trim()
    assert.strictEqual(pushed("log", "--format=%s", "-1", "v9.8.7"), "release: 9.8.7")
    assert.strictEqual(pushed("rev-parse", "main"), pushed("rev-parse", "v9.8.7^{commit}"))
    assert.strictEqual(git("status", "--porcelain"), "")
  })

  it("is what starts the workflow that publishes", () => {
    const workflow = readFileSync(".github/workflows/publish.yml", "utf8")
    assert.match(workflow, /tags: \["v\*"\]/)
    assert.include(workflow, "npm publish --provenance")
    assert.isBelow(workflow.indexOf(".ci/run"), workflow.indexOf("npm publish"))
  })
})

describe("the owner", () => {
  it("is to be filled in in package.json only", () => {
    const files = execFileSync("git", ["grep", "--files-with-matches", "--fixed-strings", "/OWNER/"], {
      encoding: "utf8"
    }).trim().split("\n")
    assert.deepStrictEqual(files.filter((file) => file !== "test/release.test.ts"), ["package.json"])
  })
})
