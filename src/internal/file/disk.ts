/**
 * The steps that a file store is made of, on the platform's file system. What another process may have done in the
 * meantime is a value here; the error channel is for a disk that fails.
 */
import type { PlatformError } from "@effect/platform/Error"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import type { Family } from "./names.js"
import { freshName, isShard } from "./names.js"

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
