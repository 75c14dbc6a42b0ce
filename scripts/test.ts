/**
 * `npm test`: runs all tests. It installs missing programs first, where that is possible.
 *
 * - `npm test -- SqlStore`: the files whose path contains the text. All other arguments are those of vitest, too.
 * - `npm test -- --without browser,redis`: leaves out the tests that need a browser or Redis.
 * - `npm run test:fast`: leaves out the files that need a server, a browser or much time (see `test/support/fast.ts`).
 */
import { spawn, spawnSync } from "node:child_process"
import { constants } from "node:os"
import * as Fast from "../test/support/fast.js"
import * as Parts from "../test/support/parts.js"
import { find } from "../test/support/servers/programs.js"
import { unpackBackport } from "../test/support/servers/valkey.js"

const run = (args: ReadonlyArray<string>): void => {
  const isFast = args.includes("--fast")
  const { rest, without } = Parts.parse(args.filter((arg) => arg !== "--fast"))
  for (const part of isFast ? [] : Parts.parts) {
    if (!without.includes(part) && !Parts.isInstalled(part) && Parts.isWanted(part, rest)) install(part)
  }
  const vitest = spawn("./node_modules/.bin/vitest", ["run", ...rest], {
    stdio: "inherit",
    env: {
      ...process.env,
      [Parts.variable]: without.map(({ name }) => name).join(","),
      [Fast.variable]: isFast ? "1" : ""
    },
    // In a process group of its own, so that a signal reaches the workers too: they would keep running after vitest.
    detached: true
  })
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => vitest.pid !== undefined && process.kill(-vitest.pid, signal))
  }
  vitest.on("exit", (code, signal) => {
    process.exitCode = code ?? 128 + (signal === null ? 0 : constants.signals[signal])
  })
}

const install = (part: Parts.Part): void => {
  try {
    if (part === Parts.valkey && unpackBackport()) return
  } catch {
    // apt has printed the cause.
    throw new Error(Parts.advice(part))
  }
  if (process.getuid?.() !== 0 || find("apt-get") === undefined) throw new Error(Parts.advice(part))
  console.log(`Installing ${part.packages.join(", ")} for the ${part.name} tests.`)
  for (const args of [["update"], Parts.installing(part)]) {
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" }
    if (spawnSync("apt-get", args, { stdio: "inherit", env }).status !== 0) throw new Error(Parts.advice(part))
  }
}

try {
  run(process.argv.slice(2))
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
