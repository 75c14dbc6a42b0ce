/**
 * The last lines of a test run: what it left out, and how many passed and failed, in a form that any tool can read.
 */
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
    // A test that did not run has not passed, a file that could not be read and an error outside tests are failures, and
    // so is a run that came to no test.
    const failed = Math.max(states.length - passed + broken + errors.length, reason === "passed" ? 0 : 1)
    const names = leftOut().map(({ name }) => name)
    process.on("exit", () => {
      if (names.length > 0) console.log(`Left out by choice: ${names.join(", ")}.`)
      console.log(`${passed} passed, ${failed} failed`)
    })
  }
}
