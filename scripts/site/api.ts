/**
 * The API reference: TypeDoc writes a page of Markdown for each public module, and this module adds what a reader needs first: the import,
 * and the comment of the module.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import * as Path from "node:path"
import { modules } from "../modules.js"
import { firstSentenceOf, titleOf } from "./markdown.js"
import type { Project } from "./project.js"

export interface ApiPage {
  readonly path: string
  readonly title: string
  readonly description: string
}

/** The modules that users import. The program of the command line and the index are none. */
export const publicModules: ReadonlyArray<string> = [...modules.values()]
  .filter(({ isPublic, name }) => isPublic && name !== "bin" && name !== "index")
  .map(({ name }) => name)

/** Completes the pages that TypeDoc has written to a folder, and adds their index. */
export const finishApi = (folder: string, project: Project): ReadonlyArray<ApiPage> => {
  rmSync(Path.join(folder, "README.md"), { force: true })
  const written = readdirSync(folder).sort()
  const expected = publicModules.map((name) => `${name}.md`)
  if (written.join() !== [...expected].sort().join()) {
    throw new Error(
      `TypeDoc wrote ${written.length} pages for ${expected.length} public modules: ${written.join(", ")}`
    )
  }
  const pages = publicModules.map((name): ApiPage => {
    const file = Path.join(folder, `${name}.md`)
    const text = finishPage(name, readFileSync(file, "utf8"), project)
    const [title, description] = [titleOf(text), firstSentenceOf(text)]
    if (description === "") throw new Error(`src/${name}.ts has to begin with a comment that describes the module.`)
    writeFileSync(file, withFrontmatter({ title, description }, text))
    return { path: `api/${name}.md`, title, description }
  })
  const index = [
    "# API reference",
    `The ${pages.length} public modules of ${project.name} ${project.version}. Modules of \`src/internal\` are not part of the API.`,
    "| module | content |\n| --- | --- |\n" +
    pages.map(({ description, title }) => `| [${title}](${title}.md) | ${escapeCell(description)} |`).join("\n")
  ].join("\n\n")
  writeFileSync(
    Path.join(folder, "index.md"),
    withFrontmatter({ title: "API reference", description: firstSentenceOf(index) }, `${index}\n`)
  )
  return pages
}

/** A page with the fields at its top that VitePress reads. JSON is YAML. */
export const withFrontmatter = (fields: Readonly<Record<string, unknown>>, text: string): string =>
  `---\n${Object.entries(fields).map(([key, value]) => `${key}: ${JSON.stringify(value)}`).join("\n")}\n---\n\n${text}`

const finishPage = (name: string, text: string, project: Project): string => {
  const [, body = ""] = /^# .*\n([^]*)$/.exec(text) ?? []
  return [`# ${name}`, moduleComment(name), importOf(name, project), tidy(body).trim(), ""].join("\n\n")
}

/** The first comment of a module, without its tags. Names in `{@link …}` become code. */
const moduleComment = (name: string): string =>
  (/^\/\*\*\n([^]*?)\n \*\//m.exec(readFileSync(`src/${name}.ts`, "utf8"))?.[1] ?? "")
    .replaceAll(/^ \* ?/gm, "")
    .replace(/\n@[^]*$/, "")
    .replaceAll(/\{@link\s+([^}\s]+)\}/g, "`$1`")
    .trim()

const importOf = (name: string, { name: pack }: Project): string => {
  const inIndex = new RegExp(`^export \\* as ${name} `, "m").test(readFileSync("src/index.ts", "utf8"))
  const line = name === "testing"
    ? `import { storeLaws } from "${pack}/testing"`
    : inIndex
    ? `import { ${name} } from "${pack}"`
    : `import * as ${name} from "${pack}/${name}"`
  return `\`\`\`ts\n${line}\n\`\`\``
}

/** Shortens what TypeDoc writes as headings of their own: the version of each export, and where a member comes from. */
const tidy = (text: string): string =>
  text
    .replaceAll(/^(?:#+ Since|\*\*Since\*\*)\n\n([\d.]+)$/gm, "_Since $1_")
    .replaceAll(/^#+ (?:Inherited from|Overrides)\n\n.*\n+/gm, "")
    .replaceAll(/^## ([a-z])/gm, (_, letter: string) => `## ${letter.toUpperCase()}`)
    .replaceAll(/^\*\*\*\n+/gm, "")

const escapeCell = (text: string): string => text.replaceAll("|", "\\|")
