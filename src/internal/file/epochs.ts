/**
 * Revocations of a subject or a namespace: numbered files. A record remembers the number of the last one when it was made,
 * and is alive as long as each later one spares it.
 *
 * The content of a file is the id that it spares, so to revoke and to spare is one step. Its number is the time at which it
 * was made, or one more than that of the last one where this is not later. So those of a subject without sessions can be
 * removed: a later revocation has a number that is greater than whatever a record can have noted before.
 */
import type { PlatformError } from "@effect/platform/Error"
import * as Effect from "effect/Effect"
import type { SessionId } from "../../SessionId.js"
import type { Disk } from "./disk.js"
import { hashOf, shardOf } from "./names.js"

/** Whose sessions a revocation ends: all of a namespace, or those of one subject. */
type Scope = readonly [namespace: string, subject?: string]

export interface Epochs {
  /** The number of the last revocation; 0 if there is none. */
  readonly current: (...scope: Scope) => Effect.Effect<number, PlatformError>
  /** The number up to which all revocations after `since` spare this id; `undefined` if one does not. */
  readonly passed: (
    since: number,
    id: SessionId | undefined,
    ...scope: Scope
  ) => Effect.Effect<number | undefined, PlatformError>
  /** Adds one. */
  readonly raise: (except: SessionId | undefined, ...scope: Scope) => Effect.Effect<void, PlatformError>
}

/** No id is spelled like this. */
const nobody = "-"

/** A revocation, by the name of its file. */
interface Revocation {
  /** The hash that names whose it is. */
  readonly scope: string
  readonly epoch: number
  /** It is of a subject: a 1 behind the number says so. The same hash begins the entries of the subject's sessions. */
  readonly ofSubject: boolean
}

/** What the name of a revocation's file says. */
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

  /** The files of a scope after this number, in their order. */
  const after = (since: number, ...whose: Scope) => {
    const { directory, scope } = of(whose)
    return Effect.map(disk.list(directory), (names) =>
      names.flatMap((name) => {
        const found = name.startsWith(scope) ? parseRevocation(name) : undefined
        return found === undefined || found.epoch <= since ? [] : [{ ...found, file: disk.join(directory, name) }]
      }).sort((a, b) => a.epoch - b.epoch))
  }

  const current = (...scope: Scope) => Effect.map(after(0, ...scope), (all) => all.at(-1)?.epoch ?? 0)

  const passed = (
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
        (spared) => spared.every((one) => one === id) ? last.epoch : undefined
      )
    })

  const raise = (except: SessionId | undefined, ...whose: Scope) => {
    const { directory, fileOf } = of(whose)
    const made = disk.scratch()
    /** Linked to its place, a revocation is there with what it spares or not at all. It must be the last one at a moment. */
    const add = (epoch: number): Effect.Effect<void, PlatformError> =>
      Effect.flatMap(disk.place("link", made, fileOf(epoch)), (placed) =>
        placed
          ? Effect.flatMap(current(...whose), (last) => last > epoch ? add(last + 1) : Effect.void)
          : add(epoch + 1))
    return disk.write(made, except ?? nobody).pipe(
      Effect.zipRight(current(...whose)),
      Effect.flatMap((last) => add(Math.max(last + 1, Date.now()))),
      Effect.zipRight(disk.sync(directory)),
      Effect.ensuring(disk.remove(made))
    )
  }

  return { current, passed, raise }
}
