import { configDefaults, defineConfig } from "vitest/config"
import { isFast, notFast } from "./test/support/fast.js"
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
    exclude: [
      ...configDefaults.exclude,
      ...leftOut().flatMap(({ files }) => files),
      ...isFast() ? notFast() : []
    ],
    reporters: ["default", "./test/support/summaryReporter.ts"],
    globalSetup: ["test/support/globalSetup.ts"],
    setupFiles: ["test/support/optionEquality.ts"],
    // Most tests wait for servers and child processes: three files at once, also on two cores.
    minWorkers: 3,
    maxWorkers: 3,
    // One process runs many files: loading Effect for each file would take a third of the run.
    poolOptions: { forks: { isolate: false } },
    sequence: { sequencer: LongestFirst },
    // Limits are for tests that hang. 20 seconds on an idle machine are minutes on a busy one.
    testTimeout: 180_000,
    hookTimeout: 180_000
  }
})
