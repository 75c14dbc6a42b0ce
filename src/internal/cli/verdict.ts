/**
 * What `copy` says at its end: what has become of the sessions, and whether the old store can go.
 */
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Progress } from "../../MigratingStore.js"
import type { Count, Damaged, SessionStoreError, Shape } from "../../SessionStore.js"
import { isDamaged } from "../store/damaged.js"
import { pages } from "../store/pages.js"
import { failed, printable, problemOf } from "./database.js"

/** How many records each of them holds. */
export const counts = (from: Shape, to: Shape): Effect.Effect<Record<"old" | "fresh", Count>, SessionStoreError> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.all({ old: from.count(now), fresh: to.count(now) }))

/** Counts what is in both stores, and tells whether the old one can go. */
export const verified = (from: Shape, to: Shape, namespace: string, { damaged, ended, moved }: Progress) =>
  Effect.gen(function*() {
    const { fresh, old } = yield* counts(from, to)
    yield* Console.log(
      `${moved} moved${ended === 0 ? "" : `, ${ended} ended meanwhile`}` +
        `${damaged.length === 0 ? "" : `, ${damaged.length} damaged`}.\n` +
        `Old store: ${old.current} current, ${old.expired} expired. ` +
        `New store: ${fresh.current} current, ${fresh.expired} expired.`
    )
    const kept = fresh.current + fresh.expired
    if (kept < moved) {
      return yield* failed(
        `The new store holds ${kept} of ${moved} that were moved: as many have ended since, or it loses what it is given. ` +
          "Find out which before the old one goes."
      )
    }
    if (old.current === 0) return yield* Console.log("The old store holds no live session: it can go.")
    const left = yield* leftIn(from, namespace, damaged)
    if (left.damaged.length > 0) yield* Console.log(listed(left.damaged))
    if (left.others > 0) {
      return yield* failed(
        `The old store cannot go: it still holds ${old.current} current. Some are of this namespace: a process that is not ` +
          `in the phase "move" has made them meanwhile. Put every process there, and run this again.`
      )
    }
    if (left.damaged.length > 0) {
      return yield* failed(
        `The old store cannot go: it still holds ${left.damaged.length} that could not be moved, because a record is damaged. ` +
          `Repair it, or end the session with "effect-session revoke", in both stores; then run this again.`
      )
    }
    yield* Console.log(
      `The old store holds no live session of ${JSON.stringify(namespace)}: for these it can go. ` +
        `The ${old.current} current are of other namespaces, or were revoked and wait for their end.`
    )
  })

/** What the old store still holds: those of which a record is damaged, in it or in the new one, and how many others. */
const leftIn = (from: Shape, namespace: string, damaged: ReadonlyArray<Damaged>) => {
  const known = new Map(damaged.map((one) => [one.id, one]))
  return pages(from, namespace, 1000).pipe(
    Stream.mapConcat(({ found }) => found),
    Stream.map((one) => isDamaged(one) ? one : known.get(one.id)),
    Stream.runCollect,
    Effect.map((all) => {
      const damaged = [...all].flatMap((one) => one ?? [])
      return { damaged, others: all.length - damaged.length }
    })
  )
}

/** How many are told by name; who has more of them has another problem. */
const mostListed = 20

const listed = (damaged: ReadonlyArray<Damaged>): string =>
  [
    "Damaged:",
    ...damaged.slice(0, mostListed).map(({ error, id }) => `  ${printable(id)}  ${problemOf(error)}`),
    ...damaged.length > mostListed ? [`  and ${damaged.length - mostListed} more`] : []
  ].join("\n")
