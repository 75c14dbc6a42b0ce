/**
 * The documentation for coding assistants that the package contains: generated from the docs, with links that resolve.
 */
import { existsSync, readFileSync, statSync } from "node:fs"
import { assert, describe, it } from "vitest"
import { files } from "../scripts/llms.js"
import { contents, listed } from "../scripts/site/contents.js"
import { anchorsOf, mapProse, targetsIn } from "../scripts/site/markdown.js"
import { project } from "../scripts/site/project.js"

const about = project()
const generated = files()

/** The links of a text that lead nowhere. Links into the repository must name a file, and a heading if they have an anchor. */
const deadLinksIn = (text: string): ReadonlyArray<string> =>
  targetsIn(text).filter((link) => {
    const [, view, path = "", anchor] =
      /^\/(blob|tree|raw)\/main\/([^#]+)(?:#(.+))?$/.exec(link.slice(about.repository.length)) ?? []
    if (!link.startsWith(`${about.repository}/`)) return link !== about.repository && !/^https:\/\/[\w.-]+/.test(link)
    if (!existsSync(path) || statSync(path).isDirectory() !== (view === "tree")) return true
    return anchor !== undefined && path.endsWith(".md") && !anchorsOf(readFileSync(path, "utf8")).includes(anchor)
  })

describe("the documentation for coding assistants", () => {
  for (const [file, text] of Object.entries(generated)) {
    it(`${file} has the version of the package, and no dead link`, () => {
      assert.include(text, about.version)
      assert.isAbove(targetsIn(text).length, 0)
      assert.deepStrictEqual(deadLinksIn(text), [])
    })
  }

  it("a link to a page that does not exist is a dead link", () => {
    const url = (path: string) => `[x](${about.repository}/${path})`
    assert.strictEqual(deadLinksIn(url("raw/main/docs/none.md")).length, 1)
    assert.strictEqual(deadLinksIn(url("raw/main/docs/http.md#none")).length, 1)
    assert.strictEqual(deadLinksIn("[x](http.md)").length, 1)
    assert.strictEqual(deadLinksIn(url("raw/main/docs/http.md#errors")).length, 0)
  })

  it("llms.txt has a title, a summary, and sections whose entries are a link and one sentence", () => {
    const [title, summary, , ...sections] = generated["llms.txt"].trim().split("\n\n")
    assert.strictEqual(title, `# ${about.name}`)
    assert.strictEqual(summary, `> ${about.description}`)
    const headings = sections.filter((section) => section.startsWith("## "))
    assert.strictEqual(headings.at(-1), "## Optional")
    const entries = sections.filter((section) => !section.startsWith("## ")).flatMap((section) => section.split("\n"))
    assert.deepStrictEqual(entries.filter((entry) => !/^- \[.+\]\(https:\S+\): \S.*$/.test(entry)), [])
    assert.strictEqual(entries.length, listed().flatMap(({ pages }) => pages).length)
  })

  it("llms-full.txt has the title of every page, and no table padded with spaces", () => {
    const titles = new Set(generated["llms-full.txt"].split("\n").filter((line) => line.startsWith("# ")))
    for (const page of listed().flatMap(({ pages }) => pages)) {
      const [title = ""] = /^# .*$/m.exec(readFileSync(page, "utf8")) ?? []
      assert.isTrue(titles.has(title), `${page}: ${title}`)
    }
    mapProse(generated["llms-full.txt"], (prose) => {
      assert.notMatch(prose, /^\|.* {3,}\|$/m)
      return prose
    })
  })

  it("AGENTS.md has the install lines of the README, and the rules", () => {
    const [install = ""] = /^npm install effect-session@.*$/m.exec(readFileSync("README.md", "utf8")) ?? []
    assert.include(generated["AGENTS.md"], install)
    assert.include(generated["AGENTS.md"], "## Rules")
    assert.include(generated["AGENTS.md"], "Effect 3")
  })
})

describe("the table of contents", () => {
  const [first = { title: "", pages: [] }, ...others] = contents

  it("a page that is in no group is an error that names it", () => {
    const pages = first.pages.filter((page) => page !== "docs/concepts.md")
    assert.throws(() => listed([{ ...first, pages }, ...others]), "docs/concepts.md is in no group")
  })

  it("a listed page that does not exist is an error that names it", () => {
    assert.throws(() => listed([{ title: "New", pages: ["docs/none.md"] }, ...contents]), "docs/none.md does not exist")
  })

  it("a page in two groups is an error that names it", () => {
    assert.throws(
      () => listed([{ title: "New", pages: ["docs/http.md"] }, ...contents]),
      "docs/http.md is listed twice"
    )
  })
})
