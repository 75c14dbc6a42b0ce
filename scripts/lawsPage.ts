/** The results of a run of the laws, in `docs/laws.json`, and the page that shows them, `docs/laws.md`. */
import { spawnSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import type { LawGroup } from "./lawGroups.js"
import { lawGroups, subjects } from "./lawGroups.js"

export interface Results {
  /** The stores and engines, by the name in the titles of the tests. */
  readonly stores: ReadonlyArray<string>
  readonly laws: ReadonlyArray<LawResult>
}

export interface LawResult {
  readonly name: string
  /** The stores that the law is not run on. */
  readonly notRun: ReadonlyArray<string>
  readonly failed: ReadonlyArray<string>
}

const data = "docs/laws.json"
const page = "docs/laws.md"
const [begin, end] = ["<!-- laws: written by npm run laws -->", "<!-- /laws -->"]

export const readResults = (): Results => JSON.parse(readFileSync(data, "utf8"))

/** Writes the results and the page. */
export const writeResults = (results: Results): void => {
  writeFileSync(data, JSON.stringify(results, undefined, 2))
  writeFileSync(page, withResults(readFileSync(page, "utf8"), results))
  spawnSync("./node_modules/.bin/dprint", ["fmt", data, page], { stdio: "ignore" })
}

/** Returns the text of the page with the results. */
export const withResults = (text: string, results: Results): string => {
  const [before, rest = ""] = text.split(begin)
  const after = rest.split(end)[1]
  if (after === undefined) throw new Error(`${page} has no place for the results: ${begin} … ${end}`)
  return `${before}${begin}\n\n${summaryOf(results)}\n\n${groupsOf(results)}\n\n${end}${after}`
}

const summaryOf = ({ laws, stores }: Results): string =>
  [
    "## Every store and engine",
    `${laws.length} laws, ${stores.length} stores and engines.`,
    [
      "| store or engine | made of | laws | passed | laws that do not apply |",
      "| --- | --- | ---: | ---: | --- |",
      ...stores.map((store) => {
        const subject = subjects[store]
        if (subject === undefined) throw new Error(`scripts/lawGroups.ts does not describe the store "${store}".`)
        const run = laws.filter(({ notRun }) => !notRun.includes(store))
        const failed = run.filter(({ failed }) => failed.includes(store))
        if (run.length < laws.length && subject.exceptions === undefined) {
          throw new Error(`scripts/lawGroups.ts does not state why laws are not run on the store "${store}".`)
        }
        const exceptions = run.length < laws.length ? `${laws.length - run.length}. ${subject.exceptions}` : ""
        return `| ${store} | ${subject.madeOf} | ${run.length} | ${run.length - failed.length} | ${exceptions} |`
      })
    ].join("\n")
  ].join("\n\n")

const groupsOf = (results: Results): string => {
  const known = new Set(lawGroups.flatMap(({ laws }) => laws.map(({ name }) => name)))
  const unlisted = results.laws.filter(({ name }) => !known.has(name))
  if (unlisted.length > 0) {
    throw new Error(`scripts/lawGroups.ts has no group for the law "${unlisted[0]?.name}" (${unlisted.length} in all).`)
  }
  return lawGroups.map((group) => groupOf(group, results)).join("\n\n")
}

const groupOf = ({ laws, meaning, title }: LawGroup, results: Results): string => {
  const names = new Set(laws.map(({ name }) => name))
  const rows = results.laws.filter(({ name }) => names.has(name))
  const failed = rows.filter(({ failed }) => failed.length > 0)
  const outcome = failed.length === 0
    ? `passed on every store and engine that ${rows.length === 1 ? "it applies" : "they apply"} to`
    : `${failed.length} failed`
  return [
    `## ${title}`,
    meaning,
    `<details>\n<summary>${count(rows.length)}, ${outcome}</summary>`,
    ...byStores(rows).map(({ laws, notRun }) =>
      `${scopeOf(notRun, results)}\n\n${
        laws.map(({ failed, name }) =>
          `- ${escaped(name)}${failed.length > 0 ? ` **Failed on ${failed.join("; ")}**` : ""}`
        )
          .join("\n")
      }`
    ),
    "</details>"
  ].join("\n\n")
}

/** The laws that are run on the same stores together, the most common set first. */
const byStores = (rows: ReadonlyArray<LawResult>) => {
  const sets = new Map<string, { readonly notRun: ReadonlyArray<string>; readonly laws: ReadonlyArray<LawResult> }>()
  for (const law of rows) {
    const key = law.notRun.join("\n")
    sets.set(key, { notRun: law.notRun, laws: [...sets.get(key)?.laws ?? [], law] })
  }
  return [...sets.values()].sort((a, b) => b.laws.length - a.laws.length)
}

const scopeOf = (notRun: ReadonlyArray<string>, { stores }: Results): string =>
  notRun.length === 0
    ? `Run on all ${stores.length}:`
    : `Run on ${stores.length - notRun.length}, not on ${notRun.map((store) => `_${store}_`).join("; ")}:`

const count = (laws: number): string => laws === 1 ? "One law" : `${laws} laws`

/** Names of laws are Markdown with code, except for characters that are markup outside of code. */
const escaped = (name: string): string =>
  name.replaceAll(/`[^`]*`|[|_<]/g, (text) => text.length > 1 ? text : `\\${text}`)
