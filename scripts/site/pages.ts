/**
 * The pages of the documentation, read from the repository: `README.md`, `CHANGELOG.md` and `docs`.
 */
import { existsSync, readFileSync } from "node:fs"
import * as Path from "node:path"
import type { Group } from "./contents.js"
import { listed } from "./contents.js"
import { anchorsOf, firstSentenceOf, sectionOf, sectionsOf, titleOf } from "./markdown.js"

export interface Page {
  /** The file, from the root of the repository. */
  readonly source: string
  /** The file on the site: `http.md`, `decisions/index.md`. */
  readonly path: string
  readonly title: string
  /** One sentence. */
  readonly description: string
  /** The Markdown that the site shows, with the links of the source. */
  readonly text: string
}

export interface Section extends Omit<Group, "pages"> {
  readonly pages: ReadonlyArray<Page>
}

/** Reads all pages, in the order of the table of contents. Fails if pages have no title or no first sentence. */
export const sections = (): ReadonlyArray<Section> => {
  const sections = listed().map((group) => ({ ...group, pages: group.pages.map(readPage) }))
  const nameless = sections.flatMap(({ pages }) => pages)
    .filter(({ description, title }) => title === "" || description === "").map(({ source }) => source)
  if (nameless.length > 0) {
    throw new Error(
      `Each page has to begin with a title and a sentence, which search engines and llms.txt show as its description: ${
        nameless.join(", ")
      }.`
    )
  }
  return sections
}

const readPage = (source: string): Page => {
  const text = readFileSync(source, "utf8")
  const title = titleOf(text)
  const description = decisionOf(text, title) ?? firstSentenceOf(text)
  return { source, path: pathOf(source), title, description, text: source === "README.md" ? home(text) : text }
}

/** The title of a decision is a sentence, and its first paragraphs are its date and its status. */
const decisionOf = (text: string, title: string): string | undefined => {
  const [, date] = /^- Date: ([\d-]+)/m.exec(text) ?? []
  return date === undefined ? undefined : `${title.replace(/^\d+ — /, "")}. A decision of ${date}, with its reasons.`
}

const pathOf = (source: string): string =>
  source === "CHANGELOG.md" ? "changelog.md" : Path.posix.relative("docs", source).replace("../", "")
    .replace(/(^|\/)README\.md$/, "$1index.md")

/** The sections of the README on the home page, in order. The others concern the repository. */
const homeSections = ["In an HttpApi project", "Install", "Laws"]

/** The home page: the introduction of the README without the commands of the repository, and the sections that are not about it. */
const home = (readme: string): string => {
  const [introduction = ""] = sectionsOf(readme)
  const withoutCommands = introduction.replace(/^```sh\nnpm ci[^]*?^```\n\n/m, "")
  if (withoutCommands === introduction) throw new Error("README.md does not begin with the commands of the repository.")
  return [withoutCommands.trim(), ...homeSections.map((heading) => sectionOf(readme, heading)), ""].join("\n\n")
}

/** The target of a link: a page, or a file or folder of the repository. Fails if it does not exist. */
export type Target =
  | { readonly _tag: "Page"; readonly page: Page; readonly anchor: string }
  | { readonly _tag: "File"; readonly path: string; readonly anchor: string }
  | { readonly _tag: "Url" }

/** Resolves a link of a page. An anchor has its `#`. */
export const resolve = (pages: ReadonlyArray<Page>, from: Page, target: string, anchor: string): Target => {
  if (/^[a-z]+:/i.test(target)) return { _tag: "Url" }
  const path = target === "" ? from.source : Path.posix.join(Path.posix.dirname(from.source), target)
  if (!existsSync(path)) throw new Error(`${from.source} has a link to ${path}, which does not exist.`)
  const page = pages.find(({ source }) => source === path)
  // The README has more sections than the home page.
  const isOnSite = page !== undefined && (anchor === "" || anchorsOf(page.text).includes(anchor.slice(1)))
  if (isOnSite) return { _tag: "Page", page, anchor }
  if (page !== undefined && page.source !== "README.md") {
    throw new Error(`${from.source} has a link to ${path}${anchor}, and there is no such heading.`)
  }
  return { _tag: "File", path, anchor }
}
