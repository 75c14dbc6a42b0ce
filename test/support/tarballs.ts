/**
 * The packages as they are published.
 */
import { execFile } from "node:child_process"
import { readFileSync } from "node:fs"
import * as Path from "node:path"
import { promisify } from "node:util"

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

/** The tarball of the template. */
export const templateTarball = `create-effect-session-${version}.tgz`

/** Builds and packs both packages into a folder. Not for several callers at once: each build replaces `dist`. */
export const packInto = async (folder: string): Promise<string> => {
  await run("npm", ["pack", "--pack-destination", folder], ".")
  await run("npm", ["pack", "--pack-destination", folder], "create-effect-session")
  return Path.resolve(folder)
}
