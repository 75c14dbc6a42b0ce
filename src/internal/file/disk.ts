/**
 * File system operations of a store: the checks of its directory, and the steps of a write. An effect of another process (a file that is
 * missing or exists already) is a value; the error channel is for a file system that fails.
 */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type { SessionConfigError } from "../../SessionConfigError.js"
import { configError } from "../configError.js"
import type { Family } from "./names.js"
import { families, freshName, isShard } from "./names.js"

export interface Disk {
  /** Returns a path below the root. */
  readonly at: (family: Family, ...names: ReadonlyArray<string>) => string
  readonly join: (directory: string, name: string) => string
  readonly parent: (path: string) => string
  /** Returns a random path for a file or a directory that is being created or removed. */
  readonly scratch: () => string
  /** Lists the names in a directory; none if it does not exist. */
  readonly list: (directory: string) => Effect.Effect<ReadonlyArray<string>, PlatformError>
  /** Lists the shards of a family, in their order. */
  readonly shards: (family: Family) => Effect.Effect<ReadonlyArray<string>, PlatformError>
  /** Reads the text of a file; `undefined` if it does not exist. */
  readonly read: (file: string) => Effect.Effect<string | undefined, PlatformError>
  readonly exists: (path: string) => Effect.Effect<boolean, PlatformError>
  /** Creates a file and syncs its content. False if its directory does not exist. */
  readonly write: (file: string, text: string) => Effect.Effect<boolean, PlatformError>
  /** Creates an empty file in a shard, which is created if it is missing. False if the file exists. */
  readonly createEmpty: (file: string) => Effect.Effect<boolean, PlatformError>
  /** Creates an empty directory that only this user can read. */
  readonly makeDirectory: (directory: string) => Effect.Effect<void, PlatformError>
  /** Renames a file or a directory. False if the source, or the directory of the target, does not exist. */
  readonly move: (from: string, to: string) => Effect.Effect<boolean, PlatformError>
  /** Moves or links a file or a directory into a shard, which is created if it is missing. False if the target exists. */
  readonly putInShard: (step: "rename" | "link", from: string, to: string) => Effect.Effect<boolean, PlatformError>
  /** Syncs these directories, so that the names in them are on disk. */
  readonly sync: (...directories: ReadonlyArray<string>) => Effect.Effect<void, PlatformError>
  /** Removes a file or a directory. Failures are ignored: the sweep removes the rest later. */
  readonly remove: (path: string) => Effect.Effect<void>
  /** Moves a path to scratch in one step, then removes it; a directory is moved back if `isNeeded` returns true for the names in it. */
  readonly discard: (path: string, isNeeded?: (names: ReadonlyArray<string>) => boolean) => Effect.Effect<void>
  /** Returns the modification time of a path in milliseconds; `undefined` if it does not exist. */
  readonly changedAt: (path: string) => Effect.Effect<number | undefined, PlatformError>
}

