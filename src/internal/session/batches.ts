/**
 * Saves that wait for the same session, done together: the one that has the turn does the work of those that wait, too.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { keepsRequestsApart } from "../store/isolates.js"

interface Entry<A, B, E> {
  readonly item: A
  /** None: the batch has changed nothing, and each does its own work. */
  readonly result: Deferred.Deferred<Option.Option<B>, E>
}

/** The ways in which the work of an entry can be done. */
export interface Strategies<A, B, E> {
  /** Alone, if the queue was empty. */
  readonly alone: Effect.Effect<B, E>
  /** Alone, after it has waited for others. */
  readonly after: Effect.Effect<B, E>
  /** For several, in this order. None: nothing was changed, and it may succeed for each one alone. */
  readonly together: (items: ReadonlyArray<A>) => Effect.Effect<Option.Option<ReadonlyArray<Exit.Exit<B, E>>>>
}

/** The most items of a batch, so that it fits into the time of one. */
const maxItems = 64

/** The entries that wait, by group. Only those of one group are done together. */
export class Batches<A, B, E> {
  readonly #waiting = new Map<string, Set<Entry<A, B, E>>>()

  /**
   * Does the work of an entry, and of others of its group, when it has its turn. `turn` runs an effect in that turn, and tells it
   * whether others were there before. The batch goes on if the fiber that has begun it is interrupted.
   */
  join(
    group: string,
    item: A,
    { after, alone, together }: Strategies<A, B, E>,
    turn: (run: (waited: boolean) => Effect.Effect<B, E>) => Effect.Effect<B, E>
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
          // Taken along by another one.
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
      return Effect.ensuring(turn(run), leave)
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
