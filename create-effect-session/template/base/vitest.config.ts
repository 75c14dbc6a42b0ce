import { defineConfig } from "vitest/config"

// A login takes a while by intention: the hash of a password is slow.
export default defineConfig({ test: { testTimeout: 60_000 } })
