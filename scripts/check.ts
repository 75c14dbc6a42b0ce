/**
 * `npm run check`: format, types, words that have a standard term, the examples of the documentation, and the packages.
 * Prints one line per check and fails if one of them fails.
 */
import { spawnSync } from "node:child_process"
import { writeExamples } from "./docExamples.js"
import { checkPackages } from "./packages.js"
import { checkWords } from "./words.js"

const checks: ReadonlyArray<readonly [name: string, run: () => boolean | Promise<boolean>]> = [
  ["format", () => run("dprint", "check")],
  ["types, type tests", () => run("tsc", "--noEmit", "-p", "tsconfig.json")],
  ["words", () => checkWords()],
  ["documentation examples", () => {
    const count = writeExamples()
    console.log(`${count} examples`)
    return count > 0 && run("tsc", "--noEmit", "-p", "node_modules/.cache/doc-examples/tsconfig.json")
  }],
  ["packages (publint, attw)", () => checkPackages()]
]

const run = (command: string, ...args: ReadonlyArray<string>): boolean =>
  spawnSync(`./node_modules/.bin/${command}`, args, { stdio: "inherit" }).status === 0

let failed = 0
for (const [name, check] of checks) {
  const passed = await check()
  if (!passed) failed++
  console.log(`${passed ? "ok" : "FAILED"}: ${name}`)
}
console.log(`${checks.length - failed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
