/** Files of the built site for programs: `llms.txt`, `llms-full.txt`, and each page as Markdown beside its HTML. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import * as Path from "node:path"
import { llmsFull, llmsIndex, withAbsoluteLinks } from "../llms.js"
import type { Site } from "./assemble.js"
import { content } from "./assemble.js"
import { compactTables } from "./markdown.js"
import type { Page } from "./pages.js"

const folder = "site/dist"

/** Adds the files to the built site. Their links are relative, so that they work below any path. */
export const writeForMachines = ({ api, pages, project, sections }: Site): void => {
  const urlOf = ({ path }: Page) => path
  write("llms.txt", llmsIndex(project, sections, urlOf))
  write("llms-full.txt", llmsFull(project, sections, urlOf))
  for (const { path } of [...pages, ...api, { path: "api/index.md" }]) {
    write(path, compactTables(readFileSync(Path.join(content, path), "utf8").replace(/^---\n[^]*?\n---\n+/, "")))
  }
  // On the site its title and its laws are outside of the text.
  const home = pages.find(({ source }) => source === "README.md")
  if (home !== undefined) write(home.path, withAbsoluteLinks(project, pages, home, home.text, urlOf))
}

const write = (path: string, text: string): void => {
  const file = Path.join(folder, path)
  mkdirSync(Path.dirname(file), { recursive: true })
  writeFileSync(file, text)
}
