/**
 * Work for the same name that is done together: whoever has the turn does what the others wait for, too.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { keepsRequestsApart } from "../store/isolates.js"
import type { Queue } from "./queue.js"

interface Entry<A, B, E> {
  readonly item: A
  readonly result: Deferred.Deferred<B, E>
}

/** No more than this is done together, so that it fits into the time of one. */
const most = 64

export class Batches<A, B, E> {
  readonly #waiting = new Map<string, Set<Entry<A, B, E>>>()
  /**
   * Waits for its turn in the queue, and does the work alone if nobody was there before it. Else it does the work of all that wait
   * for the same name, in the order in which they came. That goes on if the one that has the turn is interrupted: the others wait for
   * it. `overtaken` runs each time that another turn has succeeded meanwhile.
   */
  join(
    name: string,
    item: A,
    queue: Queue,
    overtaken: Effect.Effect<void>,
    alone: Effect.Effect<B, E>,
    all: (items: ReadonlyArray<A>) => Effect.Effect<ReadonlyArray<Exit.Exit<B, E>>>
  ): Effect.Effect<B, E> {
    return Effect.withFiberRuntime((fiber) => {
      const entry: Entry<A, B, E> = { item, result: Deferred.unsafeMake(fiber.id()) }
      const waiting = this.#waiting.get(name) ?? new Set()
      this.#waiting.set(name, waiting.add(entry))
      const leave = Effect.sync(() => {
        waiting.delete(entry)
        if (waiting.size === 0 && this.#waiting.get(name) === waiting) this.#waiting.delete(name)
      })
      const turn = (waited: boolean) =>
        Effect.suspend(() => {
          // Another one has taken it along.
          if (!waiting.delete(entry)) return Deferred.await(entry.result)
          if (!waited) return alone
          const others = keepsRequestsApart() ? [] : [...waiting].slice(0, most - 1)
          for (const other of others) waiting.delete(other)
          return Effect.zipRight(
            Effect.forkDaemon(Effect.interruptible(this.#together([entry, ...others], all))),
            Deferred.await(entry.result)
          )
        })
      return Effect.ensuring(queue(name, turn, overtaken), leave)
    })
  }

  #together(
    entries: ReadonlyArray<Entry<A, B, E>>,
    all: (items: ReadonlyArray<A>) => Effect.Effect<ReadonlyArray<Exit.Exit<B, E>>>
  ): Effect.Effect<void> {
    return Effect.flatMap(
      Effect.exit(Effect.suspend(() => all(entries.map(({ item }) => item)))),
      (exits) =>
        Effect.forEach(entries, ({ result }, i) => {
          const exit = Exit.isSuccess(exits) ? exits.value[i] : Exit.failCause(exits.cause)
          return Deferred.done(result, exit ?? Exit.die(new Error("no result")))
        }, { discard: true })
    )
  }
}
