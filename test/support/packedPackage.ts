/**
 * The package as it is published, installed in an empty project.
 */
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import * as Path from "node:path"
import { packages } from "./sharedServers.js"
import { run, tarball } from "./tarballs.js"

export { run, tarball, version } from "./tarballs.js"

const root = process.cwd()

/** Installs the tarball in an empty folder. The folder also has the tarball, and its content in `package`. */
export const install = async (project: string, compilerOptions: object = {}): Promise<void> => {
  cpSync(Path.join(packages(), tarball), Path.join(project, tarball))
  await run("tar", ["xzf", tarball], project)
  mkdirSync(Path.join(project, "node_modules"))
  cpSync(Path.join(project, "package"), Path.join(project, "node_modules/effect-session"), { recursive: true })
  // The peer dependencies are links to those of this repository, so that no registry is needed.
  for (const peer of ["effect", "@effect", "@noble", "@types", "typescript", "ioredis", "lru-cache"]) {
    symlinkSync(Path.join(root, "node_modules", peer), Path.join(project, "node_modules", peer))
  }
  writeFileSync(Path.join(project, "package.json"), JSON.stringify({ name: "empty", type: "module" }))
  writeFileSync(
    Path.join(project, "tsconfig.json"),
    JSON.stringify({
      compilerOptions: {
        strict: true,
        exactOptionalPropertyTypes: true,
        noUncheckedIndexedAccess: true,
        target: "ES2022",
        lib: ["ES2022", "DOM", "DOM.Iterable"],
        module: "NodeNext",
        types: ["node"],
        skipLibCheck: false,
        noEmit: false,
        outDir: "out",
        ...compilerOptions
      },
      include: ["*.ts"]
    })
  )
}
