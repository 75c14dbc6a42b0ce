import { configDefaults, defineConfig } from "vitest/config"
import { LongestFirst } from "./test/support/longestFirst.js"
import { leftOut } from "./test/support/parts.js"

export default defineConfig({
  resolve: {
    alias: [
      { find: /^effect-session$/, replacement: new URL("./src/index.ts", import.meta.url).pathname },
      { find: /^effect-session\/(.*)$/, replacement: new URL("./src/", import.meta.url).pathname + "$1.ts" }
    ]
  },
  test: {
    include: ["test/**/*.test.ts"],
    exclude: [...configDefaults.exclude, ...leftOut().flatMap(({ files }) => files)],
    reporters: ["default", "./test/support/summaryReporter.ts"],
    globalSetup: ["test/support/globalSetup.ts"],
    // Most tests wait for servers and for child processes: two at once, also on two cores.
    minWorkers: 2,
    maxWorkers: 2,
    // A process takes one file after another: to load Effect anew for each of them would take a third of the whole time.
    poolOptions: { forks: { isolate: false } },
    sequence: { sequencer: LongestFirst },
    // Limits are for what hangs. What takes 20 seconds on a quiet machine takes several times as long on a busy one.
    testTimeout: 180_000,
    hookTimeout: 180_000
  }
})
