/**
 * The last line of a test run: how many passed and how many failed, in a form that any tool can read.
 */
import type { Reporter, TestModule } from "vitest/node"

export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>): void {
    const states = modules.flatMap((module) => [...module.children.allTests()].map((test) => test.result().state))
    const broken = modules.filter((module) => module.children.size === 0 || module.errors().length > 0).length
    const passed = states.filter((state) => state === "passed").length
    // A test that did not run has not passed, and a file that could not be read is a failure.
    process.on("exit", () => console.log(`${passed} passed, ${states.length - passed + broken} failed`))
  }
}
