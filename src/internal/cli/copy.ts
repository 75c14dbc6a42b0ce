/**
 * The command `copy`: moves sessions from one store to another while both are in use.
 */
import * as Command from "@effect/cli/Command"
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
import { CliFailure, corruptionOf, explained, failed, printable, reworded } from "./database.js"
import { jsonOption, print, printError, Screen } from "./output.js"
import { integerBetween, namesOption, namespaceOption, placeOf, store as storeAt, urlOption } from "./store.js"

export const copy = Command.make("copy", {
  from: urlOption(
    "from",
    "FROM_DATABASE_URL",
    "The old store: any URL, as for --database-url of other commands."
  ),
  to: urlOption("to", "TO_DATABASE_URL", "The new store: any URL."),
  fromNames: namesOption("from-"),
  toNames: namesOption("to-"),
  namespace: namespaceOption,
  json: jsonOption,
  batch: integerBetween(
    "batch",
    1,
    10_000,
    100,
    "Sessions that are read at once; an interruption stops after the current batch."
  ),
  concurrency: integerBetween("concurrency", 1, 64, 16, "Sessions that move at once, and connections to each database.")
}, (parameters) => stoppable((state) => Effect.scoped(run(parameters, state)))).pipe(
  Command.withDescription(
    "Move the sessions of a namespace to another store while both are in use. Can be stopped and continued."
  )
)

interface Parameters extends Required<MigratingStore.CopyOptions> {
  readonly from: DatabaseUrl
  readonly to: DatabaseUrl
  readonly fromNames: TableNames
  readonly toNames: TableNames
  readonly json: boolean
}

/** The state that a run shares with the handler of its interruption. */
interface RunState {
  /** Completed when no further batch may start. */
  readonly stopping: Deferred.Deferred<void>
  /** The progress so far; `undefined` before the first batch. */
  progress: Progress | undefined
}

interface Progress extends MigratingStore.CopyProgress {
  /** The number of sessions that the old store held at the start, in all namespaces. */
  readonly total: number
}

const processed = ({ corrupt: corruptRecords, ended, moved }: MigratingStore.CopyProgress): number =>
  moved + ended + corruptRecords.length

const rerun = "Nothing is lost: run this command again to continue."

const run = (parameters: Parameters, state: RunState) =>
  Effect.gen(function*() {
    const { concurrency, json, namespace } = parameters
    if (isSame(parameters)) return yield* sameStore
    const from = yield* openStore("--from", parameters.from, parameters.fromNames, concurrency, state)
    const to = yield* openStore("--to", parameters.to, parameters.toNames, concurrency, state)
    const before = yield* counts(from, to)
    if (yield* isShared(from, to, namespace)) return yield* sameStore
    yield* (json ? printError : Console.log)(
      `Moves the sessions of ${JSON.stringify(namespace)} from ${placeOf(parameters.from)} to ${
        placeOf(parameters.to)
      }.\n` +
        `All namespaces: ${before.old.current} current in the old store, ${before.fresh.current} in the new store.\n` +
        `Every process must be in the phase "move", in this direction: see docs/migrating.md.`
    )
    const progress = yield* moveAll(from, to, parameters, before.old.current, state)
    if (!(yield* Deferred.isDone(state.stopping))) yield* verify(from, to, parameters, progress)
  }).pipe(explained(parameters.from))

/** Moves the sessions, shows the progress, and returns the final progress. */
const moveAll = (
  from: Store,
  to: Store,
  { batch, concurrency, namespace }: Parameters,
  expected: number,
  state: RunState
) =>
  Effect.gen(function*() {
    const initial: Progress = { moved: 0, ended: 0, corrupt: [], total: expected }
    state.progress = initial
    const display = yield* makeDisplay
    const last = yield* MigratingStore.copy(from, to, { batch, concurrency, namespace }).pipe(
      Stream.map((progress): Progress => ({ ...progress, total: Math.max(expected, processed(progress)) })),
      Stream.tap((progress) => {
        state.progress = progress
        return display.show(progress)
      }),
      Stream.takeUntilEffect(() => Deferred.isDone(state.stopping)),
      Stream.runLast,
      // `openStore` has turned the errors of the stores into sentences.
      Effect.mapError(({ cause }) =>
        cause instanceof CliFailure
          ? reworded(cause, `${cause.message} ${rerun}`)
          : failed(`Repeated conflicts with concurrent writes. ${rerun}`, "copy-incomplete")
      ),
      Effect.ensuring(display.end)
    )
    return Option.getOrElse(last, () => initial)
  })

