/**
 * Folders that go with their tests.
 */
import { Effect } from "effect"
import { existsSync, mkdtempSync, rmSync, statfsSync } from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"

const shared = "/dev/shm"

/** Whether files can be kept in memory here. In some containers there is hardly room for any. */
const hasRoom = (): boolean => {
  if (!existsSync(shared)) return false
  const { bavail, bsize } = statfsSync(shared)
  return bavail * bsize > 2 ** 31
}

/** Where files wait for no disk, where that is possible: for what is not to outlive the machine. */
export const memoryFolder: string = hasRoom() ? shared : tmpdir()

/** A directory that goes with the scope. */
export const temporaryDirectory = (name: string, parent = tmpdir()) =>
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(Path.join(parent, `effect-session-${name}-`))),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
  )

/** The same, on no disk if that is possible: where the order of steps is all that counts. */
export const memoryDirectory = (name: string) => temporaryDirectory(name, memoryFolder)
