/**
 * The documentation points at what is there, and its table of Django's features at tests that exist.
 */
import { engineLaws, storedEngineLaws, storeLaws } from "effect-session/testing"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import * as Path from "node:path"
import { assert, describe, it } from "vitest"
import { notWhileMoving } from "./support/localStores.js"
import { combined, stores } from "./support/stores.js"

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

/** A page without its fenced blocks. */
const proseOf = (page: string) => readFileSync(page, "utf8").replaceAll(/^```[\s\S]*?^```/gm, "")

const linksIn = (prose: string): ReadonlyArray<Link> =>
  [...prose.matchAll(/\[((?:\\.|`[^`]*`|[^\]`\\])*)\]\(([^)#\s]*)(?:#([^)\s]*))?\)/g)].map(
    ([, text = "", target = "", anchor = ""]) => ({ text: text.replaceAll(/\\(.)/g, "$1"), target, anchor })
  )

/** The names under which headings can be linked to. */
const anchorsOf = (page: string) =>
  [...proseOf(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    heading.toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, "").replaceAll(" ", "-")
  )

describe("every relative link leads to something", () => {
  for (const page of pages) {
    it(page, () => {
      for (const { anchor, target } of linksIn(proseOf(page))) {
        if (/^[a-z]+:/i.test(target)) continue
        const path = target === "" ? page : Path.join(Path.dirname(page), target)
        assert.isTrue(existsSync(path), `${target} is not there`)
        if (anchor !== "" && path.endsWith(".md")) assert.include(anchorsOf(path), anchor)
      }
    })
  }
})

/** The rows of a page's tables that have a column of tests. */
const provenRowsOf = (page: string): ReadonlyArray<string> =>
  [...proseOf(page).matchAll(/^\|.*\n\|[\s:|-]+\n(?:\|.*\n)+/gm)].flatMap(([table]) => {
    const [header = "", , ...rows] = table.trimEnd().split("\n")
    return /\| *tests? *\|$/i.test(header) ? rows : []
  })

const testsOf = (row: string) =>
  linksIn(row).filter(({ target }) => /^\.\.\/(?:test|src\/internal\/testing)\/.*\.ts$/.test(target))

/** A link whose text is neither a title in that file nor the file's name. */
const isUnknown = ({ target, text }: Link): boolean => {
  if (text === Path.basename(target)) return false
  const path = Path.join("docs", target)
  return !(existsSync(path) && readFileSync(path, "utf8").replaceAll("\\", "").includes(text))
}

for (const [page, least] of [["docs/django.md", 150], ["docs/http.md", 35]] as const) {
  describe(page, () => {
    const rows = provenRowsOf(page)

    it("has rows, and each links to the tests that prove it", () => {
      assert.isAbove(rows.length, least)
      assert.deepStrictEqual(rows.filter((row) => testsOf(row).length === 0), [])
    })

    it("each such link is a title in that file, or names the file", () => {
      assert.deepStrictEqual(rows.flatMap(testsOf).filter(isUnknown), [])
    })
  })
}

describe("docs/engines.md", () => {
  const [, written = ""] = readFileSync("docs/engines.md", "utf8").split(/<!-- \/?laws.*-->/)
  const [header = [], ...rows] = written.split("\n").filter((line) => /^\| (?!-)/.test(line))
    .map((line) => line.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim()))

  it("has a row for every law, and a column for every store", () => {
    assert.deepStrictEqual(
      [...storeLaws, ...engineLaws, ...storedEngineLaws].map(({ name }) => name).filter((name) =>
        !rows.some(([law]) => law?.replaceAll("\\|", "|").replaceAll("\\", "") === name.replaceAll("\\", ""))
      ),
      []
    )
    assert.deepStrictEqual(
      [...stores, ...combined].map(([name]) => name).filter((name) => !header.includes(name)),
      []
    )
  })

  it("every store keeps every law, and a store whose sessions move all but those that the page names", () => {
    const named = new Set([...stores, ...combined].map(([name]) => name))
    const isAsked = (store: string, law: string) => store !== "sqlite to redis" || !notWhileMoving.test(law)
    assert.deepStrictEqual(
      rows.flatMap(([law = "", ...cells]) =>
        cells.flatMap((cell, i) => {
          const store = header[i + 1] ?? ""
          return named.has(store) && cell !== (isAsked(store, law) ? "✓" : "–") ? [`${store}: ${law}`] : []
        })
      ),
      []
    )
  })
})
