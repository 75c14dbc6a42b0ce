/**
 * `npm run laws`: runs the published laws on every store and engine here, and writes `docs/laws.json` and the page `docs/laws.md`.
 * `npm run laws -- test/SessionStore.redis`: runs these test files only, and keeps the other results. `npm run laws -- --page`: writes the
 * page again from the results of the last run.
 */
import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { parseArgs } from "node:util"
import type { LawResult, Results } from "./lawsPage.js"
import { readResults, writeResults } from "./lawsPage.js"

interface Report {
  readonly testResults: ReadonlyArray<{
    readonly assertionResults: ReadonlyArray<{ readonly title: string; readonly status: string }>
  }>
}

/** The tests that run laws: each title is `store: law`. */
const all = [
  "test/SessionStore.",
  "test/SessionEngine.test.ts",
  "test/CookieEngine.test.ts",
  "test/CookieEngine.ledger.laws.test.ts",
  "test/DjangoEngine.laws.test.ts"
]

const run = (tests: ReadonlyArray<string>): Report => {
  const folder = mkdtempSync(Path.join(tmpdir(), "effect-session-laws-"))
  try {
    const file = Path.join(folder, "report.json")
    spawnSync("./node_modules/.bin/vitest", ["run", "--reporter=json", `--outputFile=${file}`, ...tests], {
      stdio: ["ignore", "ignore", "inherit"]
    })
    return JSON.parse(readFileSync(file, "utf8"))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

type Outcomes = ReadonlyMap<string, ReadonlyMap<string, boolean>>

/** Whether each law that was run has passed, by law and by store. */
const outcomesOf = (report: Report): Outcomes => {
  const rows = new Map<string, Map<string, boolean>>()
  for (const { status, title } of report.testResults.flatMap(({ assertionResults }) => assertionResults)) {
    const [, store, law] = /^(.*?): (.*)$/s.exec(title) ?? []
    if (store === undefined || law === undefined || status === "skipped" || status === "pending") continue
    rows.set(law, (rows.get(law) ?? new Map<string, boolean>()).set(store, status === "passed"))
  }
  return rows
}

/** The results of a run of everything. Laws that the store in memory does not run are not part of the suite. */
const resultsOf = (outcomes: Outcomes): Results => {
  const rows = [...outcomes].filter(([, row]) => row.has("memory"))
  const stores = [...new Set(rows.flatMap(([, row]) => [...row.keys()]))]
  return {
    stores,
    laws: rows.map(([name, row]): LawResult => ({
      name,
      notRun: stores.filter((store) => !row.has(store)),
      failed: stores.filter((store) => row.get(store) === false)
    }))
  }
}

/** Former results with those of a run of some tests. A store that is new has run nothing before. */
const merged = (former: Results, outcomes: Outcomes): Results => {
  const stores = [
    ...new Set([
      ...former.stores,
      ...former.laws.flatMap(({ name }) => [...outcomes.get(name)?.keys() ?? []])
    ])
  ]
  return {
    stores,
    laws: former.laws.map(({ failed, name, notRun }) => {
      const row = outcomes.get(name)
      const wasRun = (store: string) => former.stores.includes(store) && !notRun.includes(store)
      return {
        name,
        notRun: stores.filter((store) => row?.has(store) !== true && !wasRun(store)),
        failed: stores.filter((store) => row?.has(store) === true ? row.get(store) === false : failed.includes(store))
      }
    })
  }
}

const { positionals, values: { page: onlyPage } } = parseArgs({
  allowPositionals: true,
  options: { page: { type: "boolean", default: false } }
})
const results = onlyPage
  ? readResults()
  : positionals.length > 0
  ? merged(readResults(), outcomesOf(run(positionals)))
  : resultsOf(outcomesOf(run(all)))
writeResults(results)
const broken = results.laws.filter(({ failed }) => failed.length > 0)
console.log(`${results.laws.length} laws on ${results.stores.length} stores; ${broken.length} broken somewhere`)
process.exitCode = results.laws.length > 0 && broken.length === 0 ? 0 : 1
