/**
 * Processes of a file store that are killed during a write.
 */
import { it } from "@effect/vitest"
import { Effect, Random } from "effect"
import { hour, isAlive, keyOf, start } from "effect-session/Fixtures"
import type { Store } from "effect-session/SessionStore"
import { readdirSync, statSync } from "node:fs"
import * as Path from "node:path"
import { isDeepStrictEqual } from "node:util"
import { assert, describe } from "vitest"
import { encodeName, shardOf } from "../src/internal/file/names.js"
import { bundle, startProgram } from "./support/childProcesses.js"
import { range } from "./support/concurrency.js"
import type { History, Step } from "./support/fileHistory.js"
import { historyAfter, perform, recordsUnder } from "./support/fileHistory.js"
import type { Job } from "./support/fileStoreProcess.js"
import { openStore } from "./support/interceptedFileSystem.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

const lanes = 4
const killsPerLane = 50

/** Reads the output of a killed process: it reports each step when it begins, and when it is done. */
const reportOf = (before: History, lines: ReadonlyArray<string>) => {
  let history = before
  let begun: Step | undefined
  let acknowledged = 0
  for (const line of lines.slice(1)) {
    const report: { readonly begun?: Step; readonly done?: Step } = JSON.parse(line)
    begun = report.begun
    if (report.done === undefined) continue
    history = historyAfter(history, report.done)
    acknowledged++
  }
  return { history, begun, acknowledged, possible: begun === undefined ? history : historyAfter(history, begun) }
}

/** The store contains every acknowledged step, and the step in progress completely or not at all. Returns what it contains. */
const assertConsistent = (store: Store, { begun, history, possible }: ReturnType<typeof reportOf>) =>
  Effect.gen(function*() {
    const actual = yield* recordsUnder(store, new Set([...history.keys(), ...possible.keys()]))
    if (isDeepStrictEqual(actual, possible)) return possible
    assert.deepStrictEqual(actual, history, JSON.stringify(begun))
    return history
  })

/** Every session can be found by its id and its subject, and saved. */
const assertUsable = (store: Store, history: History, n: number) =>
  Effect.gen(function*() {
    let next = history
    for (const [key, record] of history) {
      yield* isAlive(store, { key: keyOf(key), record }, start)
      const step = { op: "save", key, n } as const
      yield* perform(store, next, step)
      next = historyAfter(next, step)
    }
    return next
  })

describe("a process that is killed", () => {
  it.scopedLive(
    `at any of ${lanes * killsPerLane} random moments, each session is in the state before or after its last write`,
    () =>
      Effect.gen(function*() {
        const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31))
        yield* Effect.log(`seed ${seed}`)
        const program = yield* bundle("fileStoreProcess")
        const directory = yield* temporaryDirectory("files")
        const store = yield* openStore(directory)

        const lane = (subject: string) =>
          Effect.gen(function*() {
            let history: History = new Map()
            let acknowledged = 0
            for (const round of range(killsPerLane)) {
              const n = (round + 1) * 10_000
              const job: Job = {
                do: "writeRandomly",
                directory,
                subject,
                seed: yield* Random.nextInt,
                n,
                sessions: [...history],
                durability: round % 2 === 0 ? "fsync" : "none"
              }
              const { kill, lines, printed } = yield* startProgram(program, job)
              // At a random step, and at a random moment within it.
              yield* printed(yield* Random.nextIntBetween(1, 20))
              yield* Effect.sleep(yield* Random.nextIntBetween(0, 10))
              yield* kill
              const report = reportOf(history, yield* lines)
              acknowledged += report.acknowledged
              history = yield* assertConsistent(store, report)
              if (round % 10 === 9) history = yield* assertUsable(store, history, n + 9_999)
            }
            return { history, acknowledged }
          })

        const all = yield* Effect.withRandom(
          Effect.forEach(range(lanes), (i) => lane(`lane ${i}`), { concurrency: lanes }),
          Random.make(seed)
        )
        // The processes were not killed before they had written anything.
        assert.isAbove(all.reduce((sum, { acknowledged }) => sum + acknowledged, 0), 500)

        // The sweep removes old leftovers, and live sessions stay.
        for (let i = 0; i < 20; i++) yield* store.removeExpired({ now: Date.now() + 2 * hour, limit: 1000 })
        for (const { history } of all) yield* assertUsable(store, history, 10_000_000)
        const filesIn = (...names: ReadonlyArray<string>) => {
          const path = Path.join(directory, ...names)
          return readdirSync(path, { recursive: true, encoding: "utf8" })
            .filter((name) => !statSync(Path.join(path, name)).isDirectory()).length
        }
        for (const key of all.flatMap(({ history }) => [...history.keys()])) {
          assert.strictEqual(filesIn("records", shardOf(encodeName(key)), encodeName(key)), 2)
        }
        // Revoked sessions stay until they expire.
        const { current } = yield* store.count(start)
        assert.deepStrictEqual(["ids", "subjects", "scratch"].map((family) => filesIn(family)), [
          2 * current,
          current,
          0
        ])
      }),
    600_000
  )
})
