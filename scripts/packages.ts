/**
 * The packages as they are published: `publint` and `attw` find nothing to complain about.
 *
 * `attw` checks every public module for imports from ESM, by Node and by bundlers. The package has no CommonJS and needs the
 * export map, so resolutions without either are left out.
 */
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core"
import { execFileSync } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { publint } from "publint"
import { formatMessage } from "publint/utils"

/** The folders of the packages. */
export const folders: ReadonlyArray<string> = [".", "create-effect-session"].filter((folder) =>
  existsSync(Path.join(folder, "package.json"))
)

/** Packs the package into a temporary folder and checks the tarball. Returns the problems. */
const problemsOf = async (folder: string): Promise<ReadonlyArray<string>> => {
  const temporary = mkdtempSync(Path.join(tmpdir(), "effect-session-pack-"))
  try {
    execFileSync("npm", ["pack", "--pack-destination", temporary], { cwd: folder, stdio: ["ignore", "ignore", "pipe"] })
    const [name = ""] = readdirSync(temporary)
    const tarball = readFileSync(Path.join(temporary, name))
    return [...await linted(tarball), ...await wrongTypes(folder, tarball)]
  } finally {
    rmSync(temporary, { recursive: true, force: true })
  }
}

const linted = async (tarball: Uint8Array<ArrayBuffer>): Promise<ReadonlyArray<string>> => {
  const { messages, pkg } = await publint({ strict: true, pack: { tarball: tarball.buffer } })
  return messages.map((message) => `publint: ${formatMessage(message, pkg, { color: false })}`)
}

const wrongTypes = async (folder: string, tarball: Uint8Array): Promise<ReadonlyArray<string>> => {
  const { exports } = JSON.parse(readFileSync(Path.join(folder, "package.json"), "utf8"))
  // A program without exports has no types.
  if (exports === undefined) return []
  const result = await checkPackage(createPackageFromTarballData(tarball), { entrypoints: [...entryPoints(folder)] })
  if (result.types === false) return ["attw: there are no types"]
  return result.problems
    .filter((problem) => !("resolutionKind" in problem && /node10|node16-cjs/.test(problem.resolutionKind)))
    .map((problem) => `attw: ${JSON.stringify(problem)}`)
}

/** The index and the public modules. The program runs when it is imported. */
const entryPoints = (folder: string): ReadonlyArray<string> =>
  readdirSync(Path.join(folder, "src")).filter((file) => file.endsWith(".ts") && file !== "bin.ts").map((file) =>
    file === "index.ts" ? "." : `./${Path.basename(file, ".ts")}`
  )

/** Prints the problems of all packages. Returns whether there are none. */
export const checkPackages = async (): Promise<boolean> => {
  let good = true
  for (const folder of folders) {
    for (const problem of await problemsOf(folder)) {
      good = false
      console.log(`${folder === "." ? "effect-session" : folder}: ${problem}`)
    }
  }
  return good
}
