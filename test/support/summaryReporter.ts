/**
 * Prints the end of a run: the slowest files, the parts left out, and the numbers of passed and failed tests on the last line.
 */
import { relative } from "node:path"
import type { Reporter, SerializedError, TestModule, TestRunEndReason } from "vitest/node"
import { leftOut } from "./parts.js"

export default class ClosingLine implements Reporter {
  onTestRunEnd(
    modules: ReadonlyArray<TestModule>,
    errors: ReadonlyArray<SerializedError>,
    reason: TestRunEndReason
  ): void {
    const states = modules.flatMap((module) => [...module.children.allTests()].map((test) => test.result().state))
    const broken = modules.filter((module) => module.children.size === 0 || module.errors().length > 0).length
    const passed = states.filter((state) => state === "passed").length
    // Tests that did not run, files that failed to load, errors outside tests and a run without tests count as failures.
    const failed = Math.max(states.length - passed + broken + errors.length, reason === "passed" ? 0 : 1)
    const slowest = modules
      .map((module) => ({
        path: relative(process.cwd(), module.moduleId),
        seconds: module.diagnostic().duration / 1000
      }))
      .sort((a, b) => b.seconds - a.seconds)
      .slice(0, modules.length > 10 ? 10 : 0)
    const names = leftOut().map(({ name }) => name)
    process.on("exit", () => {
      if (slowest.length > 0) console.log("The slowest files, in seconds:")
      for (const { path, seconds } of slowest) console.log(`  ${seconds.toFixed(1).padStart(6)}  ${path}`)
      if (names.length > 0) console.log(`Left out by choice: ${names.join(", ")}.`)
      console.log(`${passed} passed, ${failed} failed`)
    })
  }
}
