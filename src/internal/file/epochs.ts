/**
 * Revocations of a subject or a namespace, as numbered files. A record stores the number of the last revocation at its creation, and is
 * alive as long as every later revocation spares it.
 *
 * The content of a file is the id that the revocation spares, so that revoking and sparing are one step. The number is the time of the
 * revocation in milliseconds, or the previous number plus one if that is greater. So the revocations of a subject without sessions can
 * be removed: a later revocation has a greater number than any record can have stored before.
 */
import type { PlatformError } from "@effect/platform/Error"
import * as Effect from "effect/Effect"
import type { SessionId } from "../../SessionId.js"
import type { Disk } from "./disk.js"
import { hashOf, shardOf } from "./names.js"

/** The sessions that a revocation ends: all of a namespace, or those of one subject. */
type Scope = readonly [namespace: string, subject?: string]

export interface Epochs {
  /** Returns the number of the last revocation; 0 if there is none. */
  readonly current: (...scope: Scope) => Effect.Effect<number, PlatformError>
  /** Returns the number of the last revocation if all after `since` spare this id; `undefined` if one does not. */
  readonly sparedUntil: (
    since: number,
    id: SessionId | undefined,
    ...scope: Scope
  ) => Effect.Effect<number | undefined, PlatformError>
  /** Adds a revocation. */
  readonly revoke: (except: SessionId | undefined, ...scope: Scope) => Effect.Effect<void, PlatformError>
}

/** The content of a revocation without an exception. It is not a valid id. */
const noException = "-"

/** The decoded name of a revocation's file. */
interface Revocation {
  /** The hash of the namespace, or of namespace and subject. */
  readonly scope: string
  readonly epoch: number
  /** Whether it is of a subject (the name ends with `_1`). The index entries of the subject begin with the same hash. */
  readonly ofSubject: boolean
}

/** Parses the name of a revocation's file; `undefined` if it is not one. */
export const parseRevocation = (name: string): Revocation | undefined => {
  const [, scope, epoch, kind] = /^([0-9a-f]+)_(\d+)(_1)?$/.exec(name) ?? []
  return scope === undefined ? undefined : { scope, epoch: Number(epoch), ofSubject: kind !== undefined }
}

export const make = (disk: Disk): Epochs => {
  const of = ([namespace, subject]: Scope) => {
    const scope = subject === undefined ? hashOf("namespace", namespace) : hashOf("subject", namespace, subject)
    const directory = disk.at("epochs", shardOf(scope))
    return {
      scope,
      directory,
      fileOf: (epoch: number) => disk.join(directory, `${scope}_${epoch}${subject === undefined ? "" : "_1"}`)
    }
  }

  /** Lists the revocations of a scope after this number, in their order. */
  const after = (since: number, ...target: Scope) => {
    const { directory, scope } = of(target)
    return Effect.map(disk.list(directory), (names) =>
      names.flatMap((name) => {
        const found = name.startsWith(scope) ? parseRevocation(name) : undefined
        return found === undefined || found.epoch <= since ? [] : [{ ...found, file: disk.join(directory, name) }]
      }).sort((a, b) => a.epoch - b.epoch))
  }

  const current = (...scope: Scope) => Effect.map(after(0, ...scope), (all) => all.at(-1)?.epoch ?? 0)

  const sparedUntil = (
    since: number,
    id: SessionId | undefined,
    ...scope: Scope
  ): Effect.Effect<number | undefined, PlatformError> =>
    Effect.flatMap(after(since, ...scope), ([...all]) => {
      const last = all.at(-1)
      if (last === undefined) return Effect.succeed(since)
      if (id === undefined) return Effect.succeed(undefined)
      return Effect.map(
        Effect.forEach(all, ({ file }) => disk.read(file)),
        (exceptions) => exceptions.every((exception) => exception === id) ? last.epoch : undefined
      )
    })

  const revoke = (except: SessionId | undefined, ...target: Scope) => {
    const { directory, fileOf } = of(target)
    const temporary = disk.scratch()
    /** A link creates the file together with its content. If another process added a later revocation, adds one after that, too. */
    const add = (epoch: number): Effect.Effect<void, PlatformError> =>
      Effect.flatMap(disk.putInShard("link", temporary, fileOf(epoch)), (placed) =>
        placed
          ? Effect.flatMap(current(...target), (last) => last > epoch ? add(last + 1) : Effect.void)
          : add(epoch + 1))
    return disk.write(temporary, except ?? noException).pipe(
      Effect.zipRight(current(...target)),
      Effect.flatMap((last) => add(Math.max(last + 1, Date.now()))),
      Effect.zipRight(disk.sync(directory)),
      Effect.ensuring(disk.remove(temporary))
    )
  }

  return { current, sparedUntil, revoke }
}
