/**
 * Finds installed programs.
 */
import { existsSync } from "node:fs"
import * as Path from "node:path"

/** The path of a program, or `undefined`. */
export const find = (program: string, path = process.env.PATH ?? ""): string | undefined =>
  // Debian installs servers in a folder that only root has on the path.
  [...path.split(Path.delimiter), "/usr/sbin"].map((folder) => Path.join(folder, program)).find((file) =>
    existsSync(file)
  )
