/**
 * Links in the documentation have existing targets, and the tables of features link to existing tests.
 */
import { endReasonLaws, engineLaws, storedEngineLaws, storeLaws } from "effect-session/testing"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import * as Path from "node:path"
import { assert, describe, it } from "vitest"
import { readResults, withResults } from "../scripts/lawsPage.js"
import { pages as pagesWithPrograms, withPrograms } from "../scripts/recipes.js"
import { compactTables } from "../scripts/site/markdown.js"
import { knowsEndReasons, notWhileMoving } from "./support/localStores.js"
import { combined, stores, variants } from "./support/stores.js"

const pages = [
  "README.md",
  "CONTRIBUTING.md",
  ...readdirSync("docs", { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".md"))
    .map((file) => Path.join("docs", file))
    .sort()
]

interface Link {
  readonly text: string
  readonly target: string
  readonly anchor: string
}

/** The text of a page without fenced code blocks. */
const proseOf = (page: string) => readFileSync(page, "utf8").replaceAll(/^```[\s\S]*?^```/gm, "")

const linksIn = (prose: string): ReadonlyArray<Link> =>
  [...prose.matchAll(/\[((?:\\.|`[^`]*`|[^\]`\\])*)\]\(([^)#\s]*)(?:#([^)\s]*))?\)/g)].map(
    ([, text = "", target = "", anchor = ""]) => ({ text: text.replaceAll(/\\(.)/g, "$1"), target, anchor })
  )

/** The anchors of the headings of a page. */
const anchorsOf = (page: string) =>
  [...proseOf(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    heading.toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, "").replaceAll(" ", "-")
  )

describe("every relative link has an existing target", () => {
  for (const page of pages) {
    it(page, () => {
      for (const { anchor, target } of linksIn(proseOf(page))) {
        if (/^[a-z]+:/i.test(target)) continue
        const path = target === "" ? page : Path.join(Path.dirname(page), target)
        assert.isTrue(existsSync(path), `${target} does not exist`)
        if (anchor !== "" && path.endsWith(".md")) assert.include(anchorsOf(path), anchor)
      }
    })
  }
})

/** The rows of tables whose last column links to tests. */
const testedRowsOf = (page: string): ReadonlyArray<string> =>
  [...proseOf(page).matchAll(/^\|.*\n\|[\s:|-]+\n(?:\|.*\n)+/gm)].flatMap(([table]) => {
    const [header = "", , ...rows] = table.trimEnd().split("\n")
    return /\| *tests? *\|$/i.test(header) ? rows : []
  })

const testsOf = (row: string) =>
  linksIn(row).filter(({ target }) => /^\.\.\/(?:test|src\/internal\/testing)\/.*\.ts$/.test(target))

/** Whether the link text is neither in the linked file nor its name. */
const isUnknown = ({ target, text }: Link): boolean => {
  if (text === Path.basename(target)) return false
  const path = Path.join("docs", target)
  return !(existsSync(path) && readFileSync(path, "utf8").replaceAll("\\", "").includes(text))
}

for (
  const [page, least] of [["docs/django.md", 150], ["docs/django-migration.md", 40], ["docs/http.md", 35]] as const
) {
  describe(page, () => {
    const rows = testedRowsOf(page)

    it("has rows, and each links to its tests", () => {
      assert.isAbove(rows.length, least)
      assert.deepStrictEqual(rows.filter((row) => testsOf(row).length === 0), [])
    })

    it("the text of each such link is a title in the linked file, or the file name", () => {
      assert.deepStrictEqual(rows.flatMap(testsOf).filter(isUnknown), [])
    })
  })
}

for (const page of pagesWithPrograms) {
  describe(page, () => {
    const text = readFileSync(page, "utf8")
    const folder = `examples/${Path.basename(page, ".md")}`

    it(`contains every program of ${folder} once, as it is in its file`, () => {
      assert.strictEqual(text, withPrograms(text), "npx tsx scripts/recipes.ts copies the programs")
      const linked = [...text.matchAll(/\]\(\.\.\/(examples\/[^)]*)\)\n\n```ts\n/g)].map(([, program]) => program)
      const programs = readdirSync(folder, { recursive: true, encoding: "utf8" })
        .filter((file) => file.endsWith(".ts") && !file.includes("node_modules"))
        .map((file) => `${folder}/${file}`)
      assert.deepStrictEqual([...linked].sort(), programs.sort())
    })
  })
}

describe("docs/security.md", () => {
  const [, section = ""] = proseOf("docs/security.md").split(/^## Standards, row by row$/m)
  const rows = section.split(/^## /m)[0]?.split("\n").filter((line) => /^\| (?:ASVS|[NO])[ \d]/.test(line)) ?? []
  const numbered = (letters: string, last: number) => Array.from({ length: last }, (_, at) => `${letters}${at + 1}`)
  const required = [
    ...[["7.1", 3], ["7.2", 4], ["7.3", 2], ["7.4", 5], ["7.5", 3], ["7.6", 2], ["3.3", 5]].flatMap(([section, last]) =>
      numbered(`ASVS ${section}.`, Number(last))
    ),
    ...numbered("N", 14),
    ...numbered("O", 22)
  ]

  it("has one row for every requirement of the standards", () => {
    const ids = rows.map((row) => row.split("|")[1]?.trim() ?? "")
    assert.deepStrictEqual(required.filter((id) => ids.filter((one) => one === id).length !== 1), [])
  })

  it("each row names its tests, or states that the requirement is not ours or not offered", () => {
    assert.deepStrictEqual(
      rows.filter((row) => testsOf(row).length === 0 && !/\| Not (?:ours|offered)\b/.test(row)),
      []
    )
  })

  it("the text of each such link is the whole title of a test or law in the linked file", () => {
    const isTitle = ({ target, text }: Link) => {
      const source = readFileSync(Path.join("docs", target), "utf8").replaceAll("\\", "")
      return [`"${text}"`, `\`${text}\``].some((literal) => source.includes(literal))
    }
    assert.deepStrictEqual(rows.flatMap(testsOf).filter((link) => !isTitle(link)), [])
  })
})

