/**
 * `npm run build`: compiles `src` to `dist`, where imports of a module that package.json has under `imports` use the name that it has
 * there. Bundlers then choose the module by their conditions. The sources import it by its path, so they run without package.json.
 */
import { execFileSync } from "node:child_process"
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { resolve } from "node:path/posix"

// A module that was renamed must not stay in the package.
rmSync("dist", { recursive: true, force: true })
execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"], { stdio: "inherit" })

const { imports }: { readonly imports: Readonly<Record<string, { readonly default: string }>> } = JSON.parse(
  readFileSync("package.json", "utf8")
)
const nameOf = new Map(Object.entries(imports).map(([name, { default: path }]) => [resolve(path), name]))

const files = readdirSync("dist", { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".js"))
for (const file of files.map((file) => `dist/${file.replaceAll("\\", "/")}`)) {
  const code = readFileSync(file, "utf8")
  const named = code.replace(
    /^((?:import|export)\b.*? from )"(\..*)"/gm,
    (statement, start: string, path: string) => {
      const name = nameOf.get(resolve(file, "..", path))
      return name === undefined ? statement : `${start}"${name}"`
    }
  )
  if (named !== code) writeFileSync(file, named)
}
