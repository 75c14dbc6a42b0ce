/**
 * Where the programs are that this machine has installed.
 */
import { existsSync } from "node:fs"
import * as Path from "node:path"

/** Where a program is, or nothing. */
export const find = (program: string, path = process.env.PATH ?? ""): string | undefined =>
  // Debian keeps servers in a folder that only root has on the path.
  [...path.split(Path.delimiter), "/usr/sbin"].map((folder) => Path.join(folder, program)).find((file) =>
    existsSync(file)
  )
