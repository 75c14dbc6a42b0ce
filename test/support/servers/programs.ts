/**
 * Finds installed programs.
 */
import { existsSync } from "node:fs"
import * as Path from "node:path"

/** The folder of programs that the tests have unpacked themselves. */
export const unpacked = Path.join("node_modules", ".cache", "valkey")

/** The path of a program, or `undefined`. */
export const find = (program: string, path = process.env.PATH ?? ""): string | undefined =>
  // Debian installs servers in a folder that only root has on the path.
  [...path.split(Path.delimiter), "/usr/sbin", Path.resolve(unpacked, "usr/bin")].map((folder) =>
    Path.join(folder, program)
  ).find((file) => existsSync(file))
