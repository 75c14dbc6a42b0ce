/** Properties of the package that the documentation shows: name, version and addresses, all from `package.json`. */
import { readFileSync, statSync } from "node:fs"

export interface Project {
  readonly name: string
  readonly version: string
  readonly description: string
  /** The address of the repository, without `.git`. */
  readonly repository: string
  /** The address of the site, or of the repository as long as there is no site. It ends in a slash. */
  readonly homepage: string
}

export const project = (): Project => {
  const { description, homepage, name, repository, version } = JSON.parse(readFileSync("package.json", "utf8"))
  const url: unknown = typeof repository === "string" ? repository : repository?.url
  if (typeof url !== "string" || typeof homepage !== "string") {
    throw new Error("package.json needs the fields `repository` and `homepage`, which links of the documentation use.")
  }
  return {
    name,
    version,
    description,
    repository: url.replace(/^git\+/, "").replace(/\.git$/, ""),
    homepage: `${homepage.replace(/[?#].*$/, "").replace(/\/$/, "")}/`
  }
}

/** The address of a file or a folder in the repository. `raw`: of the file itself, without the page around it. */
export const sourceUrl = ({ repository }: Project, path: string, view: "page" | "raw" = "page"): string =>
  `${repository}/${view === "raw" ? "raw" : statSync(path).isDirectory() ? "tree" : "blob"}/main/${path}`
