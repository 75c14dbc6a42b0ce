/**
 * `npm run docs [-- --base /path/] [--serve] [--port 4173]`: builds the documentation site in `site/dist` from `docs`, `README.md`,
 * `CHANGELOG.md` and the doc comments of `src`. `--base` is the path of the site on its host, `--serve` shows the built site. The tools are
 * packages of `site/package.json`, which the first run installs; a build itself needs no network.
 */
import { spawnSync } from "node:child_process"
import { existsSync, rmSync } from "node:fs"
import { parseArgs } from "node:util"
import { assemble, content } from "./site/assemble.js"
import { writeForMachines } from "./site/machines.js"

const run = (command: string, ...args: ReadonlyArray<string>): void => {
  const { status } = spawnSync(command, args, { cwd: "site", stdio: "inherit" })
  if (status !== 0) throw new Error(`\`${command} ${args.join(" ")}\` failed in the folder site.`)
}

const tool = (name: string): string => `./node_modules/.bin/${name}`

const { values: { base, port, serve } } = parseArgs({
  options: {
    base: { type: "string" },
    port: { type: "string", default: "4173" },
    serve: { type: "boolean", default: false }
  }
})

if (!existsSync("site/node_modules/.package-lock.json")) run("npm", "ci")
rmSync(content, { recursive: true, force: true })
rmSync("site/dist", { recursive: true, force: true })
run(tool("tsc"), "--noEmit", "-p", "tsconfig.json")
run(tool("typedoc"))
const site = assemble(base)
run(tool("vitepress"), "build")
writeForMachines(site)
console.log(`${site.pages.length + site.api.length + 1} pages in site/dist`)
if (serve) run(tool("vitepress"), "preview", "--port", port)
