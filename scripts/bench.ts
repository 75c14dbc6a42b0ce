/**
 * `npm run bench` runs the benchmarks that fit in ten minutes and writes `docs/benchmarks`; `npm run bench -- NAME` runs one.
 *
 * The libraries that are measured beside this one are installed on the first run, from `bench/package-lock.json`. This one
 * is bundled from its sources, as a deployment would do it.
 */
import { buildSync } from "esbuild"
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"

/** The benchmarks of `npm run bench`. */
const standard = ["in-process", "sealed", "http", "contention", "memory"]
/** Benchmarks that take longer, or concern one part. `plots` measures nothing. */
const others = ["clear-expired", "memory-store", "move", "stores", "subjects", "plots"]
const [name, ...args] = process.argv.slice(2)

// Below `bench`, so that its own packages are found before those of the library.
const outdir = "bench/node_modules/.cache/bench"
const modulesIn = (folder: string) =>
  readdirSync(folder).filter((file) => file.endsWith(".ts")).map((file) => file.slice(0, -3))

const run = (command: string, ...args: ReadonlyArray<string>): void => {
  const { status } = spawnSync(command, args, { stdio: "inherit" })
  if (status !== 0) process.exit(status ?? 1)
}

const install = (): void => {
  const installed = "bench/node_modules/.installed"
  const lock = readFileSync("bench/package-lock.json", "utf8")
  if (existsSync(installed) && readFileSync(installed, "utf8") === lock) return
  run("npm", "ci", "--prefix", "bench", "--no-audit", "--no-fund")
  writeFileSync(installed, lock)
}

/** Measured too if Python is installed. If Django cannot be installed, the report states that it was omitted. */
const installDjango = (): void => {
  const [folder, environment] = ["bench/django", "bench/django/.venv"]
  const installed = `${environment}/.installed`
  const wanted = readFileSync(`${folder}/requirements.txt`, "utf8")
  if (existsSync(installed) && readFileSync(installed, "utf8") === wanted) return
  const succeeds = (command: string, ...args: ReadonlyArray<string>) =>
    spawnSync(command, args, { stdio: ["ignore", "ignore", "inherit"] }).status === 0
  const done = succeeds("python3", "-m", "venv", "--clear", environment) &&
    succeeds(`${environment}/bin/pip`, "install", "--quiet", "--requirement", `${folder}/requirements.txt`)
  if (done) writeFileSync(installed, wanted)
  else {
    rmSync(environment, { recursive: true, force: true })
    console.error("Django is left out: it needs python3 with venv and pip, and they did not install it.")
  }
}

const build = (): void => {
  rmSync(outdir, { recursive: true, force: true })
  mkdirSync(outdir, { recursive: true })
  buildSync({
    entryPoints: [
      ...modulesIn("bench").map((name) => `bench/${name}.ts`),
      ...modulesIn("bench/peers").map((name) => `bench/peers/${name}.ts`)
    ],
    bundle: true,
    splitting: true,
    packages: "external",
    platform: "node",
    format: "esm",
    target: "node20",
    outdir,
    outbase: "bench",
    outExtension: { ".js": ".mjs" },
    // Only relative imports and the library itself are bundled.
    tsconfig: "tsconfig.json",
    alias: Object.fromEntries([
      ...modulesIn("src").map((module) => [`effect-session/${module}`, `./src/${module}.ts`]),
      ["effect-session", "./src/index.ts"]
    ])
  })
}

const bench = (name: string, ...args: ReadonlyArray<string>): void => {
  console.log(`\n${name}`)
  run(process.execPath, `${outdir}/${name}.mjs`, ...args)
}

if (name !== undefined && ![...standard, ...others].includes(name)) {
  console.error(`There is no benchmark "${name}". There are ${[...standard, ...others].join(", ")}.`)
  process.exit(1)
}
install()
if (name === undefined || name === "http" || name === "contention") installDjango()
build()
if (name === undefined) { for (const name of standard) bench(name, "--save") }
else bench(name, ...args)
// The results are formatted like all other files.
run("node_modules/.bin/dprint", "fmt", "docs/benchmarks/**", "--allow-no-files")
