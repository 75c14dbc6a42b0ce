/**
 * Locks of writes that count the sessions of a subject. Subjects share up to 4,096 locks, so none is ever created for a single subject.
 *
 * A lock is a directory. It is held while it contains a file, which is put there together with the directory by a rename: that replaces an
 * empty directory, and fails if there is a file. The name of the file contains the key that the holder has reserved for its record.
 *
 * A lock of a process that has died is broken by the processes that wait for it: they withdraw the reservation of the holder first. A
 * holder that was only suspended can then no longer publish its record, and must wait for the lock again. So no clock and no process id
 * is needed to decide which process holds a lock: however slow a holder is, none publishes a record without its lock.
 */
import { SystemError } from "@effect/platform/Error"
import type { PlatformError } from "@effect/platform/Error"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as StoreKey from "../../StoreKey.js"
import type { Disk } from "./disk.js"
import { decodeName, encodeName, freshName, hashOf, shardOf } from "./names.js"
import type { Records } from "./records.js"

/** The subject whose sessions a lock protects. */
interface Subject {
  readonly namespace: string
  readonly subject: string
}

export interface Locks {
  /** Runs one write at a time of this process for the subjects that share a lock, so that only one waits for other processes. */
  readonly inTurn: <A, E>(subject: Subject, write: Effect.Effect<A, E>) => Effect.Effect<A, E>
  /**
   * Runs an effect while this process holds the lock of a subject. `key` is reserved for the record that the effect publishes.
   * `isHeld` returns whether the lock was not broken until then.
   */
  readonly holding: <A, E>(
    subject: Subject,
    key: StoreKey.StoreKey,
    use: (isHeld: Effect.Effect<boolean, PlatformError>) => Effect.Effect<A, E>
  ) => Effect.Effect<A, E | PlatformError>
  /** Takes a lock away from the holder with this file. */
  readonly breakLock: (directory: string, name: string) => Effect.Effect<void, PlatformError>
}

/** Milliseconds between two attempts to get a lock. */
const pauseMillis = 10

/** The number of attempts after which a lock of the same holder is broken: two seconds. A write holds it for a few milliseconds. */
const attemptsPerHolder = 200

/** The number of attempts after which a write fails: thirty seconds. */
const maxAttempts = 3000

export const make = (disk: Disk, records: Records): Locks => {
  const turns = new Map<string, Effect.Semaphore>()

  const lockOf = ({ namespace, subject }: Subject) => shardOf(hashOf("subject", namespace, subject))

  const breakLock = (directory: string, name: string) => {
    const key = StoreKey.parse(decodeName(name.slice(0, name.indexOf("_"))) ?? "")
    return Effect.zipRight(
      Option.isSome(key) ? records.withdraw(key.value) : Effect.void,
      disk.remove(disk.join(directory, name))
    )
  }

  /** Puts a directory that contains the holder's file in the place of the lock, as soon as that is free. */
  const acquire = (directory: string, prepared: string) => {
    const attempt = (attempts: number, holder?: string, seen = 0): Effect.Effect<void, PlatformError> =>
      Effect.flatMap(disk.putInShard("rename", prepared, directory), (placed) =>
        placed
          ? Effect.void
          : Effect.gen(function*() {
            const [current] = yield* disk.list(directory)
            if (
              attempts >= maxAttempts || (current === undefined && !(yield* disk.exists(prepared)))
            ) return yield* timedOut
            const isBroken = current !== undefined && current === holder && seen >= attemptsPerHolder
            if (isBroken) yield* breakLock(directory, current)
            yield* pause
            return yield* attempt(attempts + 1, current, current === holder && !isBroken ? seen + 1 : 0)
          }))
    return attempt(0)
  }

  return {
    inTurn: (subject, write) =>
      Effect.suspend(() => {
        const lock = lockOf(subject)
        const turn = turns.get(lock) ?? Effect.unsafeMakeSemaphore(1)
        turns.set(lock, turn)
        return turn.withPermits(1)(write)
      }),
    holding: (subject, key, use) =>
      Effect.suspend(() => {
        const directory = disk.at("locks", lockOf(subject))
        const name = `${encodeName(key)}_${freshName()}`
        const prepared = disk.scratch()
        const file = disk.join(directory, name)
        return Effect.acquireUseRelease(
          disk.makeDirectory(prepared).pipe(
            Effect.zipRight(disk.createEmpty(disk.join(prepared, name))),
            Effect.zipRight(acquire(directory, prepared)),
            Effect.ensuring(disk.remove(prepared))
          ),
          () => use(disk.exists(file)),
          () => disk.remove(file)
        )
      }),
    breakLock
  }
}

/** Waits by the timer of the machine, because other processes do not follow a simulated clock. */
const pause = Effect.async<void>((resume) => {
  const timer = setTimeout(() => resume(Effect.void), pauseMillis)
  return Effect.sync(() => clearTimeout(timer))
})

const timedOut = Effect.fail(
  new SystemError({
    module: "FileSystem",
    method: "rename",
    reason: "TimedOut",
    description: "other processes held the lock of the subject's sessions for 30 seconds: nothing was written"
  })
)
