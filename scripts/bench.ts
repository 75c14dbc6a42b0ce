/**
 * `npm run bench -- session-tax`: bundles a benchmark with the library's sources, as a deployment would, and runs it.
 */
import { buildSync } from "esbuild"
import { spawnSync } from "node:child_process"

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
  alias: { "effect-session": "./src/index.ts" }
})
process.exitCode = spawnSync(process.execPath, [outfile, ...args], { stdio: "inherit" }).status ?? 1
