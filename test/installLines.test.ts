/**
 * Every documented install command works in an empty project with npm and with pnpm, also with strict peer dependencies, with
 * the local tarball instead of the published package. The statements about ioredis 6 and Effect 4 hold.
 */
import { execFile } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { promisify } from "node:util"
import { afterAll, assert, describe, it } from "vitest"
import { packages } from "./support/sharedServers.js"
import { tarball } from "./support/tarballs.js"

const folder = mkdtempSync(Path.join(tmpdir(), "effect-session-install-"))
const { overrides } = JSON.parse(readFileSync("package.json", "utf8"))
const library = () => Path.join(packages(), tarball)
const pnpm = Path.resolve("node_modules/.bin/pnpm")

const run = promisify(execFile)

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

/** One command for each different result. That for ioredis 6 needs settings: see below. */
const commands = [
  ...new Map(
    found.filter(({ packages }) => !packages.includes("ioredis@6")).map((command) =>
      [installedBy(command.packages).sort().join(" "), command] as const
    )
  ).values()
]

/** An empty project. */
const project = (settings: object = {}): string => {
  const path = mkdtempSync(Path.join(folder, "project-"))
  writeFileSync(Path.join(path, "package.json"), JSON.stringify({ name: "empty", private: true, ...settings }))
  return path
}

/** Installs into the lockfile only. Returns what the command printed, also if it failed. */
const output = async (command: string, args: ReadonlyArray<string>, cwd: string): Promise<string> => {
  const { stderr, stdout } = await run(command, args, { cwd }).catch((error) => error)
  return `${stdout}\n${stderr}`
}

const npmInstall = (cwd: string, ...args: ReadonlyArray<string>) => {
  const options = ["--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
  return output("npm", ["install", ...options, ...args], cwd)
}

const pnpmAdd = (cwd: string, ...args: ReadonlyArray<string>) =>
  output(pnpm, ["add", "--lockfile-only", "--ignore-scripts", "--prefer-offline", ...args], cwd)

/** The versions of `effect` in a lockfile. */
const effectsOf = (cwd: string): ReadonlyArray<string> =>
  existsSync(Path.join(cwd, "pnpm-lock.yaml"))
    ? [...new Set(readFileSync(Path.join(cwd, "pnpm-lock.yaml"), "utf8").match(/(?<=^ {2}effect@)[\d.]+(?=:)/gm))]
    : Object.entries<{ readonly version: string }>(
      JSON.parse(readFileSync(Path.join(cwd, "package-lock.json"), "utf8")).packages
    ).flatMap(([path, { version }]) => path.endsWith("node_modules/effect") ? version : [])

const assertEffect3 = (cwd: string) => {
  const effects = effectsOf(cwd)
  assert.strictEqual(effects.length, 1)
  assert.match(effects[0] ?? "", /^3\./)
}

describe.concurrent("install commands", () => {
  it("exist and specify the version of every package", () => {
    assert.isAbove(found.length, 8)
    const unversioned = found.flatMap(({ file, packages }) =>
      packages.filter((name) => !/^@?[^@]+@[\d^]/.test(name)).map((name) => `${file}: ${name}`)
    )
    assert.deepStrictEqual(unversioned, [])
  })

  for (const { file, packages } of commands) {
    const all = installedBy(packages)
    const d1 = packages.some((name) => name.startsWith("@effect/sql-d1@"))

    it(`${file}: npm install ${packages.join(" ")}, with strict peer dependencies`, async () => {
      const empty = project(d1 ? { overrides } : {})
      assert.notMatch(await npmInstall(empty, "--strict-peer-deps", ...all, library()), /npm (error|warn)/)
      assertEffect3(empty)
    })

    // pnpm takes the overrides from another place, and without references to dependencies.
    const flat = Object.fromEntries(base.map((name) => [name.slice(0, name.lastIndexOf("@")), name.split("@").at(-1)]))
    it(`${file}: pnpm add ${packages.join(" ")}, without a missing or wrong peer dependency`, async () => {
      const empty = project(
        d1 ? { pnpm: { overrides: { ...flat, "@effect/sql": "0.52", "@effect/experimental": "0.61" } } } : {}
      )
      assert.notMatch(await pnpmAdd(empty, ...all, library()), /Issues with peer dependencies|ERR_PNPM/)
      assertEffect3(empty)
    })
  }
})

describe.concurrent("ioredis 6", () => {
  const all = () => [...base, "ioredis@6", library()]
  const [, example = ""] =
    /^```json\n([^]*?)^```/m.exec(readFileSync("docs/redis.md", "utf8").split("### ioredis 6")[1] ?? "") ??
      []

  it("is refused by npm, and reported by pnpm", async () => {
    assert.include(await npmInstall(project(), ...all()), "npm error code ERESOLVE")
    assert.match(await pnpmAdd(project(), ...all()), /unmet peer ioredis@\^5/)
  })

  it("is accepted by both with the settings of the documentation", async () => {
    const [byNpm, byPnpm] = [project(JSON.parse(example)), project(JSON.parse(example))]
    assert.notMatch(await npmInstall(byNpm, "--strict-peer-deps", ...all()), /npm (error|warn)/)
    assert.notMatch(await pnpmAdd(byPnpm, ...all()), /Issues with peer dependencies|ERR_PNPM/)
    assertEffect3(byNpm)
    assertEffect3(byPnpm)
  })
})

describe.concurrent("Effect 4", () => {
  it("is refused by npm beside this package", async () => {
    assert.include(await npmInstall(project(), "effect@4", library()), "ERESOLVE")
  })

  it("if it is installed anyway, the command names what to install, and an import fails as the README describes", async () => {
    const path = project({ type: "module" })
    await run("npm", [
      "install",
      "--legacy-peer-deps",
      "--ignore-scripts",
      "--no-audit",
      "--no-fund",
      "effect@4",
      library()
    ], {
      cwd: path
    })
    const program = Path.join(path, "node_modules/effect-session/dist/bin.js")
    const printed = await output("node", [program, "--version"], path)
    assert.include(
      printed,
      "This is the Effect 3 line: npm install effect@3.22 @effect/platform@0.97 @effect/platform-node@0.108"
    )
    const imported = await output("node", ["--input-type=module", "--eval", "import \"effect-session\""], path)
    assert.match(imported, /Cannot find module '.*\/effect\/dist\/Either\.js'/)
    assert.include(readFileSync("README.md", "utf8"), "Cannot find module '…/effect/dist/Either.js'")
  })
})
