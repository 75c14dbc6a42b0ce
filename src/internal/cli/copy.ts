/**
 * The command that moves sessions from one store to another while both are in use.
 */
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as MigratingStore from "../../MigratingStore.js"
import type { Corrupt, Count, SessionStoreError, Store } from "../../SessionStore.js"
import { SessionStore } from "../../SessionStore.js"
import type { TableNames } from "../../SqlStore.js"
import { corrupt, isCorrupt, isCorruptEntry } from "../store/corrupt.js"
import { intercepted } from "../store/intercepted.js"
import { pages } from "../store/pages.js"
import type { DatabaseUrl, Side } from "./database.js"
import { CliFailure, explained, failed, printable, problemOf } from "./database.js"
import { namesOption, namespaceOption, placeOf, store as storeAt, urlOption } from "./store.js"

// What is used of it, so that the other modules are compiled without the types of node.
declare const process: { readonly stderr: { readonly isTTY?: boolean; write(text: string): boolean } }

/** Where somebody may be watching: the second output, so that the first can go to a file. */
export class Screen extends Context.Reference<Screen>()("effect-session/Cli/Screen", {
  defaultValue: () => ({
    isTTY: process.stderr.isTTY === true,
    write: (text: string): void => void process.stderr.write(text)
  })
}) {}

const between = (name: string, least: number, most: number, usual: number, description: string) =>
  Options.integer(name).pipe(
    Options.filterMap(
      (value) => value >= least && value <= most ? Option.some(value) : Option.none(),
      `--${name} takes a whole number from ${least} to ${most}.`
    ),
    Options.withDefault(usual),
    Options.withDescription(`${description} Default: ${usual}.`)
  )

export const copy = Command.make("copy", {
  from: urlOption(
    "from",
    "FROM_DATABASE_URL",
    "The old store, which sessions leave: any URL, as --database-url of other commands."
  ),
  to: urlOption("to", "TO_DATABASE_URL", "The new store: any URL."),
  fromNames: namesOption("from-"),
  toNames: namesOption("to-"),
  namespace: namespaceOption,
  batch: between("batch", 1, 10_000, 100, "How many sessions are read at once; after each batch it can be stopped."),
  concurrency: between("concurrency", 1, 64, 16, "How many sessions move at once, and how many connections there are.")
}, (given) => stoppable((course) => Effect.scoped(run(given, course)))).pipe(
  Command.withDescription("Move the sessions of a namespace to another store, in use. Can be stopped, and goes on.")
)

interface Given extends Required<MigratingStore.CopyOptions> {
  readonly from: DatabaseUrl
  readonly to: DatabaseUrl
  readonly fromNames: TableNames
  readonly toNames: TableNames
}

/** What a run and whoever stops it know of each other. */
interface Course {
  /** Done when nothing new is to be begun. */
  readonly stopping: Deferred.Deferred<void>
  /** How far it is, from the moment on at which sessions move. */
  reached: Reached | undefined
}

interface Reached extends MigratingStore.CopyProgress {
  /** How many sessions the old store held: those of other namespaces, too. */
  readonly total: number
}

const seen = ({ corrupt: damaged, ended, moved }: MigratingStore.CopyProgress): number => moved + ended + damaged.length

const goesOn = "Nothing is lost: run this again, and it goes on."

const run = (given: Given, course: Course) =>
  Effect.gen(function*() {
    const { concurrency, namespace } = given
    if (isSame(given)) return yield* shared
    const from = yield* opened("--from", given.from, given.fromNames, concurrency, course)
    const to = yield* opened("--to", given.to, given.toNames, concurrency, course)
    const before = yield* counts(from, to)
    if (yield* isShared(from, to, namespace)) return yield* shared
    yield* Console.log(
      `Moves the sessions of ${JSON.stringify(namespace)} from ${placeOf(given.from)} to ${placeOf(given.to)}.\n` +
        `Of all namespaces there are ${before.old.current} current in the old store, ${before.fresh.current} in the new.\n` +
        `Every process must be in the phase "move", in this direction: see docs/migrating.md.`
    )
    const reached = yield* moved(from, to, given, before.old.current, course)
    if (!(yield* Deferred.isDone(course.stopping))) yield* verified(from, to, namespace, reached)
  }).pipe(explained(given.from))

/** Moves them, and says how far that came. */
const moved = (
  from: Store,
  to: Store,
  { batch, concurrency, namespace }: Given,
  expected: number,
  course: Course
) =>
  Effect.gen(function*() {
    const begun: Reached = { moved: 0, ended: 0, corrupt: [], total: expected }
    course.reached = begun
    const show = yield* progress
    const last = yield* MigratingStore.copy(from, to, { batch, concurrency, namespace }).pipe(
      Stream.map((progress): Reached => ({ ...progress, total: Math.max(expected, seen(progress)) })),
      Stream.tap((reached) => {
        course.reached = reached
        return show.at(reached)
      }),
      Stream.takeUntilEffect(() => Deferred.isDone(course.stopping)),
      Stream.runLast,
      // What a store fails with is a sentence before it comes here.
      Effect.mapError(({ cause }) =>
        failed(`${cause instanceof CliFailure ? cause.message : "Others were in the way, several times."} ${goesOn}`)
      ),
      Effect.ensuring(show.end)
    )
    return Option.getOrElse(last, () => begun)
  })

// The end: what has become of the sessions, and whether the old store can go

/** How many records each of them holds. */
const counts = (from: Store, to: Store): Effect.Effect<Record<"old" | "fresh", Count>, SessionStoreError> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.all({ old: from.count(now), fresh: to.count(now) }))

