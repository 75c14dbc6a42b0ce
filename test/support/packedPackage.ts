/**
 * The package as it is published, installed in an empty project.
 */
import { execFile } from "node:child_process"
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import * as Path from "node:path"
import { promisify } from "node:util"

const root = process.cwd()

export const { version }: { readonly version: string } = JSON.parse(readFileSync("package.json", "utf8"))
export const tarball = `effect-session-${version}.tgz`

/** Asynchronous: a worker that blocks does not answer vitest. */
export const run = async (command: string, args: ReadonlyArray<string>, cwd: string): Promise<string> => {
  try {
    return (await promisify(execFile)(command, args, { cwd, encoding: "utf8" })).stdout
  } catch (error) {
    // The error message is in the output of the command.
    const { stderr, stdout } = error as { stdout?: string; stderr?: string }
    throw new Error(`${command} ${args.join(" ")}\n${stdout}\n${stderr}`)
  }
}

/** Packs the package and installs the tarball in an empty folder. The folder also has the tarball, and its content in `package`. */
export const install = async (project: string, compilerOptions: object = {}): Promise<void> => {
  await run("npm", ["pack", "--pack-destination", project], root)
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
