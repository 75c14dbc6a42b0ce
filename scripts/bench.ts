/**
 * `npm run bench -- session-tax`: bundles a benchmark with the library's sources, as a deployment would, and runs it.
 */
import { buildSync } from "esbuild"
import { spawnSync } from "node:child_process"
import { readdirSync } from "node:fs"

const [name = "session-tax", ...args] = process.argv.slice(2)
const outfile = `node_modules/.cache/bench/${name}.mjs`
buildSync({
  entryPoints: [`bench/${name}.ts`],
  bundle: true,
  packages: "external",
  platform: "node",
  format: "esm",
  target: "node20",
  outfile,
  // Only relative imports and the library itself are bundled.
  tsconfig: "tsconfig.json",
  alias: Object.fromEntries([
    ...readdirSync("src").filter((file) => file.endsWith(".ts")).map((file) => [
      `effect-session/${file.slice(0, -3)}`,
      `./src/${file}`
    ]),
    ["effect-session", "./src/index.ts"]
  ])
})
process.exitCode = spawnSync(process.execPath, [outfile, ...args], { stdio: "inherit" }).status ?? 1
