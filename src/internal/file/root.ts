/**
 * The directory of a file store: made if it is missing, and refused if others could put something into it, or another
 * directory into its place.
 */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { SessionConfigError } from "../../SessionConfigError.js"
import { families } from "./names.js"

/**
 * Makes what is missing, and checks that the root and what is below it are real directories of this process's user, to which
 * nobody else can write. Nobody else can then put files or links into them: everything below has mode 0700.
 */
export const prepare = (
  fs: FileSystem.FileSystem,
  path: Path.Path,
  root: string
): Effect.Effect<void, SessionConfigError | PlatformError> =>
  Effect.gen(function*() {
    // A link is refused before anything is made: where it leads to nothing, the directory would be made there.
    yield* noLink(fs, root)
    const isNew = !(yield* fs.exists(root))
    if (isNew) yield* fs.makeDirectory(root, { recursive: true, mode: 0o700 })
    yield* ours(fs, path, root)
    if (isNew) yield* fs.chmod(root, 0o700)
    // Where links cannot be resolved, the directories that the name itself goes through are looked at.
    for (const parent of parentsOf(path, yield* Effect.orElseSucceed(fs.realPath(root), () => root))) {
      const { mode } = yield* fs.stat(parent)
      // In a directory like /tmp, with the sticky bit, only the owner of an entry may replace it.
      if (path.sep !== "\\" && (mode & 0o1002) === 0o002) {
        return yield* refused(
          `Everybody may write to ${parent}, and so put another directory in the place of ${root}. Give the store a ` +
            `directory elsewhere, or run chmod o-w ${parent}.`
        )
      }
    }
    for (const family of families) {
      const directory = path.join(root, family)
      yield* Effect.catchIf(
        fs.makeDirectory(directory, { mode: 0o700 }),
        (error) => error._tag === "SystemError" && error.reason === "AlreadyExists",
        () => Effect.void
      )
      yield* ours(fs, path, directory)
      yield* fs.chmod(directory, 0o700)
    }
  })

/** Checks that this is a real directory of our own, to which nobody else can write. */
const ours = (fs: FileSystem.FileSystem, path: Path.Path, directory: string) =>
  Effect.gen(function*() {
    yield* noLink(fs, directory)
    const { mode, type, uid } = yield* fs.stat(directory)
    if (type !== "Directory") return yield* refused(`${directory} is not a directory.`)
    // Windows has neither users nor modes of this kind.
    const user = userId()
    if (path.sep === "\\" || user === undefined) return
    if (Option.isSome(uid) && uid.value !== user) {
      return yield* refused(
        `${directory} belongs to the user ${uid.value}, who could read and exchange the sessions in it, and this process ` +
          `runs as the user ${user}. Give the store a directory of its own, or run the process as the owner.`
      )
    }
    if ((mode & 0o022) !== 0) {
      return yield* refused(
        `${directory} is writable by others, who could exchange sessions in it. Give the store a directory of its own, and ` +
          `run chmod go-w on it.`
      )
    }
  })

const noLink = (fs: FileSystem.FileSystem, directory: string) =>
  Effect.flatMap(Effect.option(fs.readLink(directory)), (target) =>
    Option.isNone(target) ? Effect.void : refused(
      `${directory} is a symbolic link, and whoever can change it could exchange all sessions. Name the directory itself: ` +
        `all of a store must be on one disk.`
    ))

const parentsOf = (path: Path.Path, directory: string): ReadonlyArray<string> => {
  const parent = path.dirname(directory)
  return parent === directory ? [] : [parent, ...parentsOf(path, parent)]
}

/** The user that owns what this process makes, where the platform has users. */
const userId = (): number | undefined => {
  const process: unknown = Reflect.get(globalThis, "process")
  const id = Predicate.hasProperty(process, "geteuid") && Predicate.isFunction(process.geteuid)
    ? process.geteuid()
    : undefined
  return typeof id === "number" ? id : undefined
}

const refused = (problem: string) => Effect.fail(new SessionConfigError({ subject: "FileStore", problem }))
