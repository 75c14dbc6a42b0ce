/**
 * A file system whose calls are intercepted: to record them, to make one fail, or to stop there as a killed process does.
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import { Effect, Layer } from "effect"
import { FileStore } from "effect-session"

export interface Step {
  readonly call: string
  readonly paths: ReadonlyArray<string>
}

export type Around = <A>(step: Step, run: Effect.Effect<A, PlatformError>) => Effect.Effect<A, PlatformError>

const file = (opened: FileSystem.File, path: string, around: Around): FileSystem.File => ({
  [FileSystem.FileTypeId]: FileSystem.FileTypeId,
  fd: opened.fd,
  stat: around({ call: "stat", paths: [path] }, opened.stat),
  sync: around({ call: "sync", paths: [path] }, opened.sync),
  seek: (offset, from) => opened.seek(offset, from),
  read: (buffer) => around({ call: "read", paths: [path] }, opened.read(buffer)),
  readAlloc: (size) => around({ call: "readAlloc", paths: [path] }, opened.readAlloc(size)),
  truncate: (length) => around({ call: "truncate", paths: [path] }, opened.truncate(length)),
  write: (buffer) => around({ call: "write", paths: [path] }, opened.write(buffer)),
  writeAll: (buffer) => around({ call: "writeAll", paths: [path] }, opened.writeAll(buffer))
})

/** Intercepts the calls that a file store makes. Any other call fails. */
const watched = (fs: FileSystem.FileSystem, around: Around): FileSystem.FileSystem =>
  FileSystem.makeNoop({
    access: (path, options) => around({ call: "access", paths: [path] }, fs.access(path, options)),
    chmod: (path, mode) => around({ call: "chmod", paths: [path] }, fs.chmod(path, mode)),
    exists: (path) => around({ call: "exists", paths: [path] }, fs.exists(path)),
    link: (from, to) => around({ call: "link", paths: [from, to] }, fs.link(from, to)),
    makeDirectory: (path, options) => around({ call: "makeDirectory", paths: [path] }, fs.makeDirectory(path, options)),
    open: (path, options) =>
      // The scope belongs to the caller, so only the time before the call is intercepted.
      Effect.zipRight(
        around({ call: options?.flag === "wx" ? "make" : "open", paths: [path] }, Effect.void),
        Effect.map(fs.open(path, options), (opened) => file(opened, path, around))
      ),
    readDirectory: (path, options) => around({ call: "readDirectory", paths: [path] }, fs.readDirectory(path, options)),
    readFileString: (path) => around({ call: "readFileString", paths: [path] }, fs.readFileString(path)),
    readLink: (path) => around({ call: "readLink", paths: [path] }, fs.readLink(path)),
    remove: (path, options) => around({ call: "remove", paths: [path] }, fs.remove(path, options)),
    rename: (from, to) => around({ call: "rename", paths: [from, to] }, fs.rename(from, to)),
    stat: (path) => around({ call: "stat", paths: [path] }, fs.stat(path)),
    writeFile: (path, data, options) => around({ call: "make", paths: [path] }, fs.writeFile(path, data, options))
  })

/** The platform with an intercepted file system. */
export const platform = (around: Around) =>
  Layer.provideMerge(
    Layer.effect(FileSystem.FileSystem, Effect.map(FileSystem.FileSystem, (fs) => watched(fs, around))),
    NodeContext.layer
  )

/** Opens a file store whose file system calls are intercepted. */
export const interceptedFileStore = (
  directory: string,
  around: Around,
  options: Partial<FileStore.FileStoreOptions> = {}
) => Effect.provide(FileStore.make({ directory, ...options }), platform(around))

/** Opens a file store, as another process would. */
export const openStore = (directory: string, options: Partial<FileStore.FileStoreOptions> = {}) =>
  Effect.provide(FileStore.make({ directory, ...options }), NodeContext.layer)
