/**
 * `npm run test:runtimes` tests the versions that `npm test` tests.
 */
import { readFileSync } from "node:fs"
import { assert, it } from "vitest"

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
  readonly overrides: unknown
}

const manifestOf = (file: string): Manifest => JSON.parse(readFileSync(file, "utf8"))

const root = manifestOf("package.json")
const runtimes = manifestOf("test/runtimes/package.json")

/** The version of each installed package, by its path. */
const locked = (file: string): ReadonlyMap<string, { readonly version: string }> =>
  new Map(Object.entries(JSON.parse(readFileSync(file, "utf8")).packages))

it("a package that the root declares has the same version in test/runtimes", () => {
  const versions = locked("package-lock.json")
  const names = Object.keys(runtimes.dependencies)
  assert.includeMembers(names, ["effect", "@effect/platform", "@effect/sql-pg", ...Object.keys(root.dependencies)])
  assert.deepStrictEqual(
    runtimes.dependencies,
    Object.fromEntries(names.map((name) => [name, versions.get(`node_modules/${name}`)?.version ?? "not installed"]))
  )
  assert.deepStrictEqual(runtimes.overrides, root.overrides)
})

it("the lockfile of test/runtimes has one version of each package of Effect", () => {
  const installed = [...locked("test/runtimes/package-lock.json").keys()]
    .map((path) => path.replace(/^(?:.*\/)?node_modules\//, ""))
    .filter((name) => name === "effect" || name.startsWith("@effect/"))
  assert.include(installed, "effect")
  assert.deepStrictEqual(installed, [...new Set(installed)])
})