/** Counts what is in both stores, and tells whether the old one can go. */
const verified = (
  from: Store,
  to: Store,
  namespace: string,
  { corrupt: damaged, ended, moved }: MigratingStore.CopyProgress
) =>
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
const leftIn = (from: Store, namespace: string, damaged: ReadonlyArray<Corrupt>) => {
  const known = new Map(damaged.map((one) => [one.id, one]))
  return pages(from, namespace, 1000).pipe(
    Stream.mapConcat(({ found }) => found),
    Stream.map((one) => isCorruptEntry(one) ? one : known.get(one.id)),
    Stream.runCollect,
    Effect.map((all) => {
      const damaged = [...all].flatMap((one) => one ?? [])
      return { damaged, others: all.length - damaged.length }
    })
  )
}

/** How many corrupt records are listed by id. */
const mostListed = 20

const listed = (damaged: ReadonlyArray<Corrupt>): string =>
  [
    "Damaged:",
    ...damaged.slice(0, mostListed).map(({ error, id }) => `  ${printable(id)}  ${problemOf(error)}`),
    ...damaged.length > mostListed ? [`  and ${damaged.length - mostListed} more`] : []
  ].join("\n")

// One store

const shared = new CliFailure({
  exitCode: 2,
  message: "--from and --to lead to the same sessions: they must be two stores."
})

const isSame = ({ from, fromNames, to, toNames }: Given): boolean =>
  Redacted.value(from) === Redacted.value(to) && fromNames.prefix === toNames.prefix &&
  fromNames.schema === toNames.schema

/** Whether a session is found in both as it is, which it never is while it moves. A store can have several URLs. */
const isShared = (from: Store, to: Store, namespace: string) =>
  Effect.gen(function*() {
    const first = yield* pages(from, namespace, 100).pipe(
      Stream.mapConcat(({ found, now }) => found.flatMap((one) => isCorruptEntry(one) ? [] : [{ key: one.key, now }])),
      Stream.runHead
    )
    if (Option.isNone(first)) return false
    const { key, now } = first.value
    const there = yield* to.load(key, now, "fresh")
    const here = yield* from.load(key, now, "fresh")
    return Option.exists(here, ({ data }) => Option.exists(there, (record) => record.data === data))
  }).pipe(Effect.catchIf(isCorrupt, () => Effect.succeed(false)))

/** A store whose failures are sentences of its own, and tell what they mean for sessions that were on their way. */
const opened = (side: Side, url: DatabaseUrl, names: TableNames, connections: number, course: Course) =>
  storeAt(url, names, connections).pipe(
    Effect.flatMap(Layer.build),
    Effect.map((context) =>
      intercepted(
        Context.get(context, SessionStore),
        (_, call) =>
          Effect.catchAll(call, (error) => {
            const sentence = explained(url, side)(Effect.fail(error))
            return isCorrupt(error)
              // Others may move all the same.
              ? Effect.mapError(sentence, (cause) => corrupt(error.operation, cause))
              // A sentence is no error of a store, so it goes beside them.
              : Effect.orDie(
                Effect.mapError(
                  sentence,
                  ({ message }) => failed(course.reached === undefined ? message : `${message} ${goesOn}`)
                )
              )
          })
      )
    ),
    explained(url, side)
  )

// Being stopped

/** How long it waits, when it is stopped, for the sessions that are on their way. They are not lost if it gives up. */
const patience = "3 seconds"

/** An interruption waits until what is under way can be left. */
const stoppable = <A, E, R>(work: (course: Course) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const course: Course = { stopping: yield* Deferred.make<void>(), reached: undefined }
      const fiber = yield* Effect.forkDaemon(restore(work(course)))
      return yield* Effect.onInterrupt(restore(Fiber.join(fiber)), () =>
        Effect.zipRight(
          course.reached === undefined ? Effect.void : stopped(fiber, course, course.reached),
          Fiber.interruptFork(fiber)
        ))
    })
  )

const stopped = (fiber: Fiber.Fiber<unknown, unknown>, course: Course, sofar: Reached) =>
  Effect.gen(function*() {
    yield* Deferred.succeed(course.stopping, undefined)
    const { isTTY, write } = yield* Screen
    if (isTTY) write("\n")
    yield* says("Stopping after the sessions that are on their way …")
    yield* Effect.timeoutOption(Effect.interruptible(Fiber.await(fiber)), patience)
    const { moved, total } = course.reached ?? sofar
    yield* says(`Stopped: ${moved} of ${total} moved. ${goesOn}`)
  })

// Progress

/** A line on the second output. Its console is silent here, but for what is logged. */
const says = (line: string) => Console.consoleWith((console) => Effect.sync(() => console.unsafe.error(line)))

/** A bar in one line where somebody may be watching; else a line now and then. */
const progress = Effect.gen(function*() {
  const { isTTY, write } = yield* Screen
  const started = yield* Clock.currentTimeMillis
  let said = 0
  const at = (reached: Reached) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const done = seen(reached)
      const { total } = reached
      const part = total === 0 ? 1 : done / total
      const perSecond = Math.round(1000 * done / Math.max(now - started, 1))
      const text = `${done} / ${total} (${Math.floor(100 * part)}%), ${perSecond} per second`
      if (isTTY) return Effect.sync(() => write(`\r${bar(part)} ${text}\u001b[K`))
      if (now < said + 1000) return Effect.void
      said = now
      return says(text)
    })
  return { at, end: Effect.sync(() => isTTY ? write("\n") : undefined) }
})

const bar = (part: number): string => {
  const full = Math.floor(20 * part)
  return "█".repeat(full) + "░".repeat(20 - full)
}
