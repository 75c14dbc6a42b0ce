/**
 * The directory of a file store: made if it is missing, and refused if others could put something into it.
 */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import { SessionConfigError } from "../SessionConfigError.js"
import { families } from "./fileNames.js"

/** Makes what is missing, and sees to it that what is below the root is ours alone. */
export const prepare = (
  fs: FileSystem.FileSystem,
  path: Path.Path,
  root: string
): Effect.Effect<void, SessionConfigError | PlatformError> =>
  Effect.gen(function*() {
    if (!(yield* fs.exists(root))) {
      yield* fs.makeDirectory(root, { recursive: true, mode: 0o700 })
      yield* fs.chmod(root, 0o700)
    }
    const { mode, type } = yield* fs.stat(root)
    if (type !== "Directory") return yield* refused(`${root} is not a directory.`)
    // The modes of Windows say nothing.
    if (path.sep !== "\\" && (mode & 0o022) !== 0) {
      return yield* refused(
        `${root} is writable by others, who could exchange sessions in it. Give the store a directory of its own, and ` +
          `run chmod go-w on it.`
      )
    }
    for (const family of families) yield* own(fs, path.join(root, family))
  })

const own = (fs: FileSystem.FileSystem, directory: string) =>
  Effect.gen(function*() {
    if (yield* Effect.isSuccess(fs.readLink(directory))) {
      return yield* refused(`${directory} is a symbolic link; all of a store must be on one disk.`)
    }
    yield* Effect.catchIf(
      fs.makeDirectory(directory, { mode: 0o700 }),
      (error) => error._tag === "SystemError" && error.reason === "AlreadyExists",
      () => Effect.void
    )
    if ((yield* fs.stat(directory)).type !== "Directory") return yield* refused(`${directory} is not a directory.`)
    yield* fs.chmod(directory, 0o700)
  })

const refused = (problem: string) => Effect.fail(new SessionConfigError({ subject: "FileStore", problem }))
