/**
 * Budgets of the bundles that use the published package, and the modules that must not be in them.
 */
import { Layer } from "effect"
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import type { Bundle, Options } from "./support/bundles.js"
import { bundle, packages, packagesOf } from "./support/bundles.js"
import { install, run } from "./support/packedPackage.js"

const project = mkdtempSync(Path.join(tmpdir(), "effect-session-size-"))

beforeAll(async () => {
  await install(project)
  cpSync("test/fixtures/sizes", project, { recursive: true })
})

afterAll(() => rmSync(project, { recursive: true, force: true }))

const bundled = (program: string, options: Options): Promise<Bundle> => bundle(project, program, options)

const page = { platform: "browser" } as const
const server = { platform: "node" } as const
/** The conditions of wrangler, which bundles for Workers. */
const worker = { platform: "browser", conditions: ["workerd", "worker", "browser"] } as const satisfies Options

const declarations = {
  "an HttpApi whose group has the session, and its client": { with: "apiWithSession", without: "api", measured: 4578 },
  "an HttpApi whose group has a guard, and its client": { with: "apiWithGuard", without: "api", measured: 4842 },
  "an RPC group with the session": { with: "rpcWithSession", without: "rpc", measured: 6472 }
} as const

const servers = {
  "a server with `MemoryStore.layer` and `StoredEngine.layer`": { program: "memory", measured: 48530 }
} as const

const slack = 1.05

const kilobytes = (bytes: number): string => `${(bytes / 1000).toFixed(1)} KB`

const assertWithin = (measured: number, bytes: number): void => {
  console.log(`${kilobytes(bytes)} (${bytes} bytes; ${measured} when the budget was set)`)
  assert.isAtMost(bytes, measured * slack)
}

/** Modules that serve requests or keep sessions. */
const ofServers = /^(?:\w+(?:Engine|Store)|internal\/(?!domain\/|http\/(?:httpApi|noServer|schemes)$)\w+\/.*)$/

const ofCiphers = /^@noble\/ciphers\//
const ofSealing = /^internal\/crypto\/(?:cipher|keys|sealedText|tokens)$/

const all = (file: string) => `export * from "./${file}.js"`

describe("a bundle for a browser", () => {
  it.each(Object.entries(declarations))("has no server in %s", async (_, { measured, ...files }) => {
    const [added, base] = await Promise.all([bundled(all(files.with), page), bundled(all(files.without), page)])
    assert.include(added.own, "internal/http/noServer")
    assert.deepStrictEqual(added.own.filter((name) => ofServers.test(name)), [])
    const others = added.others.filter((path) => !base.others.includes(path))
    assert.deepStrictEqual(others.filter((path) => /Rout|^@noble/.test(path)), [])
    assertWithin(measured, added.gzip - base.gzip)
  })
})

describe("a bundle for a server", () => {
  it.each(Object.entries(servers))("of %s has no sealing code", async (_, { measured, program }) => {
    const { others, own } = await bundled(all(program), server)
    assert.includeMembers([...own], ["internal/session/commit", "internal/crypto/primitives", "MemoryStore"])
    assert.deepStrictEqual(own.filter((name) => ofSealing.test(name)), [])
    assert.deepStrictEqual(others.filter((path) => ofCiphers.test(path)), [])
    assertWithin(measured, (await bundled(all(program), { ...server, ownCodeOnly: true })).gzip)
  })

  const twoVisits = `
import { handler } from "./memory.js"
const first = await handler(new Request("https://localhost/"))
const cookie = first.headers.getSetCookie()[0]?.split(";")[0] ?? ""
const second = await handler(new Request("https://localhost/", { headers: { cookie } }))
console.log(await first.text(), await second.text())
`

  const output = async (options: Options): Promise<string> => {
    writeFileSync(Path.join(project, "visits.mjs"), (await bundled(twoVisits, options)).text)
    return run("node", ["visits.mjs"], project)
  }

  it.each([["node", server], ["a Worker", worker]] as const)("runs with the conditions of %s", async (_, options) => {
    assert.strictEqual((await output(options)).trim(), "1 2")
  })

  it("does not start with the conditions of a browser, and the error states the remedy", async () => {
    assert.match(String(await output(page).catch(String)), /app\/Session.*bundled for a browser.*--conditions=worker/s)
  })
})

/** The modules that an application imports, as the package resolves them. */
const published = (): ReadonlyArray<readonly [name: string, path: string]> =>
  readdirSync(Path.join(project, "node_modules/effect-session/dist"))
    .filter((file) => file.endsWith(".js") && file !== "bin.js")
    .map((file) => file.slice(0, -".js".length))
    .map((name) => [name, name === "index" ? "effect-session" : `effect-session/${name}`])

const { peerDependenciesMeta }: { readonly peerDependenciesMeta: Readonly<Record<string, unknown>> } = JSON.parse(
  readFileSync("package.json", "utf8")
)

