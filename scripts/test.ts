/**
 * `npm test`: all tests. `npm test -- --without browser` leaves out those that need a browser; every other argument is
 * vitest's. What they need and is not installed is installed first, where that is possible.
 */
import { spawn, spawnSync } from "node:child_process"
import { constants } from "node:os"
import * as Parts from "../test/support/parts.js"
import { find } from "../test/support/servers/programs.js"

const run = ({ rest, without }: ReturnType<typeof Parts.parse>): void => {
  for (const part of Parts.parts) {
    if (!without.includes(part) && !Parts.isInstalled(part) && Parts.isWanted(part, rest)) install(part)
  }
  const vitest = spawn("./node_modules/.bin/vitest", ["run", ...rest], {
    stdio: "inherit",
    env: { ...process.env, [Parts.variable]: without.map(({ name }) => name).join(",") },
    // A group of its own, so that a signal can reach the workers too: they would go on without vitest, and for ever.
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
  if (process.getuid?.() !== 0 || find("apt-get") === undefined) throw new Error(Parts.advice(part))
  console.log(`Installing ${part.packages.join(", ")}, which the ${part.name} tests need.`)
  for (const args of [["update"], Parts.installing(part)]) {
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" }
    if (spawnSync("apt-get", args, { stdio: "inherit", env }).status !== 0) throw new Error(Parts.advice(part))
  }
}

try {
  run(Parts.parse(process.argv.slice(2)))
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
