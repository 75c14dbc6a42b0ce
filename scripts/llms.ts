/**
 * `npx tsx scripts/llms.ts`: writes the documentation for coding assistants, which is part of the published package: `llms.txt` (the pages
 * with a sentence each, see https://llmstxt.org), `llms-full.txt` (all pages) and `AGENTS.md` (how to use the package). `prepack` runs it.
 */
import { writeFileSync } from "node:fs"
import { compactTables, mapLinks, mapProse, sectionOf } from "./site/markdown.js"
import type { Page, Section } from "./site/pages.js"
import { resolve, sections } from "./site/pages.js"
import type { Project } from "./site/project.js"
import { project, sourceUrl } from "./site/project.js"

/** Returns the address of a page. */
export type PageUrl = (page: Page) => string

/** The page that `AGENTS.md` is made from. */
const guide = "docs/coding-assistants.md"

/** Page addresses in the package: the Markdown files of the repository. */
const inRepository = (about: Project): PageUrl => ({ source }) => sourceUrl(about, source, "raw")

/** The index of the documentation: a title, a summary, and the pages of each group with one sentence. */
export const llmsIndex = (about: Project, groups: ReadonlyArray<Section>, urlOf: PageUrl): string => {
  const sectionOfGroup = (title: string, groups: ReadonlyArray<Section>) =>
    `## ${title}\n\n${
      groups.flatMap(({ pages }) => pages).map((page) => `- [${page.title}](${urlOf(page)}): ${page.description}\n`)
        .join("")
    }`
  return [
    `# ${about.name}`,
    `> ${about.description}`,
    `Version ${about.version}. It needs Effect 3, not Effect 4.`,
    ...groups.filter(({ isOptional }) => isOptional !== true).map((group) => sectionOfGroup(group.title, [group])),
    sectionOfGroup("Optional", groups.filter(({ isOptional }) => isOptional === true))
  ].map((part) => part.trim()).join("\n\n") + "\n"
}

/** All pages in one text, each with its address. Their links are absolute. */
export const llmsFull = (about: Project, groups: ReadonlyArray<Section>, urlOf: PageUrl): string => {
  const pages = groups.flatMap(({ pages }) => pages)
  return [
    `# ${about.name} ${about.version}: the documentation`,
    `> ${about.description}`,
    ...pages.map((page) => `<!-- ${urlOf(page)} -->\n\n${withAbsoluteLinks(about, pages, page, page.text, urlOf)}`)
  ].map((part) => part.trim()).join("\n\n") + "\n"
}

/** How to use the package: its installation, the rules, and where the documentation is. */
export const agents = (about: Project, groups: ReadonlyArray<Section>, urlOf: PageUrl): string => {
  const pages = groups.flatMap(({ pages }) => pages)
  const [page, readme] = [guide, "README.md"].map((source) => pages.find((page) => page.source === source))
  if (page === undefined || readme === undefined) throw new Error(`${guide} is not in the table of contents.`)
  const rules = page.text.replace(/^# .*\n+.*\n+/, "")
  return [
    `# Using ${about.name} ${about.version}`,
    `${about.description}`,
    withAbsoluteLinks(about, pages, readme, sectionOf(readme.text, "Install"), urlOf),
    withAbsoluteLinks(about, pages, page, rules, urlOf),
    "## Documentation",
    `- \`llms.txt\`, beside this file: the list of all pages. \`llms-full.txt\`: all of them in one file; search it for a name before you use it.
- \`dist/*.d.ts\` and \`src/*.ts\`: every export has a comment, and most have an example that compiles.
- [The repository](${about.repository}), with a complete program in \`examples/shop\`.`
  ].map((part) => part.trim()).join("\n\n") + "\n"
}

/** Markdown of a page with the addresses of its links, and without the spaces that align tables. */
export const withAbsoluteLinks = (
  about: Project,
  pages: ReadonlyArray<Page>,
  from: Page,
  text: string,
  urlOf: PageUrl
): string =>
  compactTables(mapProse(
    mapLinks(text, (path, anchor) => {
      const target = resolve(pages, from, path, anchor)
      switch (target._tag) {
        case "Url":
          return path + anchor
        case "Page":
          return urlOf(target.page) + anchor
        case "File":
          return sourceUrl(about, target.path) + anchor
      }
    }),
    (prose) => prose.replaceAll(/<!--(?! https?:)[^]*?-->\n*/g, "")
  ))

/** The files of the package, with their texts. */
export const files = (): Readonly<Record<"AGENTS.md" | "llms.txt" | "llms-full.txt", string>> => {
  const [about, groups] = [project(), sections()]
  const urlOf = inRepository(about)
  return {
    "AGENTS.md": agents(about, groups, urlOf),
    "llms.txt": llmsIndex(about, groups, urlOf),
    "llms-full.txt": llmsFull(about, groups, urlOf)
  }
}

if (import.meta.filename === process.argv[1]) {
  for (const [file, text] of Object.entries(files())) writeFileSync(file, text)
}
