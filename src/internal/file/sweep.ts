/**
 * Maintenance over all records: counts them, deletes expired ones, and removes the leftovers of interrupted writes.
 */
import type { PlatformError } from "@effect/platform/Error"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Count } from "../../SessionStore.js"
import * as StoreKey from "../../StoreKey.js"
import type { Disk } from "./disk.js"
import { parseRevocation } from "./epochs.js"
import { parseEntry } from "./indexes.js"
import type { Locks } from "./locks.js"
import type { Marker } from "./names.js"
import { decodeName, isLeftover, markerOf } from "./names.js"
import { parseReason } from "./reasons.js"
import type { Records } from "./records.js"

/** Minimum age of leftovers in milliseconds: a younger file may belong to a write in progress. A slower write fails. */
const minimumAge = 60 * 60 * 1000

/** Number of directories of the indexes, of the revocations, of the reasons and of the locks that one call sweeps. */
const directoriesPerSweep = 48

interface Sweep {
  /** Reads the clock of the file system, in milliseconds. */
  readonly clock: Effect.Effect<number, PlatformError>
  readonly count: (now: number) => Effect.Effect<Count, PlatformError>
  readonly removeExpired: (now: number, limit: number) => Effect.Effect<number, PlatformError>
}

export const make = (disk: Disk, records: Records, locks: Locks): Sweep => {
  // Where the next call continues, so that limited or interrupted calls still reach every directory.
  let nextShard = ""
  const next = { indexes: 0, epochs: 0, reasons: 0, locks: 0 }

  const isOld = (path: string, now: number) =>
    Effect.map(disk.changedAt(path), (at) => at !== undefined && now - at > minimumAge)

  /** Visits the records of a shard, with their markers. */
  const inShard = <A>(
    shard: string,
    visit: (
      key: StoreKey.StoreKey,
      marker: Marker | undefined,
      names: ReadonlyArray<string>
    ) => Effect.Effect<A, PlatformError>
  ) =>
    Effect.flatMap(
      disk.list(disk.at("records", shard)),
      (names) =>
        Effect.forEach(names.flatMap(keyOf), (key) =>
          Effect.flatMap(
            disk.list(records.directoryOf(key)),
            (names) => visit(key, markerOf(names), names)
          ), { concurrency: 8 })
    )

  const sweepRecord = (key: StoreKey.StoreKey, names: ReadonlyArray<string>, now: number) => {
    const directory = records.directoryOf(key)
    if (!isLeftover(names)) return Effect.void
    return Effect.flatMap(isOld(directory, now), (old) =>
      // A write that was suspended for longer than `minimumAge` may publish the record at this moment: then the directory is moved back.
      old ? Effect.uninterruptible(disk.discard(directory, (names) => markerOf(names) !== undefined)) : Effect.void)
  }

  /** Deletes a record by its marker, so that a record that was touched since stays. */
  const endExpired = (key: StoreKey.StoreKey, marker: Marker, now: number): Effect.Effect<boolean, PlatformError> =>
    Effect.flatMap(records.end(key, marker, "expired"), (ended) =>
      ended
        ? Effect.succeed(true)
        : Effect.flatMap(disk.list(records.directoryOf(key)), (names) => {
          const current = markerOf(names)
          return current === undefined || current.end > now ? Effect.succeed(false) : endExpired(key, current, now)
        }))

  const removeFrom = (shard: string, now: number, limit: number) =>
    Effect.gen(function*() {
      const expired: Array<readonly [StoreKey.StoreKey, Marker]> = []
      yield* inShard(shard, (key, marker, names) => {
        if (marker === undefined) return sweepRecord(key, names, now)
        if (!(marker.end > now)) expired.push([key, marker])
        return Effect.void
      })
      let removed = 0
      for (const [key, marker] of expired) {
        if (removed >= limit) break
        if (yield* Effect.uninterruptible(endExpired(key, marker, now))) removed++
      }
      return removed
    })

  const sweepScratch = (now: number) =>
    Effect.flatMap(disk.list(disk.at("scratch")), (names) =>
      Effect.forEach(names, (name) => {
        const path = disk.at("scratch", name)
        return Effect.flatMap(isOld(path, now), (old) => old ? disk.discard(path) : Effect.void)
      }, { discard: true }))

  /** Removes old entries whose record has no directory, and reservations of ids without entries. */
  const sweepIndex = (directory: string, now: number) =>
    Effect.flatMap(disk.list(directory), (names) => {
      const usedIds = new Set(names.filter((name) => parseEntry(name) !== undefined).map(reservationOf))
      return Effect.forEach(names, (name) => {
        const entry = parseEntry(name)
        const inUse = entry === undefined
          ? Effect.succeed(usedIds.has(name))
          : disk.exists(records.directoryOf(entry.key))
        const path = disk.join(directory, name)
        return Effect.flatMap(inUse, (inUse) =>
          inUse
            ? Effect.void
            : Effect.flatMap(isOld(path, now), (old) => old ? disk.remove(path) : Effect.void))
      }, { concurrency: 8, discard: true })
    })

  /** Removes old revocations of subjects without sessions: a write that began before them has ended by now. */
  const sweepEpochs = (shard: string, now: number) =>
    Effect.gen(function*() {
      const directory = disk.at("epochs", shard)
      const all = (yield* disk.list(directory)).flatMap((name) => {
        const found = parseRevocation(name)
        return found === undefined ? [] : [{ ...found, path: disk.join(directory, name) }]
      })
      for (const scope of new Set(all.flatMap(({ ofSubject, scope }) => ofSubject ? [scope] : []))) {
        const own = all.filter((one) => one.scope === scope).sort((a, b) => a.epoch - b.epoch)
        const areOld = yield* Effect.every(own, ({ path }) => isOld(path, now))
        const entries = areOld ? yield* disk.list(disk.at("subjects", shard)) : []
        if (!areOld || entries.some((name) => name.startsWith(scope))) continue
        // The last one ends the most records, so it is removed last.
        yield* Effect.forEach(own, ({ path }) => disk.remove(path), { discard: true })
      }
    })

  /** Removes reasons of sessions that would have expired. */
  const sweepReasons = (shard: string, now: number) => {
    const directory = disk.at("reasons", shard)
    return Effect.flatMap(disk.list(directory), (names) =>
      Effect.forEach(
        names.filter((name) => (parseReason(name)?.until ?? Infinity) <= now),
        (name) => disk.remove(disk.join(directory, name)),
        { discard: true }
      ))
  }

  /** Breaks locks of processes that have died. */
  const sweepLock = (lock: string, now: number) => {
    const directory = disk.at("locks", lock)
    return Effect.flatMap(
      disk.list(directory),
      (names) =>
        Effect.forEach(
          names,
          (name) =>
            Effect.flatMap(isOld(disk.join(directory, name), now), (old) =>
              old ? Effect.uninterruptible(locks.breakLock(directory, name)) : Effect.void),
          { discard: true }
        )
    )
  }

  /** Visits as many directories as one call sweeps, after those that the last call has visited. */
  const visitNext = (
    kind: keyof typeof next,
    directories: ReadonlyArray<string>,
    visit: (directory: string) => Effect.Effect<void, PlatformError>
  ) =>
    Effect.gen(function*() {
      for (let left = Math.min(directoriesPerSweep, directories.length); left > 0; left--) {
        const directory = directories[next[kind]++ % directories.length]
        if (directory !== undefined) yield* visit(directory)
      }
    })

  const sweep = (now: number) =>
    Effect.gen(function*() {
      yield* sweepScratch(now)
      const [ids, subjects, epochs, reasons, allLocks] = yield* Effect.all([
        disk.shards("ids"),
        disk.shards("subjects"),
        disk.shards("epochs"),
        disk.shards("reasons"),
        disk.shards("locks")
      ])
      const directories = [
        ...ids.map((shard) => disk.at("ids", shard)),
        ...subjects.map((shard) => disk.at("subjects", shard))
      ]
      yield* visitNext("indexes", directories, (directory) => sweepIndex(directory, now))
      yield* visitNext("epochs", epochs, (shard) => sweepEpochs(shard, now))
      yield* visitNext("reasons", reasons, (shard) => sweepReasons(shard, now))
      yield* visitNext("locks", allLocks, (lock) => sweepLock(lock, now))
    })

  const clock: Effect.Effect<number, PlatformError> = Effect.suspend(() => {
    const temporary = disk.scratch()
    return disk.makeDirectory(temporary).pipe(
      Effect.zipRight(disk.changedAt(temporary)),
      Effect.ensuring(disk.remove(temporary)),
      // The sweep of another process has removed it as a leftover.
      Effect.flatMap((at) => at === undefined ? clock : Effect.succeed(at))
    )
  })

  return {
    clock,
    count: (now) =>
      Effect.gen(function*() {
        const count = { current: 0, expired: 0 }
        for (const shard of yield* disk.shards("records")) {
          yield* inShard(shard, (_, marker) =>
            Effect.sync(() => {
              if (marker !== undefined) count[marker.end > now ? "current" : "expired"]++
            }))
        }
        return count
      }),
    removeExpired: (now, limit) =>
      Effect.gen(function*() {
        const shards = yield* disk.shards("records")
        const first = shards.findIndex((shard) => shard >= nextShard)
        let removed = 0
        for (const shard of [...shards.slice(Math.max(first, 0)), ...shards.slice(0, Math.max(first, 0))]) {
          if (removed >= limit) return removed
          nextShard = shard
          removed += yield* removeFrom(shard, now, limit - removed)
        }
        if (removed < limit) yield* sweep(now)
        return removed
      })
  }
}

const keyOf = (name: string) => Option.toArray(StoreKey.parse(decodeName(name) ?? ""))

/** The name of the reservation of an entry's id. */
const reservationOf = (name: string) => name.slice(0, name.lastIndexOf("_"))
