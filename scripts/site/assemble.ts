/**
 * Writes the content of the site to `site/.content`: the pages with links that work there, and the settings that VitePress reads.
 */
import { copyFileSync, cpSync, mkdirSync, writeFileSync } from "node:fs"
import * as Path from "node:path"
import { readResults } from "../lawsPage.js"
import type { ApiPage } from "./api.js"
import { finishApi, withFrontmatter } from "./api.js"
import { mapLinks, plainOf, sectionOf } from "./markdown.js"
import type { Page, Section } from "./pages.js"
import { resolve, sections } from "./pages.js"
import type { Project } from "./project.js"
import { project, sourceUrl } from "./project.js"
import type { Settings, SidebarGroup } from "./settings.js"

/** The generated content, which Git ignores. */
export const content = "site/.content"

export interface Site {
  readonly project: Project
  readonly sections: ReadonlyArray<Section>
  readonly pages: ReadonlyArray<Page>
  readonly api: ReadonlyArray<ApiPage>
}

/** Completes the content: TypeDoc has written its `api` folder. `base` is the path of the site on its host. */
export const assemble = (base?: string): Site => {
  const about = project()
  const groups = sections()
  const pages = groups.flatMap(({ pages }) => pages)
  const api = finishApi(Path.join(content, "api"), about)
  const site: Site = { project: about, sections: groups, pages, api }
  for (const page of pages) write(page.path, pageText(site, page))
  cpSync("site/public", Path.join(content, "public"), { recursive: true })
  write("site.json", JSON.stringify(settings(site, base), undefined, 2))
  return site
}

const write = (path: string, text: string): void => {
  const file = Path.join(content, path)
  mkdirSync(Path.dirname(file), { recursive: true })
  writeFileSync(file, text)
}

const pageText = (site: Site, page: Page): string => {
  const text = page.source === "README.md" ? homeText(page) : page.text
  return withFrontmatter(
    page.source === "README.md" ? homeFields(site, page) : { title: page.title, description: page.description },
    withSiteLinks(site, page, text)
  )
}

/** Links to pages stay relative. Images come along. Links to all other files lead to the repository. */
const withSiteLinks = ({ pages, project }: Site, from: Page, text: string): string =>
  mapLinks(text, (path, anchor, isImage) => {
    const target = resolve(pages, from, path, anchor)
    switch (target._tag) {
      case "Url":
        return path + anchor
      case "Page":
        return target.page === from
          ? target.anchor
          : Path.posix.relative(Path.posix.dirname(from.path), target.page.path) + target.anchor
      case "File": {
        if (!isImage) return sourceUrl(project, target.path) + target.anchor
        const copy = Path.posix.relative("docs", target.path)
        mkdirSync(Path.join(content, Path.dirname(copy)), { recursive: true })
        copyFileSync(target.path, Path.join(content, copy))
        return `./${Path.posix.relative(Path.posix.dirname(from.path), copy)}`
      }
    }
  })

/** The laws of the README: a slogan and its meaning each. */
const lawsOf = (readme: string): ReadonlyArray<{ readonly title: string; readonly details: string }> => {
  const rows = [...sectionOf(readme, "Laws").matchAll(/^\| \*\*(L\d .+?)\*\* +\| (.+?) +\|$/gm)]
  if (rows.length !== 7) throw new Error(`The section "Laws" of README.md has ${rows.length} laws.`)
  return rows.map(([, title = "", details = ""]) => ({ title: capitalized(title), details: `${plainOf(details)}.` }))
}

/** The card that leads to the results. */
const publishedLaws = () => {
  const { laws, stores } = readResults()
  return {
    title: "Published laws",
    details: `${laws.length} laws of stores and engines, run on ${stores.length} of them, and on yours.`,
    link: "/laws",
    linkText: "Results"
  }
}

const capitalized = (title: string): string => title.replace(/ (\w)/, (letter) => letter.toUpperCase())

const homeFields = ({ project, sections }: Site, page: Page) => {
  const [start] = sections
  const first = start?.pages[1]
  const recipes = sections[1]?.pages[0]
  return {
    layout: "home",
    title: project.name,
    titleTemplate: page.description.replace(/\.$/, ""),
    description: page.description,
    hero: {
      name: project.name,
      text: page.description,
      actions: [
        ...[first, recipes].flatMap((page, at) =>
          page === undefined ? [] : [{ theme: at === 0 ? "brand" : "alt", text: page.title, link: linkOf(page.path) }]
        ),
        { theme: "alt", text: "API reference", link: "/api/" }
      ]
    },
    features: [...lawsOf(page.text), publishedLaws()]
  }
}

/** The hero of the layout has the title and the first sentence, and its cards have the table of the laws. */
const homeText = (page: Page): string =>
  page.text.replace(/^# .*\n+.*\n+/, "").replace(/^(## Laws\n+)(?:\|.*\n)+\n/m, "$1")

const linkOf = (path: string): string => `/${path.replace(/(?:index)?\.md$/, "")}`

const settings = ({ api, project, sections }: Site, base?: string): Settings => {
  const { description, homepage, name, repository, version } = project
  // As long as the homepage is the repository, there is no address of the site.
  const path = homepage.startsWith(repository) ? "/" : new URL(homepage).pathname
  const groups = sections.map(({ isOptional, pages, title }): SidebarGroup => ({
    text: title,
    collapsed: isOptional === true,
    items: pages.map((page) => ({
      text: page.source === "README.md" ? "Overview" : page.title,
      link: linkOf(page.path)
    }))
  }))
  const reference: SidebarGroup = {
    text: "API reference",
    collapsed: true,
    items: [
      { text: "All modules", link: "/api/" },
      ...api.map(({ path, title }) => ({ text: title, link: linkOf(path) }))
    ]
  }
  return {
    title: name,
    description,
    version,
    repository,
    homepage,
    base: base ?? path,
    sidebar: [...groups.slice(0, -2), reference, ...groups.slice(-2)]
  }
}
