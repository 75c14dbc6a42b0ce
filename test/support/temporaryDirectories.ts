/**
 * Directories that are removed at the end of their tests.
 */
import { Effect } from "effect"
import { existsSync, mkdtempSync, rmSync, statfsSync } from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"

const shared = "/dev/shm"

/** Whether the memory file system has room. In some containers it has 64 MB. */
const hasRoom = (): boolean => {
  if (!existsSync(shared)) return false
  const { bavail, bsize } = statfsSync(shared)
  return bavail * bsize > 2 ** 31
}

/** The parent of files that need not survive a crash of the machine: in memory, if possible. */
export const memoryFolder: string = hasRoom() ? shared : tmpdir()

/** A directory that is removed at the end of the scope. */
export const temporaryDirectory = (name: string, parent = tmpdir()) =>
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(Path.join(parent, `effect-session-${name}-`))),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
  )

/** The same in memory, if possible: for tests of the order of steps. */
export const memoryDirectory = (name: string) => temporaryDirectory(name, memoryFolder)
