/**
 * Every documented install command works in an empty project, with the local tarball instead of the published package.
 */
import { execFile } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { promisify } from "node:util"
import { afterAll, assert, beforeAll, describe, it } from "vitest"

const folder = mkdtempSync(Path.join(tmpdir(), "effect-session-install-"))
const { overrides, version } = JSON.parse(readFileSync("package.json", "utf8"))
const tarball = Path.join(folder, `effect-session-${version}.tgz`)

const run = promisify(execFile)

beforeAll(async () => {
  await run("npm", ["pack", "--pack-destination", folder])
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

const pages = ["README.md", ...readdirSync("docs").filter((file) => file.endsWith(".md")).map((file) => `docs/${file}`)]
const texts = [...pages, "src/bin.ts"].map((file) =>
  // Joins string literals that continue on the next line.
  [file, readFileSync(file, "utf8").replaceAll(/" \+\s+"/g, "")] as const
)

const found = texts.flatMap(([file, text]) =>
  [...text.matchAll(/npm install ((?:@?[a-z][^\s`"#]*[ ]*)+)/g)].map(([, packages = ""]) => ({
    file,
    packages: packages.trim().split(/\s+/)
  }))
)

// Commands that install drivers or tools are for a project that has the library and its peers already.
const base = ["effect@3.22", "@effect/platform@0.97", "@effect/platform-node@0.108"]

/** The packages that a project has after a command, without this one. */
const installedBy = (
  packages: ReadonlyArray<string>
) => [...new Set([...base, ...packages.filter((name) => !name.startsWith("effect-session@"))])]

/** One command for each different result. */
const commands = [
  ...new Map(found.map((command) => [installedBy(command.packages).sort().join(" "), command] as const)).values()
]

describe.concurrent("install commands", () => {
  it("exist and specify the version of every package", () => {
    assert.isAbove(found.length, 8)
    const unversioned = found.flatMap(({ file, packages }) =>
      packages.filter((name) => !/^@?[^@]+@[\d^]/.test(name)).map((name) => `${file}: ${name}`)
    )
    assert.deepStrictEqual(unversioned, [])
  })

  for (const [i, { file, packages }] of commands.entries()) {
    it(`${file}: npm install ${packages.join(" ")}`, async () => {
      const project = mkdtempSync(Path.join(folder, `project${i}-`))
      const all = [...installedBy(packages), tarball]
      const d1 = packages.some((name) => name.startsWith("@effect/sql-d1@"))
      writeFileSync(
        Path.join(project, "package.json"),
        JSON.stringify({ name: "empty", private: true, ...d1 ? { overrides } : {} })
      )
      const options = ["--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
      await run("npm", ["install", "--strict-peer-deps", ...options, ...all], { cwd: project })
      const installed = JSON.parse(readFileSync(Path.join(project, "package-lock.json"), "utf8")).packages
      assert.match(installed["node_modules/effect"].version, /^3\./)
    })
  }
})
