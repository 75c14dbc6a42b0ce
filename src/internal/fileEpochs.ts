/**
 * Revocations of a subject or a namespace: numbered files that are only ever added. A record remembers how many there
 * were when it was made, and is alive as long as each later one spares it.
 *
 * The content of a file is the id that it spares, so to revoke and to spare is one step. Numbers have no gaps, so a load
 * only asks for the next one. Files are never removed: a record that was spared may still need them.
 */
import type { PlatformError } from "@effect/platform/Error"
import * as Effect from "effect/Effect"
import type { SessionId } from "../SessionId.js"
import type { Disk } from "./fileDisk.js"
import { hashOf, shardOf } from "./fileNames.js"

/** Whose sessions a revocation ends: all of a namespace, or those of one subject. */
export type Scope = readonly [namespace: string, subject?: string]

export interface Epochs {
  /** How many revocations there have been. */
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

export const make = (disk: Disk): Epochs => {
  const fileOf = ([namespace, subject]: Scope) => {
    const name = subject === undefined ? hashOf("namespace", namespace) : hashOf("subject", namespace, subject)
    return (epoch: number) => disk.at("epochs", shardOf(name), `${name}_${epoch}`)
  }

  const current = (...scope: Scope) => {
    const file = fileOf(scope)
    /** `low` exists, or is 0; `high`, once it is known, does not. */
    const search = (low: number, high?: number): Effect.Effect<number, PlatformError> => {
      if (high !== undefined && high - low <= 1) return Effect.succeed(low)
      const next = high === undefined ? Math.max(1, low * 2) : Math.floor((low + high) / 2)
      return Effect.flatMap(disk.exists(file(next)), (exists) => exists ? search(next, high) : search(low, next))
    }
    return search(0)
  }

  const passed = (
    since: number,
    id: SessionId | undefined,
    ...scope: Scope
  ): Effect.Effect<number | undefined, PlatformError> => {
    const file = fileOf(scope)(since + 1)
    return Effect.flatMap(disk.exists(file), (exists) => {
      if (!exists) return Effect.succeed(since)
      if (id === undefined) return Effect.succeed(undefined)
      return Effect.flatMap(
        disk.read(file),
        (spared) => spared === id ? passed(since + 1, id, ...scope) : Effect.succeed(undefined)
      )
    })
  }

  const raise = (except: SessionId | undefined, ...scope: Scope) => {
    const file = fileOf(scope)
    const made = disk.scratch()
    // Linked to its place, a revocation is there with what it spares or not at all.
    const add = (epoch: number): Effect.Effect<string, PlatformError> =>
      Effect.flatMap(
        disk.place("link", made, file(epoch)),
        (placed) => placed ? Effect.succeed(file(epoch)) : add(epoch + 1)
      )
    return disk.write(made, except ?? nobody).pipe(
      Effect.zipRight(current(...scope)),
      Effect.flatMap((epoch) => add(epoch + 1)),
      Effect.flatMap((added) => disk.sync(disk.parent(added))),
      Effect.ensuring(disk.remove(made))
    )
  }

  return { current, passed, raise }
}
