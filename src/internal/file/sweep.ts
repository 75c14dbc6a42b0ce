/**
 * What is done over all records, a few at a time: counting, deleting what has expired, and sweeping up what processes
 * left that died in the middle of something.
 */
import type { PlatformError } from "@effect/platform/Error"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Count } from "../../SessionStore.js"
import * as StoreKey from "../../StoreKey.js"
import type { Disk } from "./disk.js"
import { parseRevocation } from "./epochs.js"
import { parseEntry } from "./indexes.js"
import type { Marker } from "./names.js"
import { isLeftover, markerOf, unspell } from "./names.js"
import type { Records } from "./records.js"

/** Nothing younger is swept: somebody may still be at work on it. Were they slower yet, they would find it gone. */
const patience = 60 * 60 * 1000

/** How many directories of the indexes are looked through in one call. */
const slice = 48

interface Sweep {
  /** What the clock of the file system says. */
  readonly clock: Effect.Effect<number, PlatformError>
  readonly count: (now: number) => Effect.Effect<Count, PlatformError>
  readonly removeExpired: (now: number, limit: number) => Effect.Effect<number, PlatformError>
}

export const make = (disk: Disk, records: Records): Sweep => {
  // Where the next call goes on, so that calls which are cut short still come round.
  let nextShard = ""
  let nextIndex = 0
  let nextEpochs = 0

  const isOld = (path: string, now: number) =>
    Effect.map(disk.changedAt(path), (at) => at !== undefined && now - at > patience)

  /** Runs over the records of a shard, by their markers. */
  const inShard = <A>(
    shard: string,
    look: (
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
            (names) => look(key, markerOf(names), names)
          ), { concurrency: 8 })
    )

  const sweepRecord = (key: StoreKey.StoreKey, names: ReadonlyArray<string>, now: number) => {
    const directory = records.directoryOf(key)
    if (!isLeftover(names)) return Effect.void
    return Effect.flatMap(isOld(directory, now), (old) =>
      // Whoever slept for so long may have woken up in this moment, and brought the marker.
      old ? Effect.uninterruptible(disk.discard(directory, (names) => markerOf(names) !== undefined)) : Effect.void)
  }

  /** Ends a record by its marker, so that one that was touched since stays. */
  const endExpired = (key: StoreKey.StoreKey, marker: Marker, now: number): Effect.Effect<boolean, PlatformError> =>
    Effect.flatMap(records.end(key, marker, false), (ended) =>
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

  /** An entry whose record has no directory leads nowhere for good, and an id without entries is nobody's. */
  const sweepIndex = (directory: string, now: number) =>
    Effect.flatMap(disk.list(directory), (names) => {
      const claimed = new Set(names.filter((name) => parseEntry(name) !== undefined).map(withoutKey))
      return Effect.forEach(names, (name) => {
        const entry = parseEntry(name)
        const inUse = entry === undefined
          ? Effect.succeed(claimed.has(name))
          : disk.exists(records.directoryOf(entry.key))
        const path = disk.join(directory, name)
        return Effect.flatMap(inUse, (inUse) =>
          inUse
            ? Effect.void
            : Effect.flatMap(isOld(path, now), (old) => old ? disk.remove(path) : Effect.void))
      }, { concurrency: 8, discard: true })
    })

  /** Revocations of a subject that no session has: nobody is still writing one that began before them. */
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
        // The last one goes last: it says the most.
        yield* Effect.forEach(own, ({ path }) => disk.remove(path), { discard: true })
      }
    })

  const sweep = (now: number) =>
    Effect.gen(function*() {
      yield* sweepScratch(now)
      const [ids, subjects, epochs] = yield* Effect.all([
        disk.shards("ids"),
        disk.shards("subjects"),
        disk.shards("epochs")
      ])
      const directories = [
        ...ids.map((shard) => disk.at("ids", shard)),
        ...subjects.map((shard) => disk.at("subjects", shard))
      ]
      for (let left = Math.min(slice, directories.length); left > 0; left--) {
        const directory = directories[nextIndex++ % directories.length]
        if (directory !== undefined) yield* sweepIndex(directory, now)
      }
      for (let left = Math.min(slice, epochs.length); left > 0; left--) {
        const shard = epochs[nextEpochs++ % epochs.length]
        if (shard !== undefined) yield* sweepEpochs(shard, now)
      }
    })

  const clock: Effect.Effect<number, PlatformError> = Effect.suspend(() => {
    const made = disk.scratch()
    return disk.makeDirectory(made).pipe(
      Effect.zipRight(disk.changedAt(made)),
      Effect.ensuring(disk.remove(made)),
      // Gone already: the sweep of another process took it for a leftover.
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

const keyOf = (name: string) => Option.toArray(StoreKey.parse(unspell(name) ?? ""))

/** The name of the claim that an entry of an id goes with. */
const withoutKey = (name: string) => name.slice(0, name.lastIndexOf("_"))
