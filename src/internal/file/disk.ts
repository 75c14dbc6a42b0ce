/**
 * The file system as a store needs it: its directory, which is refused if another user could put something into it, and
 * the steps that a write is made of. What another process may have done in the meantime is a value here; the error
 * channel is for a disk that fails.
 */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { SessionConfigError } from "../../SessionConfigError.js"
import type { Family } from "./names.js"
import { families, freshName, isShard } from "./names.js"

export interface Disk {
  /** A path below the root. */
  readonly at: (family: Family, ...names: ReadonlyArray<string>) => string
  readonly join: (directory: string, name: string) => string
  readonly parent: (path: string) => string
  /** A free path for what is being made or removed. */
  readonly scratch: () => string
  /** The names in a directory; none if it is not there. */
  readonly list: (directory: string) => Effect.Effect<ReadonlyArray<string>, PlatformError>
  /** The shards of a family, in their order. */
  readonly shards: (family: Family) => Effect.Effect<ReadonlyArray<string>, PlatformError>
  /** The text of a file, or `undefined`. */
  readonly read: (file: string) => Effect.Effect<string | undefined, PlatformError>
  readonly exists: (path: string) => Effect.Effect<boolean, PlatformError>
  /** Makes a file with a content, which is on the disk before anything can refer to it. False if its directory is gone. */
  readonly write: (file: string, text: string) => Effect.Effect<boolean, PlatformError>
  /** Makes an empty file in a shard. False if it was there. */
  readonly mark: (file: string) => Effect.Effect<boolean, PlatformError>
  /** Makes an empty directory that is ours alone. */
  readonly makeDirectory: (directory: string) => Effect.Effect<void, PlatformError>
  /** Renames. False if there is nothing to rename, or nowhere to put it. */
  readonly move: (from: string, to: string) => Effect.Effect<boolean, PlatformError>
  /** Puts what was made into a shard. False if the place is taken; then nothing changes. */
  readonly place: (step: "rename" | "link", from: string, to: string) => Effect.Effect<boolean, PlatformError>
  /** Waits until the names in these directories are on the disk. */
  readonly sync: (...directories: ReadonlyArray<string>) => Effect.Effect<void, PlatformError>
  /** Removes a file or a directory; what cannot be removed now is swept later. */
  readonly remove: (path: string) => Effect.Effect<void>
  /** Takes something out of the way in one step, then removes it; a directory is put back if that is in it. */
  readonly discard: (path: string, isWanted?: (names: ReadonlyArray<string>) => boolean) => Effect.Effect<void>
  /** When something was last changed; `undefined` if it is not there. */
  readonly changedAt: (path: string) => Effect.Effect<number | undefined, PlatformError>
}

export const make = (
  fs: FileSystem.FileSystem,
  path: Path.Path,
  root: string,
  /** What is waited for: that contents, and that names, are on the disk. */
  durable: { readonly contents: boolean; readonly names: boolean }
): Disk => {
  const at = (family: Family, ...names: ReadonlyArray<string>) => path.join(root, family, ...names)
  const scratch = () => at("scratch", freshName())
  const ownFile = (file: string) => fs.chmod(file, 0o600)

  // A disk that went away must not look like one on which nobody has a session.
  const missing = Effect.zipRight(fs.access(at("scratch")), Effect.succeed<ReadonlyArray<string>>([]))

  const remove = (path: string) => Effect.ignore(fs.remove(path, { recursive: true, force: true }))

  const makeDirectory = (directory: string) =>
    // A mask may have taken bits away: the mode of a new directory or file is always set as well.
    Effect.zipRight(fs.makeDirectory(directory, { mode: 0o700 }), fs.chmod(directory, 0o700))

  /** Renamed to its place, a shard is there with its mode or not at all. */
  const makeShard = (shard: string) =>
    Effect.suspend(() => {
      const made = scratch()
      return Effect.zipRight(makeDirectory(made), fs.rename(made, shard)).pipe(
        // Another process made it: there are files in it, or there will be.
        Effect.catchAll((error) =>
          Effect.if(fs.exists(shard), { onTrue: () => remove(made), onFalse: () => Effect.fail(error) })
        ),
        Effect.zipRight(sync(path.dirname(shard)))
      )
    })

  /** Runs a step that puts something into a shard, which may have to be made first. */
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
    durable.names
      ? Effect.forEach([...new Set(directories)], syncOne, { concurrency: "unbounded", discard: true })
      : Effect.void

  const place = (
    step: "rename" | "link",
    from: string,
    to: string,
    tries = 3
  ): Effect.Effect<boolean, PlatformError> =>
    Effect.as(inShard(to, fs[step](from, to)), true).pipe(
      // Systems disagree on what to call a place that is taken, and by now it may be free again.
      Effect.catchAll((error) =>
        Effect.flatMap(
          fs.exists(to),
          (taken) => taken ? Effect.succeed(false) : tries > 0 ? place(step, from, to, tries - 1) : Effect.fail(error)
        )
      )
    )

  const list = (directory: string) => Effect.catchIf(fs.readDirectory(directory), isNotFound, () => missing)

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
            Effect.zipRight(ownFile(file)),
            Effect.zipRight(durable.contents ? opened.sync : Effect.void)
          ))
      ).pipe(
        Effect.as(true),
        Effect.catchIf(isNotFound, () =>
          Effect.succeed(false)),
        Effect.tapError(() =>
          remove(file)
        )
      ),
    mark: (file) =>
      Effect.zipRight(
        inShard(file, fs.writeFile(file, new Uint8Array(0), { flag: "wx", mode: 0o600 })),
        ownFile(file)
      ).pipe(
        Effect.as(true),
        Effect.catchIf((error) => reasonOf(error) === "AlreadyExists", () => Effect.succeed(false))
      ),
    makeDirectory,
    move: (from, to) =>
      Effect.as(fs.rename(from, to), true).pipe(Effect.catchIf(isNotFound, () => Effect.succeed(false))),
    place,
    sync,
    remove,
    discard: (path, isWanted) =>
      Effect.suspend(() => {
        const away = scratch()
        const wanted = isWanted === undefined ? Effect.succeed(false) : Effect.map(list(away), isWanted)
        return fs.rename(path, away).pipe(
          Effect.zipRight(wanted),
          Effect.flatMap((wanted) => wanted ? fs.rename(away, path) : remove(away)),
          Effect.ignore
        )
      }),
    changedAt: (path) =>
      Effect.map(fs.stat(path), ({ mtime }) => mtime._tag === "Some" ? mtime.value.getTime() : undefined).pipe(
        Effect.catchIf(isNotFound, () => Effect.succeed(undefined))
      )
  }
}

/** Not every platform lets a directory be opened for this. */
export const syncDirectory = (fs: FileSystem.FileSystem, directory: string): Effect.Effect<void, PlatformError> =>
  Effect.scoped(Effect.flatMap(fs.open(directory, { flag: "r" }), (opened) => opened.sync))

const reasonOf = (error: PlatformError) => error._tag === "SystemError" ? error.reason : undefined

const isNotFound = (error: PlatformError): boolean => reasonOf(error) === "NotFound"

// The directory of a store

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
        (error) => reasonOf(error) === "AlreadyExists",
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