export const make = (
  fs: FileSystem.FileSystem,
  path: Path.Path,
  root: string,
  /** Whether writes sync file contents, and directories. */
  syncs: { readonly contents: boolean; readonly names: boolean }
): Disk => {
  const at = (family: Family, ...names: ReadonlyArray<string>) => path.join(root, family, ...names)
  const scratch = () => at("scratch", freshName())
  const setFileMode = (file: string) => fs.chmod(file, 0o600)

  // Fails if the root is missing (a lost mount), which must not look like an empty store.
  const emptyIfMounted = Effect.zipRight(fs.access(at("scratch")), Effect.succeed<ReadonlyArray<string>>([]))

  const remove = (path: string) => Effect.ignore(fs.remove(path, { recursive: true, force: true }))

  const makeDirectory = (directory: string) =>
    // The umask may have cleared bits, so the mode of a new directory or file is always set again.
    Effect.zipRight(fs.makeDirectory(directory, { mode: 0o700 }), fs.chmod(directory, 0o700))

  /** Creates a shard by a rename, so that it never exists without its mode. */
  const makeShard = (shard: string) =>
    Effect.suspend(() => {
      const temporary = scratch()
      return Effect.zipRight(makeDirectory(temporary), fs.rename(temporary, shard)).pipe(
        // Another process created the shard.
        Effect.catchAll((error) =>
          Effect.if(fs.exists(shard), { onTrue: () => remove(temporary), onFalse: () => Effect.fail(error) })
        ),
        Effect.zipRight(sync(path.dirname(shard)))
      )
    })

  /** Runs a step that adds to a shard, and creates the shard if it is missing. */
  const inShard = <A>(
    to: string,
    step: Effect.Effect<A, PlatformError>,
    tries = 3
  ): Effect.Effect<A, PlatformError> =>
    Effect.catchIf(
      step,
      (error) => isNotFound(error) && tries > 0,
      () => Effect.zipRight(makeShard(path.dirname(to)), inShard(to, step, tries - 1))
    )

  const syncOne = (directory: string) => Effect.catchIf(syncDirectory(fs, directory), isNotFound, () => Effect.void)

  const sync = (...directories: ReadonlyArray<string>) =>
    syncs.names
      ? Effect.forEach([...new Set(directories)], syncOne, { concurrency: "unbounded", discard: true })
      : Effect.void

  const putInShard = (
    step: "rename" | "link",
    from: string,
    to: string,
    tries = 3
  ): Effect.Effect<boolean, PlatformError> =>
    Effect.as(inShard(to, fs[step](from, to)), true).pipe(
      // Systems report an existing target with different errors, and it may have been removed since.
      Effect.catchAll((error) =>
        Effect.flatMap(
          fs.exists(to),
          (taken) =>
            taken ? Effect.succeed(false) : tries > 0 ? putInShard(step, from, to, tries - 1) : Effect.fail(error)
        )
      )
    )

  const list = (directory: string) => Effect.catchIf(fs.readDirectory(directory), isNotFound, () => emptyIfMounted)

  return {
    at,
    join: (directory, name) => path.join(directory, name),
    parent: path.dirname,
    scratch,
    list,
    shards: (family) => Effect.map(list(at(family)), (names) => names.filter(isShard).sort()),
    read: (file) => Effect.catchIf(fs.readFileString(file), isNotFound, () => Effect.succeed(undefined)),
    exists: (path) => fs.exists(path),
    write: (file, text) =>
      Effect.scoped(
        Effect.flatMap(fs.open(file, { flag: "wx", mode: 0o600 }), (opened) =>
          opened.writeAll(new TextEncoder().encode(text)).pipe(
            Effect.zipRight(setFileMode(file)),
            Effect.zipRight(syncs.contents ? opened.sync : Effect.void)
          ))
      ).pipe(
        Effect.as(true),
        Effect.catchIf(isNotFound, () =>
          Effect.succeed(false)),
        Effect.tapError(() =>
          remove(file)
        )
      ),
    createEmpty: (file) =>
      Effect.zipRight(
        inShard(file, fs.writeFile(file, new Uint8Array(0), { flag: "wx", mode: 0o600 })),
        setFileMode(file)
      ).pipe(
        Effect.as(true),
        Effect.catchIf((error) => reasonOf(error) === "AlreadyExists", () => Effect.succeed(false))
      ),
    makeDirectory,
    move: (from, to) =>
      Effect.as(fs.rename(from, to), true).pipe(Effect.catchIf(isNotFound, () => Effect.succeed(false))),
    putInShard,
    sync,
    remove,
    discard: (path, isNeeded) =>
      Effect.suspend(() => {
        const discarded = scratch()
        const needed = isNeeded === undefined ? Effect.succeed(false) : Effect.map(list(discarded), isNeeded)
        return fs.rename(path, discarded).pipe(
          Effect.zipRight(needed),
          Effect.flatMap((needed) => needed ? fs.rename(discarded, path) : remove(discarded)),
          Effect.ignore
        )
      }),
    changedAt: (path) =>
      Effect.map(fs.stat(path), ({ mtime }) => mtime._tag === "Some" ? mtime.value.getTime() : undefined).pipe(
        Effect.catchIf(isNotFound, () => Effect.succeed(undefined))
      )
  }
}

/** Syncs a directory. Fails on platforms that cannot open one (Windows). */
export const syncDirectory = (fs: FileSystem.FileSystem, directory: string): Effect.Effect<void, PlatformError> =>
  Effect.scoped(Effect.flatMap(fs.open(directory, { flag: "r" }), (opened) => opened.sync))