/** The modules that need packages which an application installs for them only. */
const optionalPackages: Readonly<Record<string, ReadonlyArray<string>>> = {
  CachedSqlEngine: ["@effect/sql"],
  Cli: [
    "@effect/cli",
    "@effect/sql",
    "@effect/sql-mysql2",
    "@effect/sql-pg",
    "@effect/sql-sqlite-node",
    "ioredis"
  ],
  DjangoEngine: ["@effect/sql"],
  PgInvalidation: ["@effect/sql-pg"],
  SessionRpc: ["@effect/rpc"],
  SqlAudit: ["@effect/sql"],
  SqlEngine: ["@effect/sql"],
  SqlMigrations: ["@effect/sql"],
  SqlStore: ["@effect/sql"]
}

it("docs/http.md states the measured sizes", () => {
  const rows = [...readFileSync("docs/http.md", "utf8").matchAll(/^\| (.+?) +\| ([\d.]+ KB) +\|$/gm)]
  assert.deepStrictEqual(
    Object.fromEntries(rows.map(([, title, size]) => [title, size])),
    Object.fromEntries(
      Object.entries({ ...declarations, ...servers }).map(([title, { measured }]) => [title, kilobytes(measured)])
    )
  )
})

describe("the modules of the package", () => {
  it("add nothing to a bundle that imports them and uses nothing of them", async () => {
    assert.isAbove(published().length, 50)
    for (const [name, path] of published()) {
      for (const program of [`import "${path}"`, `import * as Unused from "${path}"`]) {
        assert.strictEqual((await bundled(program, { ...page, ownCodeOnly: true })).text, "", `${name}: ${program}`)
      }
    }
  })

  it("bring in optional packages only where they need them, and no package that is no dependency", async () => {
    const external = new Map<string, ReadonlyArray<string>>()
    for (const [name, path] of published()) {
      external.set(
        name,
        packagesOf((await bundled(`export * from "${path}"`, { ...server, ownCodeOnly: true })).external)
      )
    }
    const optional = [...external].map(([name, names]) => [name, names.filter((name) => name in peerDependenciesMeta)])
    assert.deepStrictEqual(Object.fromEntries(optional.filter(([, names]) => names?.length !== 0)), optionalPackages)
    assert.deepStrictEqual([...new Set([...external.values()].flat())].filter((name) => !packages.includes(name)), [])
  })

  it("change no global value when they are loaded, and leave nothing running", async () => {
    const paths = published().map(([, path]) => path)
    const { external } = await bundled(paths.map((path) => `export * from "${path}"`).join("\n"), {
      ...server,
      ownCodeOnly: true
    })
    writeFileSync(
      Path.join(project, "load.mjs"),
      `
import { currentRedactedNames } from "@effect/platform/Headers"
import { currentPreResponseHandlers } from "@effect/platform/HttpApp"
const load = async (paths) => {
  for (const path of paths) await import(path)
  return new Map([
    ...Object.getOwnPropertyNames(globalThis).filter((name) => !name.startsWith("effect/")).map((name) => [name, name]),
    ["redacted headers", currentRedactedNames.initial],
    ["pre-response handlers", currentPreResponseHandlers.initial],
    ["listeners", process.eventNames().length]
  ])
}
const before = await load(${JSON.stringify(external)})
const after = await load(${JSON.stringify(paths)})
console.log(JSON.stringify([...after.keys()].filter((key) => after.get(key) !== before.get(key))))
`
    )
    assert.deepStrictEqual(JSON.parse(await run("node", ["load.mjs"], project)), [])
  })

  it("cost the same from the index as from the sub-path", async () => {
    const tag = `export const tag = Session.Tag()("app/Session", { schema })`
    const declared = (imported: string) => bundled(`${imported}; export const schema = 1; ${tag}`, server)
    const [index, subPath] = await Promise.all([
      declared(`import { Session } from "effect-session"`),
      declared(`import * as Session from "effect-session/Session"`)
    ])
    assert.deepStrictEqual(index.own, subPath.own)
    assert.deepStrictEqual(index.others, subPath.others)
    assert.closeTo(index.gzip, subPath.gzip, 300)
  })
})

describe("the engines", () => {
  it("seal only with options", async () => {
    const engines = published().filter(([name]) => name.endsWith("Engine"))
    const [withoutOptions, sealing]: [Array<string>, Array<string>] = [[], []]
    for (const [name, path] of engines) {
      const { layer }: { readonly layer?: unknown } = await import(`../src/${name}.ts`)
      if (!Layer.isLayer(layer)) continue
      withoutOptions.push(name)
      const { external } = await bundled(`export { layer } from "${path}"`, { ...server, ownCodeOnly: true })
      if (packagesOf(external).includes("@noble/ciphers")) sealing.push(name)
    }
    assert.includeMembers(withoutOptions, ["MemoryEngine", "SqlEngine", "StoredEngine"])
    assert.deepStrictEqual(sealing, [])
  })
})
