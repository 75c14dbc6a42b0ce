/**
 * Processes that are killed in the middle of what they do.
 */
import { it } from "@effect/vitest"
import { Effect, Random } from "effect"
import type { Store } from "effect-session/SessionStore"
import { readdirSync, statSync } from "node:fs"
import * as Path from "node:path"
import { isDeepStrictEqual } from "node:util"
import { assert, describe } from "vitest"
import { shardOf, spell } from "../src/internal/file/names.js"
import { range } from "../src/internal/testing/law.js"
import { hour, isAlive, keyOf, start } from "../src/internal/testing/records.js"
import { bundle, startProgram } from "./support/childProcesses.js"
import type { History, Step } from "./support/fileHistory.js"
import { historyAfter, perform, recordsUnder } from "./support/fileHistory.js"
import type { Job } from "./support/fileStoreProcess.js"
import { openStore } from "./support/interceptedFileSystem.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

const lanes = 4
const killsPerLane = 50

/** What a process said before it was killed: each step when it began, and when it was done. */
const told = (before: History, lines: ReadonlyArray<string>) => {
  let tale = before
  let begun: Step | undefined
  let acknowledged = 0
  for (const line of lines.slice(1)) {
    const said: { readonly begun?: Step; readonly done?: Step } = JSON.parse(line)
    begun = said.begun
    if (said.done === undefined) continue
    tale = historyAfter(tale, said.done)
    acknowledged++
  }
  return { tale, begun, acknowledged, maybe: begun === undefined ? tale : historyAfter(tale, begun) }
}

/** What is there must be what was acknowledged, or that and the one step that was under way: all of it, or nothing. */
const settled = (store: Store, { begun, maybe, tale }: ReturnType<typeof told>) =>
  Effect.gen(function*() {
    const there = yield* recordsUnder(store, new Set([...tale.keys(), ...maybe.keys()]))
    if (isDeepStrictEqual(there, maybe)) return maybe
    assert.deepStrictEqual(there, tale, JSON.stringify(begun))
    return tale
  })

/** Every session of a subject can be found by its id and its subject, and written. */
const isWhole = (store: Store, tale: History, n: number) =>
  Effect.gen(function*() {
    let next = tale
    for (const [key, record] of tale) {
      yield* isAlive(store, { key: keyOf(key), record }, start)
      const step = { op: "save", key, n } as const
      yield* perform(store, next, step)
      next = historyAfter(next, step)
    }
    return next
  })

describe("a process that is killed", () => {
  it.scopedLive(
    `at any of ${lanes * killsPerLane} moments, each session is as it was before the last write or after it`,
    () =>
      Effect.gen(function*() {
        const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31))
        yield* Effect.log(`seed ${seed}`)
        const program = yield* bundle("fileStoreProcess")
        const directory = yield* temporaryDirectory("files")
        const store = yield* openStore(directory)

        const lane = (subject: string) =>
          Effect.gen(function*() {
            let tale: History = new Map()
            let acknowledged = 0
            for (const round of range(killsPerLane)) {
              const n = (round + 1) * 10_000
              const job: Job = {
                do: "tell",
                directory,
                subject,
                seed: yield* Random.nextInt,
                n,
                sessions: [...tale],
                durability: round % 2 === 0 ? "fsync" : "none"
              }
              const { kill, lines, said } = yield* startProgram(program, job)
              // At a step by chance, and then at a moment of it by chance.
              yield* said(yield* Random.nextIntBetween(1, 20))
              yield* Effect.sleep(yield* Random.nextIntBetween(0, 10))
              yield* kill
              const story = told(tale, yield* lines)
              acknowledged += story.acknowledged
              tale = yield* settled(store, story)
              if (round % 10 === 9) tale = yield* isWhole(store, tale, n + 9_999)
            }
            return { tale, acknowledged }
          })

        const all = yield* Effect.withRandom(
          Effect.forEach(range(lanes), (i) => lane(`lane ${i}`), { concurrency: lanes }),
          Random.make(seed)
        )
        // They were not killed before they had done anything.
        assert.isAbove(all.reduce((sum, { acknowledged }) => sum + acknowledged, 0), 500)

        // What they left goes when it is old; what is alive stays.
        for (let i = 0; i < 20; i++) yield* store.removeExpired({ now: Date.now() + 2 * hour, limit: 1000 })
        for (const { tale } of all) yield* isWhole(store, tale, 10_000_000)
        const filesIn = (...names: ReadonlyArray<string>) => {
          const path = Path.join(directory, ...names)
          return readdirSync(path, { recursive: true, encoding: "utf8" })
            .filter((name) => !statSync(Path.join(path, name)).isDirectory()).length
        }
        for (const key of all.flatMap(({ tale }) => [...tale.keys()])) {
          assert.strictEqual(filesIn("records", shardOf(spell(key)), spell(key)), 2)
        }
        // Those that were revoked stay until they expire.
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