const reasonOf = (error: PlatformError) => error._tag === "SystemError" ? error.reason : undefined

const isNotFound = (error: PlatformError): boolean => reasonOf(error) === "NotFound"

// The directory of a store

/**
 * Creates the root and the directories below it, and checks that they are real directories that belong to the user of this process and
 * are not writable by others. Fails otherwise: another user could replace sessions, or plant links.
 */
export const prepare = (
  fs: FileSystem.FileSystem,
  path: Path.Path,
  root: string
): Effect.Effect<void, SessionConfigError | PlatformError> =>
  Effect.gen(function*() {
    // Checked before anything is created: the directory would be created at the target of a dangling link.
    yield* checkNoLink(fs, root)
    const isNew = !(yield* fs.exists(root))
    if (isNew) yield* fs.makeDirectory(root, { recursive: true, mode: 0o700 })
    yield* checkOwned(fs, path, root)
    if (isNew) yield* fs.chmod(root, 0o700)
    // If the platform cannot resolve links, checks the parents of the path as given.
    for (const parent of parentsOf(path, yield* Effect.orElseSucceed(fs.realPath(root), () => root))) {
      const { mode } = yield* fs.stat(parent)
      // In a directory like /tmp, with the sticky bit, only the owner of an entry may replace it.
      if (path.sep !== "\\" && (mode & 0o1002) === 0o002) {
        return yield* unsafe(
          `${parent} is writable by everyone, who could replace ${root}. Give the store a directory elsewhere, or run ` +
            `chmod o-w ${parent}.`
        )
      }
    }
    for (const family of families) {
      const directory = path.join(root, family)
      yield* Effect.catchIf(
        fs.makeDirectory(directory, { mode: 0o700 }),
        (error) => reasonOf(error) === "AlreadyExists",
        () => Effect.void
      )
      yield* checkOwned(fs, path, directory)
      yield* fs.chmod(directory, 0o700)
    }
  })

/** Fails unless this is a real directory that belongs to the user of this process and is not writable by others. */
const checkOwned = (fs: FileSystem.FileSystem, path: Path.Path, directory: string) =>
  Effect.gen(function*() {
    yield* checkNoLink(fs, directory)
    const { mode, type, uid } = yield* fs.stat(directory)
    if (type !== "Directory") {
      return yield* configError("FileStore", `${directory} is not a directory.`, "directory-unusable")
    }
    // Windows has neither numeric users nor modes.
    const user = userId()
    if (path.sep === "\\" || user === undefined) {
      return
    }
    if (Option.isSome(uid) && uid.value !== user) {
      return yield* unsafe(
        `${directory} belongs to the user ${uid.value}, who could read and replace the sessions in it, and this process ` +
          `runs as the user ${user}. Give the store a directory of its own, or run the process as the owner.`
      )
    }
    if ((mode & 0o022) !== 0) {
      return yield* unsafe(
        `${directory} is writable by others, who could replace sessions in it. Give the store a directory of its own, and ` +
          `run chmod go-w on it.`
      )
    }
  })

const checkNoLink = (fs: FileSystem.FileSystem, directory: string) =>
  Effect.flatMap(Effect.option(fs.readLink(directory)), (target) =>
    Option.isNone(target) ? Effect.void : unsafe(
      `${directory} is a symbolic link, and a user who can change the link could replace all sessions. Name the directory ` +
        `itself: all files of a store must be on one disk.`
    ))

const parentsOf = (path: Path.Path, directory: string): ReadonlyArray<string> => {
  const parent = path.dirname(directory)
  return parent === directory ? [] : [parent, ...parentsOf(path, parent)]
}

/** The user who owns the files that this process creates; `undefined` if the platform has no numeric users. */
const userId = (): number | undefined => {
  const process: unknown = Reflect.get(globalThis, "process")
  const id = Predicate.hasProperty(process, "geteuid") && Predicate.isFunction(process.geteuid)
    ? process.geteuid()
    : undefined
  return typeof id === "number" ? id : undefined
}

const unsafe = (problem: string) => Effect.fail(configError("FileStore", problem, "directory-unsafe"))