// Verification of the result

/** The number of records in each store. */
const counts = (from: Store, to: Store): Effect.Effect<Record<"old" | "fresh", Count>, SessionStoreError> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.all({ old: from.count(now), fresh: to.count(now) }))

/** Counts the records of both stores, and reports whether the old store can be removed. Fails if it cannot. */
const verify = (
  from: Store,
  to: Store,
  { json, namespace }: Parameters,
  { corrupt: corruptRecords, ended, moved }: MigratingStore.CopyProgress
) =>
  Effect.gen(function*() {
    const { fresh, old } = yield* counts(from, to)
    const report = json ? () => Effect.void : Console.log
    if (json) {
      yield* print(json, {
        namespace,
        moved,
        ended,
        corrupt: corruptRecords.map(({ error, id }) => ({ id, problem: corruptionOf(error) })),
        old,
        new: fresh
      }, "")
    }
    yield* report(
      `${moved} moved${ended === 0 ? "" : `, ${ended} ended meanwhile`}` +
        `${corruptRecords.length === 0 ? "" : `, ${corruptRecords.length} corrupt`}.\n` +
        `Old store: ${old.current} current, ${old.expired} expired. ` +
        `New store: ${fresh.current} current, ${fresh.expired} expired.`
    )
    const kept = fresh.current + fresh.expired
    if (kept < moved) {
      return yield* failed(
        `The new store holds ${kept} of ${moved} that were moved: the others have ended since, or the store has lost them. ` +
          "Find out which before you remove the old store.",
        "copy-incomplete"
      )
    }
    if (old.current === 0) return yield* report("The old store holds no live session: it can be removed.")
    const left = yield* leftIn(from, namespace, corruptRecords)
    if (left.corruptRecords.length > 0) yield* report(listed(left.corruptRecords))
    if (left.others > 0) {
      return yield* failed(
        `The old store cannot be removed: it still holds ${old.current} current. Some belong to this namespace: a process that is ` +
          `not in the phase "move" has created them meanwhile. Deploy that phase to every process, and run this command again.`,
        "copy-incomplete"
      )
    }
    if (left.corruptRecords.length > 0) {
      return yield* failed(
        `The old store cannot be removed: it still holds ${left.corruptRecords.length} that could not be moved, because a record is corrupt. ` +
          `Repair it, or end the session with "effect-session revoke", in both stores; then run this command again.`,
        "record-corrupt"
      )
    }
    yield* report(
      `The old store holds no live session of ${JSON.stringify(namespace)}: it can be removed for this namespace. ` +
        `The ${old.current} current belong to other namespaces, or were revoked and have not expired yet.`
    )
  })

/** The sessions that the old store still holds: those with a corrupt record in either store, and the number of others. */
const leftIn = (from: Store, namespace: string, corruptRecords: ReadonlyArray<Corrupt>) => {
  const known = new Map(corruptRecords.map((one) => [one.id, one]))
  return pages(from, namespace, 1000).pipe(
    Stream.mapConcat(({ found }) => found),
    Stream.map((one) => isCorruptEntry(one) ? one : known.get(one.id)),
    Stream.runCollect,
    Effect.map((all) => {
      const corruptRecords = [...all].flatMap((one) => one ?? [])
      return { corruptRecords, others: all.length - corruptRecords.length }
    })
  )
}

/** Corrupt records that are listed by id. */
const maxListed = 20

