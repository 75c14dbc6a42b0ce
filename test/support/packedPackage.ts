/**
 * The package as it is published, installed in a project of its own.
 */
import { execFile } from "node:child_process"
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import * as Path from "node:path"
import { promisify } from "node:util"

const root = process.cwd()

export const { version }: { readonly version: string } = JSON.parse(readFileSync("package.json", "utf8"))
export const tarball = `effect-session-${version}.tgz`

/** Not while this process stands still: it has to answer to the one that runs the tests. */
export const run = async (command: string, args: ReadonlyArray<string>, cwd: string): Promise<string> => {
  try {
    return (await promisify(execFile)(command, args, { cwd, encoding: "utf8" })).stdout
  } catch (error) {
    // What the command printed is what went wrong.
    const { stderr, stdout } = error as { stdout?: string; stderr?: string }
    throw new Error(`${command} ${args.join(" ")}\n${stdout}\n${stderr}`)
  }
}

/** Packs, and installs the tarball in the empty folder. It stays there, and so does what is in it, in `package`. */
export const install = async (project: string, compilerOptions: object = {}): Promise<void> => {
  await run("npm", ["pack", "--pack-destination", project], root)
  await run("tar", ["xzf", tarball], project)
  mkdirSync(Path.join(project, "node_modules"))
  cpSync(Path.join(project, "package"), Path.join(project, "node_modules/effect-session"), { recursive: true })
  // The peers are those of this repository: no registry is needed to install them.
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
