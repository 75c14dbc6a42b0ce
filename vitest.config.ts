import { defineConfig } from "vitest/config"

export default defineConfig({
  resolve: {
    alias: [
      { find: /^effect-session$/, replacement: new URL("./src/index.ts", import.meta.url).pathname },
      { find: /^effect-session\/(.*)$/, replacement: new URL("./src/", import.meta.url).pathname + "$1.ts" }
    ]
  },
  test: {
    include: ["test/**/*.test.ts"],
    reporters: ["default", "./test/support/closingLine.ts"],
    globalSetup: ["test/support/globalSetup.ts"],
    testTimeout: 30_000,
    hookTimeout: 60_000
  }
})