describe("docs/laws.md", () => {
  const results = readResults()

  it("shows the results of the last `npm run laws`", () => {
    const text = readFileSync("docs/laws.md", "utf8")
    const lines = (page: string) => compactTables(page).split("\n")
    assert.deepStrictEqual(lines(text), lines(withResults(text, results)), "npm run laws -- --page writes the page")
  })

  it("shows each law once, in its group, and a row for each store", () => {
    const text = readFileSync("docs/laws.md", "utf8")
    assert.strictEqual([...text.matchAll(/^- /gm)].length, results.laws.length)
    assert.strictEqual([...text.matchAll(/^\| (?!-|store or)/gm)].length, results.stores.length)
  })

  it("the results have every law, and every store", () => {
    const names = results.laws.map(({ name }) => name)
    const published = [...storeLaws, ...endReasonLaws, ...engineLaws, ...storedEngineLaws].map(({ name }) => name)
    assert.deepStrictEqual([...names].sort(), [...published].sort())
    assert.deepStrictEqual(
      [...stores, ...combined, ...variants].map(([name]) => name).filter((name) => !results.stores.includes(name)),
      []
    )
  })

  it("every store passes every law, except those of end reasons that it does not know and of migrations named on the page", () => {
    const named = new Set([...stores, ...combined, ...variants].map(([name]) => name))
    const ofEndReasons = new Set(endReasonLaws.map(({ name }) => name))
    const isRun = (store: string, law: string) =>
      ofEndReasons.has(law) ? knowsEndReasons.has(store) : store !== "sqlite to redis" || !notWhileMoving.test(law)
    assert.deepStrictEqual(
      results.laws.flatMap(({ failed, name, notRun }) =>
        results.stores.filter((store) => named.has(store))
          .filter((store) => failed.includes(store) || notRun.includes(store) === isRun(store, name))
          .map((store) => `${store}: ${name}`)
      ),
      []
    )
  })
})