const listed = (corruptRecords: ReadonlyArray<Corrupt>): string =>
  [
    "Corrupt:",
    ...corruptRecords.slice(0, maxListed).map(({ error, id }) => `  ${printable(id)}  ${corruptionOf(error)}`),
    ...corruptRecords.length > maxListed ? [`  and ${corruptRecords.length - maxListed} more`] : []
  ].join("\n")

// One store

const sameStore = failed("--from and --to are the same store: give two different ones.", "cli-usage", 2)

const isSame = ({ from, fromNames, to, toNames }: Parameters): boolean =>
  Redacted.value(from) === Redacted.value(to) && fromNames.prefix === toNames.prefix &&
  fromNames.schema === toNames.schema

/**
 * Whether both URLs name the same store, which can have several URLs: then a session is found in both with the same data, which never
 * happens during a migration.
 */
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

/** Opens a store whose errors are sentences for the user. */
const openStore = (side: Side, url: DatabaseUrl, names: TableNames, connections: number, state: RunState) =>
  storeAt(url, names, connections).pipe(
    Effect.flatMap(Layer.build),
    Effect.map((context) =>
      intercepted(
        Context.get(context, SessionStore),
        (_, call) =>
          Effect.catchAll(call, (error) => {
            const sentence = explained(url, side)(Effect.fail(error))
            return isCorrupt(error)
              // The other sessions can still be moved.
              ? Effect.mapError(sentence, (cause) => corrupt(error.operation, cause))
              // As a defect, because a `CliFailure` is no `SessionStoreError`.
              : Effect.orDie(
                Effect.mapError(
                  sentence,
                  (failure) => state.progress === undefined ? failure : reworded(failure, `${failure.message} ${rerun}`)
                )
              )
          })
      )
    ),
    explained(url, side)
  )

// Interruption

/** Time to wait, after an interruption, for the sessions that are being moved. They are not lost after that time. */
const stopTimeout = "3 seconds"

/** Makes an interruption wait for the current batch, for {@link stopTimeout} at most. */
const stoppable = <A, E, R>(work: (state: RunState) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const state: RunState = { stopping: yield* Deferred.make<void>(), progress: undefined }
      const fiber = yield* Effect.forkDaemon(restore(work(state)))
      return yield* Effect.onInterrupt(restore(Fiber.join(fiber)), () =>
        Effect.zipRight(
          state.progress === undefined ? Effect.void : stop(fiber, state, state.progress),
          Fiber.interruptFork(fiber)
        ))
    })
  )

const stop = (fiber: Fiber.Fiber<unknown, unknown>, state: RunState, soFar: Progress) =>
  Effect.gen(function*() {
    yield* Deferred.succeed(state.stopping, undefined)
    const { isTTY, write } = yield* Screen
    if (isTTY) write("\n")
    yield* printError("Stopping after the sessions that are being moved …")
    yield* Effect.timeoutOption(Effect.interruptible(Fiber.await(fiber)), stopTimeout)
    const { moved, total } = state.progress ?? soFar
    yield* printError(`Stopped: ${moved} of ${total} moved. ${rerun}`)
  })

// Progress

/** Shows progress as a bar on a TTY, and otherwise as at most one line per second. */
const makeDisplay = Effect.gen(function*() {
  const { isTTY, write } = yield* Screen
  const started = yield* Clock.currentTimeMillis
  let printedAt = 0
  const show = (progress: Progress) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const done = processed(progress)
      const { total } = progress
      const part = total === 0 ? 1 : done / total
      const perSecond = Math.round(1000 * done / Math.max(now - started, 1))
      const text = `${done} / ${total} (${Math.floor(100 * part)}%), ${perSecond} per second`
      if (isTTY) return Effect.sync(() => write(`\r${bar(part)} ${text}\u001b[K`))
      if (now < printedAt + 1000) return Effect.void
      printedAt = now
      return printError(text)
    })
  return { show, end: Effect.sync(() => isTTY ? write("\n") : undefined) }
})

const bar = (part: number): string => {
  const full = Math.floor(20 * part)
  return "█".repeat(full) + "░".repeat(20 - full)
}
