/**
 * `npm run laws`: runs the published laws on every store and engine here, and writes the table of `docs/engines.md`. The cells
 * are the results of that run.
 */
import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"

interface Report {
  readonly testResults: ReadonlyArray<{
    readonly assertionResults: ReadonlyArray<{ readonly title: string; readonly status: string }>
  }>
}

const page = "docs/engines.md"
const [begin, end] = ["<!-- laws: written by npm run laws -->", "<!-- /laws -->"]

const run = (): Report => {
  const folder = mkdtempSync(Path.join(tmpdir(), "effect-session-laws-"))
  try {
    const file = Path.join(folder, "report.json")
    const tests = [
      "test/SessionStore.",
      "test/SessionEngine.test.ts",
      "test/CookieEngine.test.ts",
      "test/CookieEngine.ledger.laws.test.ts"
    ]
    spawnSync("./node_modules/.bin/vitest", ["run", "--reporter=json", `--outputFile=${file}`, ...tests], {
      stdio: ["ignore", "ignore", "inherit"]
    })
    return JSON.parse(readFileSync(file, "utf8"))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** From `store: law`, by law and by store. */
const outcomesOf = (report: Report): ReadonlyMap<string, ReadonlyMap<string, string>> => {
  const rows = new Map<string, Map<string, string>>()
  for (const { status, title } of report.testResults.flatMap(({ assertionResults }) => assertionResults)) {
    const [, store = "", law = ""] = /^(.*?): (.*)$/s.exec(title) ?? []
    rows.set(law, (rows.get(law) ?? new Map()).set(store, status))
  }
  // Laws that the store in memory does not run are not part of the suite.
  return new Map([...rows].filter(([, row]) => row.has("memory")))
}

const tableOf = (outcomes: ReadonlyMap<string, ReadonlyMap<string, string>>): string => {
  const stores = [...new Set([...outcomes.values()].flatMap((row) => [...row.keys()]))]
  const cell = (status: string | undefined) => status === "passed" ? "✓" : status === undefined ? "–" : "✗"
  return [
    `| law | ${stores.join(" | ")} |`,
    `| --- | ${stores.map(() => ":-:").join(" | ")} |`,
    ...[...outcomes].map(([law, row]) =>
      `| ${law.replaceAll(/[|_]/g, "\\$&")} | ${stores.map((store) => cell(row.get(store))).join(" | ")} |`
    )
  ].join("\n")
}

const outcomes = outcomesOf(run())
const text = readFileSync(page, "utf8")
const [before, rest = ""] = text.split(begin)
const after = rest.split(end)[1]
if (after === undefined) throw new Error(`${page} has no place for the table: ${begin} … ${end}`)
writeFileSync(page, `${before}${begin}\n\n${tableOf(outcomes)}\n\n${end}${after}`)
spawnSync("./node_modules/.bin/dprint", ["fmt", page], { stdio: "ignore" })
const broken = [...outcomes].filter(([, row]) => [...row.values()].some((status) => status !== "passed"))
console.log(`${outcomes.size} laws; ${broken.length} broken somewhere`)
process.exitCode = outcomes.size > 0 && broken.length === 0 ? 0 : 1
