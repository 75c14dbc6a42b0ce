/**
 * Heap per session in memory, and heap growth with the number of requests. `npm run bench -- memory [requests]`
 */
import { floor, inProcess, ours } from "./contenders.js"
import { options } from "./harness.js"
import { start } from "./processes.js"
import { atMost, digits, publish, type Table } from "./report.js"

const wanted = Number(options.positionals[0] ?? 1_000_000)
/** Slow machines use fewer requests. */
const mostMillis = 60_000
const sessions = 20_000
const steps = 10

const memory = { _tag: "memory" } as const

/** Bytes of heap per session, of a session of 591 bytes of JSON. */
const sizes: Array<readonly [name: string, bytes: number]> = []
for (const contender of inProcess("memory", options.only)) {
  const { ask, stop } = await start(contender, memory)
  await ask("batch", { scenario: "create", times: 2000 })
  const before = await ask("usage", { collect: true })
  await ask("batch", { scenario: "create", times: sessions })
  const after = await ask("usage", { collect: true })
  sizes.push([contender.name, (after.heap - before.heap) / sessions])
  stop()
}

/** The heap of `effect-session` after each tenth of the requests, half of which read and half modify one session. */
const [contender] = inProcess("memory", [ours])
if (contender === undefined) throw new Error(`${ours} has no store in memory`)
const { ask, stop } = await start(contender, memory)
const heaps = [(await ask("usage", { collect: true })).heap]
const each = wanted / steps / 2
const ends = performance.now() + mostMillis
while (heaps.length <= steps && performance.now() < ends) {
  await ask("batch", { scenario: "read", times: each })
  await ask("batch", { scenario: "modify", times: each })
  heaps.push((await ask("usage", { collect: true })).heap)
}
stop()

const requests = (heaps.length - 1) * each * 2
const [, first = NaN] = heaps
const last = heaps.at(-1) ?? NaN
const growth: Table = {
  title: "Heap of effect-session by the number of requests, MiB",
  columns: ["requests", ...heaps.map((_, step) => (step * each * 2).toLocaleString("en"))],
  rows: [["heap", ...heaps.map((bytes) => digits(bytes / 2 ** 20))]]
}

publish({
  name: "memory",
  title: "Memory",
  about:
    `Bytes of heap, after a garbage collection, of ${
      sessions.toLocaleString("en")
    } more sessions of 591 bytes of JSON each; ` +
    "and the heap of one server as it answers requests in process.",
  rounds: 1,
  tables: [
    {
      title: "Bytes of heap per session",
      columns: ["", "bytes", "to the floor"],
      rows: sizes.map(([name, bytes]) => [
        name,
        digits(bytes),
        `× ${(bytes / (sizes.find(([name]) => name === floor)?.[1] ?? NaN)).toFixed(2)}`
      ])
    },
    growth
  ],
  plots: [{
    title: "Heap per session",
    unit: "bytes, less is better",
    groups: [{ name: "", bars: sizes.map(([name, bytes]) => ({ name, median: bytes, low: bytes, high: bytes })) }]
  }],
  budgets: [atMost(
    `heap after ${requests.toLocaleString("en")} requests, to that after the first tenth`,
    last / first,
    1.05
  )]
})
