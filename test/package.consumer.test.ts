/**
 * An application that exports inferred types of this package: TypeScript can emit its declarations, which contain no `any` and
 * name only public modules. Tested with the TypeScript of this repository and with 5.9.
 */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { install, run } from "./support/packedPackage.js"

const project = mkdtempSync(Path.join(tmpdir(), "effect-session-consumer-"))
const tools = Path.join(project, "tools")
const dist = Path.join(project, "node_modules/effect-session/dist")
/** The older compiler, and the types that the README requires for the Postgres driver. */
const others = ["typescript@5.9.3", "@types/pg@8.23.1"]

/** The public modules, without `bin`, which runs when imported. */
const modules = () =>
  readdirSync(dist).filter((file) => file.endsWith(".d.ts")).map((file) => file.slice(0, -".d.ts".length))
    .filter((name) => name !== "bin")

/** Source that exports, for each module, its namespace and an object whose type is inferred from its values. */
const everything = () =>
  modules().map((name, i) => {
    const path = name === "index" ? "effect-session" : `effect-session/${name}`
    return `import * as M${i} from "${path}"\nexport type { M${i} }\nexport const m${i} = { ...M${i} }\n`
  }).join("")

beforeAll(async () => {
  await install(project, {
    declaration: true,
    rootDir: ".",
    paths: { pg: ["./tools/node_modules/@types/pg"] }
  })
  mkdirSync(tools)
  writeFileSync(Path.join(tools, "package.json"), JSON.stringify({ name: "tools", private: true }))
  await run("npm", ["install", "--no-save", "--no-audit", "--no-fund", "--prefer-offline", ...others], tools)
  writeFileSync(Path.join(project, "everything.ts"), everything())
  cpSync("test/fixtures/consumer.ts", Path.join(project, "consumer.ts"))
})

afterAll(() => rmSync(project, { recursive: true, force: true }))

const withoutComments = (text: string) => text.replace(/\/\*[^]*?\*\/|^\s*\/\/.*$/gm, "")

const linesWith = (pattern: RegExp, folder: string, files: ReadonlyArray<string>) =>
  files.flatMap((file) =>
    withoutComments(readFileSync(Path.join(folder, file), "utf8")).split("\n")
      .filter((line) => pattern.test(line)).map((line) => `${file}: ${line.trim()}`)
  )

describe("the declarations of the package", () => {
  it("of public modules name no internal module", () => {
    assert.includeMembers(modules(), ["index", "Session", "SqlEngine", "testing"])
    assert.deepStrictEqual(linesWith(/internal\//, dist, modules().map((name) => `${name}.d.ts`)), [])
  })

  for (
    const [major, compiler] of [["7", "node_modules/typescript"], ["5.9", "tools/node_modules/typescript"]] as const
  ) {
    it(`let an application export what TypeScript ${major} infers`, async () => {
      const { version } = JSON.parse(readFileSync(Path.join(project, compiler, "package.json"), "utf8"))
      assert.isTrue(version.startsWith(`${major}.`), version)
      const out = `out-${major}`
      await run("node", [`${compiler}/bin/tsc`, "-p", ".", "--outDir", out], project)
      const written = ["everything.d.ts", "consumer.d.ts"]
      // The pattern matches at all.
      assert.isAbove(linesWith(/: import\("effect\//, Path.join(project, out), written).length, 20)
      assert.deepStrictEqual(linesWith(/\bany\b/, Path.join(project, out), written), [])
      assert.deepStrictEqual(linesWith(/internal\/|effect-session\/dist/, Path.join(project, out), written), [])
    })
  }
})
