/**
 * Batches concurrent saves of one session: the save that acquires the lock also performs the waiting ones.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { keepsRequestsApart } from "../store/isolates.js"

interface Entry<A, B, E> {
  readonly item: A
  /** `None`: the batch has changed nothing, and each entry runs alone. */
  readonly result: Deferred.Deferred<Option.Option<B>, E>
}

/** The ways to run an entry. */
export interface Strategies<A, B, E> {
  /** Runs the entry alone, if the queue was empty. */
  readonly alone: Effect.Effect<B, E>
  /** Runs the entry alone, after it has waited for others. */
  readonly after: Effect.Effect<B, E>
  /** Runs several entries, in this order. `None`: nothing was changed, and each may succeed alone. */
  readonly together: (items: ReadonlyArray<A>) => Effect.Effect<Option.Option<ReadonlyArray<Exit.Exit<B, E>>>>
}

/** The largest number of items in a batch, so that it fits into the time limit of one commit. */
const maxItems = 64

/** The waiting entries, by group. Only entries of one group are batched. */
export class Batches<A, B, E> {
  readonly #waiting = new Map<string, Set<Entry<A, B, E>>>()

  /**
   * Runs an entry, together with the waiting entries of its group. `exclusively` runs an effect under the lock, and passes
   * whether it had to wait. An interruption of the fiber that has started the batch does not stop the batch.
   */
  join(
    group: string,
    item: A,
    { after, alone, together }: Strategies<A, B, E>,
    exclusively: (run: (waited: boolean) => Effect.Effect<B, E>) => Effect.Effect<B, E>
  ): Effect.Effect<B, E> {
    return Effect.withFiberRuntime((fiber) => {
      const entry: Entry<A, B, E> = { item, result: Deferred.unsafeMake(fiber.id()) }
      const waiting = this.#waiting.get(group) ?? new Set()
      this.#waiting.set(group, waiting.add(entry))
      const leave = Effect.sync(() => {
        waiting.delete(entry)
        if (waiting.size === 0 && this.#waiting.get(group) === waiting) this.#waiting.delete(group)
      })
      const done = Effect.flatMap(
        Deferred.await(entry.result),
        Option.match({ onNone: () => after, onSome: Effect.succeed })
      )
      const run = (waited: boolean) =>
        Effect.suspend(() => {
          // Another entry has already included this one in its batch.
          if (!waiting.delete(entry)) return done
          if (!waited) return alone
          const others = keepsRequestsApart() ? [] : [...waiting].slice(0, maxItems - 1)
          if (others.length === 0) return after
          for (const other of others) waiting.delete(other)
          const batch = [entry, ...others]
          return Effect.zipRight(
            Effect.forkDaemon(Effect.interruptible(
              Effect.flatMap(
                Effect.exit(Effect.suspend(() => together(batch.map(({ item }) => item)))),
                (exit) => complete(batch, exit)
              )
            )),
            done
          )
        })
      return Effect.ensuring(exclusively(run), leave)
    })
  }
}

const complete = <A, B, E>(
  batch: ReadonlyArray<Entry<A, B, E>>,
  exit: Exit.Exit<Option.Option<ReadonlyArray<Exit.Exit<B, E>>>>
): Effect.Effect<void> =>
  Effect.forEach(batch, ({ result }, i) =>
    Deferred.done(
      result,
      Exit.flatMap(
        exit,
        Option.match({
          onNone: () => Exit.succeed(Option.none<B>()),
          onSome: (exits) =>
            Exit.map(exits[i] ?? Exit.die(new TypeError("An entry of a batch has no result.")), Option.some)
        })
      )
    ), { discard: true })
