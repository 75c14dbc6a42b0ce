/**
 * The store in files, for any number of processes on one machine.
 *
 * Each write prepares its files and then renames one empty file, which is atomic. Only logins within a limit of sessions per subject
 * use a lock, and the next login breaks that of a killed process. The directory must be on a local disk.
 *
 * @since 0.4.0
 */
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Clock from "effect/Clock"
import type * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { configError } from "./internal/configError.js"
import * as Disk from "./internal/file/disk.js"
import * as Epochs from "./internal/file/epochs.js"
import * as Index from "./internal/file/indexes.js"
import * as Locks from "./internal/file/locks.js"
import * as LookUp from "./internal/file/lookUp.js"
import * as Reasons from "./internal/file/reasons.js"
import * as Records from "./internal/file/records.js"
import * as Sweep from "./internal/file/sweep.js"
import * as Writes from "./internal/file/writes.js"
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import type { SessionConfigError } from "./SessionConfigError.js"
import type { Store } from "./SessionStore.js"
import { checkClock, SessionStore, SessionStoreError } from "./SessionStore.js"

/**
 * The options of {@link make} and {@link layer}.
 *
 * @since 0.4.0
 * @category models
 */
export interface FileStoreOptions {
  /**
   * The directory of the files, used for nothing else and created if it is missing. It must belong to the user of this process, must not be
   * a symbolic link, and must not be writable by other users, even with the sticky bit. No directory above it may be writable by all users,
   * except with the sticky bit.
   */
  readonly directory: string
  /**
   * `"fsync"`: a write waits until it is on the disk, and survives a power loss. `"none"`: a write waits for the operating system only,
   * survives only a crash of this process, and is much faster. Default `"fsync"`.
   */
  readonly durability?: "fsync" | "none"
}

/**
 * Makes a store. Fails with `SessionConfigError` if `directory` is not a directory, is a symbolic link, belongs to another user, is writable by
 * other users, or cannot be created or written by this process.
 *
 * @since 0.4.0
 * @category constructors
 */
export const make = (
  options: FileStoreOptions
): Effect.Effect<Store, SessionConfigError | PlatformError, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const root = path.resolve(options.directory)
    yield* Effect.mapError(
      Disk.prepare(fs, path, root),
      (error) =>
        error._tag === "SessionConfigError" ? error : configError(
          "FileStore",
          `${root} cannot be used (${error.message}). Give the store a directory that this process owns and may write, ` +
            `or one that it may create.`,
          "directory-unusable"
        )
    )
    const contents = options.durability !== "none"
    const names = contents && (yield* Effect.isSuccess(Disk.syncDirectory(fs, root)))
    const disk = Disk.make(fs, path, root, { contents, names })
    const epochs = Epochs.make(disk)
    const index = Index.make(disk)
    const reasons = Reasons.make(disk)
    const records = Records.make(disk, index, epochs, reasons)
    const locks = Locks.make(disk, records)
    const sweep = Sweep.make(disk, records, locks)
    const lookUp = LookUp.make(index, records)
    const writes = Writes.make({ disk, epochs, index, locks, lookUp, reasons, records })

    return {
      // A local disk answers or fails: no reply can be lost.
      // On Windows, no rename replaces an empty directory, which the locks need.
      capabilities: { durableDestroy: names, remote: false, ...path.sep === "\\" ? {} : { limitsSubjects: true } },
      create: (key, record, now, limit) => write("create", writes.create(key, record, now, limit)),
      load: (key, now) => read("load", Effect.map(records.alive(key, now), recordOf)),
      save: (key, record, { expectedVersion: expected, now }) => write("save", writes.save(key, record, expected, now)),
      touch: (key, { expiresAt, lastSeenAt, now }) => write("touch", writes.touch(key, lastSeenAt, expiresAt, now)),
      rotate: (key, newKey, record, { expectedVersion: expected, limit, now }) =>
        write("rotate", writes.rotate(key, newKey, record, expected, now, limit)),
      destroy: (key) => write("destroy", Effect.asVoid(records.endAll(key, "loggedOut"))),
      // It may be interrupted between two records, because each step is atomic. The disk is local, so the clocks differ only if one was
      // set. So the time of the process is checked, and `now` may be later: a script may intend that.
      removeExpired: ({ limit, now }) =>
        Effect.zip(Clock.currentTimeMillis, read("removeExpired", sweep.clock)).pipe(
          Effect.flatMap(([time, clock]) => checkClock(time, clock)),
          Effect.zipRight(read("removeExpired", sweep.removeExpired(now, limit)))
        ),
      count: (now) => read("count", sweep.count(now)),
      list: (namespace, subject, now, page = {}) => read("list", lookUp.list(namespace, subject, now, page)),
      find: (namespace, id, now) => read("find", Effect.map(lookUp.find(namespace, id, now), recordOf)),
      scan: (namespace, { after, limit, now }) => read("scan", lookUp.scan(namespace, after, limit, now)),
      revoke: (namespace, id, subject) => write("revoke", lookUp.revoke(namespace, id, subject)),
      revokeSubject: (namespace, subject, except) => write("revokeSubject", epochs.revoke(except, namespace, subject)),
      revokeAll: (namespace) => write("revokeAll", epochs.revoke(undefined, namespace)),
      endReason: (key, now) => read("endReason", Effect.map(records.endReason(key, now), Option.fromNullable))
    }
  })

/**
 * A store in files below a directory.
 *
 * @example
 * ```ts
 * import { NodeContext } from "@effect/platform-node"
 * import { Layer } from "effect"
 * import { FileStore } from "effect-session"
 *
 * export const store = FileStore.layer({ directory: "/var/lib/shop/sessions" }).pipe(
 *   Layer.provide(NodeContext.layer)
 * )
 * ```
 *
 * @since 0.4.0
 * @category layers
 */
export const layer = (
  options: FileStoreOptions
): Layer.Layer<SessionStore, SessionConfigError | PlatformError, FileSystem.FileSystem | Path.Path> =>
  Layer.effect(SessionStore, make(options))

/**
 * A store in files with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<FileStoreOptions>
): Layer.Layer<SessionStore, SessionConfigError | PlatformError | ConfigError, FileSystem.FileSystem | Path.Path> =>
  layerConfigOf(options, layer)

const recordOf = (found: Records.Found | undefined) => Option.map(Option.fromNullable(found), ({ record }) => record)

const read = <A>(operation: string, effect: Effect.Effect<A, PlatformError | Records.CorruptFile>) =>
  Effect.mapError(
    effect,
    (cause) =>
      new SessionStoreError({ operation, reason: cause._tag === "CorruptFile" ? "corrupt" : "unavailable", cause })
  )

/** Makes a write uninterruptible, so that its prepared files are used or removed. */
const write = <A>(operation: string, effect: Effect.Effect<A, PlatformError | Records.CorruptFile>) =>
  Effect.uninterruptible(read(operation, effect))
