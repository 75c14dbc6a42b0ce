/**
 * The table of contents of the documentation: the sidebar of the site, and the sections of `llms.txt`. Every page of `docs` has one place
 * in it.
 */
import { existsSync, readdirSync } from "node:fs"
import * as Path from "node:path"

export interface Group {
  readonly title: string
  /** Files from the root of the repository, in order. A folder, which ends in `/`, stands for its pages, its README first. */
  readonly pages: ReadonlyArray<string>
  /** Whether a coding assistant with little room can omit the group: the section `Optional` of `llms.txt`. */
  readonly isOptional?: true
}

export const contents: ReadonlyArray<Group> = [
  { title: "Start", pages: ["README.md", "docs/getting-started.md", "docs/concepts.md", "docs/coding-assistants.md"] },
  {
    title: "Guides",
    pages: [
      "docs/recipes.md",
      "docs/http.md",
      "docs/csrf.md",
      "docs/cookies.md",
      "docs/settings.md",
      "docs/observing.md",
      "docs/devtools.md",
      "docs/migrating.md",
      "docs/cli.md"
    ]
  },
  {
    title: "Engines",
    pages: [
      "docs/engines.md",
      "docs/redis.md",
      "docs/files.md",
      "docs/runtimes.md",
      "docs/workers.md",
      "docs/stores.md",
      "docs/laws.md"
    ]
  },
  { title: "Operations", pages: ["docs/operations.md", "docs/troubleshooting.md", "docs/security.md"] },
  {
    title: "Coming from",
    pages: [
      "docs/coming-from-express-session.md",
      "docs/coming-from-iron-session.md",
      "docs/coming-from-better-auth.md",
      "docs/django.md",
      "docs/django-migration.md"
    ]
  },
  { title: "Formats", pages: ["docs/reference/"] },
  { title: "The project", pages: ["docs/architecture.md", "docs/benchmarks/", "CHANGELOG.md"], isOptional: true },
  { title: "Decisions", pages: ["docs/decisions/"], isOptional: true }
]

/** Pages in the table of contents although they are outside of `docs`. */
const outside = ["README.md", "CHANGELOG.md"]

/** The groups with their files. Fails with one sentence for each page that is missing, or that is not in exactly one group. */
export const listed = (groups = contents): ReadonlyArray<Group> => {
  const found = [...outside, ...pagesIn("docs")]
  const expanded = groups.map((group) => ({
    ...group,
    pages: group.pages.flatMap((page) => page.endsWith("/") ? pagesIn(page) : [page])
  }))
  const all = expanded.flatMap(({ pages }) => pages)
  const faults = [
    ...found.filter((page) => !all.includes(page)).map((page) => `${page} is in no group`),
    ...all.filter((page) => !existsSync(page)).map((page) => `${page} does not exist`),
    ...all.filter((page, at) => all.indexOf(page) < at).map((page) => `${page} is listed twice`)
  ]
  if (faults.length > 0) throw new Error(`The table of contents in scripts/site/contents.ts: ${faults.join("; ")}.`)
  return expanded
}

const pagesIn = (folder: string): ReadonlyArray<string> => {
  if (!existsSync(folder)) return []
  const isIndex = (file: string) => Path.basename(file) === "README.md"
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".md"))
    .map((file) => Path.posix.join(folder, file.replaceAll("\\", "/")))
    .sort((a, b) => Number(isIndex(b)) - Number(isIndex(a)) || (a < b ? -1 : 1))
}
