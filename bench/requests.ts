/**
 * Cost of a session for a request in process, without sockets, and correctness of each contender.
 */
import type { Store } from "./app.js"
import { type Contender, floor, inProcess } from "./contenders.js"
import { interleaved, type Measured, type Noise, options } from "./harness.js"
import { correctness, type Process, start, writers } from "./processes.js"
import { digits, type Plot, ratio, type Table, withSpread } from "./report.js"
import type { Scenario } from "./worker.js"

const scenarios: ReadonlyArray<Scenario> = ["hello", "untouched", "read", "modify", "create"]
const withSession = ["untouched", "read", "modify", "create"] as const

/** Warms up until the code is compiled, at most 8 s. Returns the number of requests that take about 25 ms. */
const warmedUp = async ({ ask }: Process, scenario: Scenario): Promise<number> => {
  let perRequest = 0
  for (let sent = 0, micros = 0; sent < 10_000 && micros < 8_000_000;) {
    const times = sent === 0 || perRequest > 1000 ? 8 : 500
    perRequest = (await ask("batch", { scenario, times })).wall
    sent += times
    micros += perRequest * times
  }
  return Math.max(1, Math.min(2000, Math.ceil(25_000 / perRequest)))
}

export interface Requests {
  readonly noise: Noise
  /** Microseconds of CPU time of one request. */
  readonly of: (contender: string, scenario: Scenario) => Measured
  /** The same, minus that of the framework without a session. */
  readonly tax: (contender: string, scenario: Scenario) => number
  readonly contenders: ReadonlyArray<string>
  readonly tables: ReadonlyArray<Table>
  readonly plots: ReadonlyArray<Plot>
}

const correctnessTable = async (contenders: ReadonlyArray<Contender>, store: Store): Promise<Table> => {
  const rows: Array<ReadonlyArray<string>> = []
  for (const contender of contenders) {
    const { kept, revived, storeCalls, succeeded } = await correctness(contender, store)
    const calls = store._tag === "cookie" || contender.name === floor
      ? []
      : withSession.map((scenario) => storeCalls[scenario].join(", ") || "none")
    rows.push([
      contender.name,
      `${succeeded - kept} of ${succeeded}`,
      revived ? "yes" : "no",
      ...calls.length === 0 && store._tag !== "cookie" ? withSession.map(() => "–") : calls
    ])
  }
  return {
    title: "Correctness",
    columns: [
      "",
      `lost of ${writers} concurrent updates`,
      "revived after a logout",
      ...store._tag === "cookie" ? [] : withSession.map((scenario) => `store calls: ${scenario}`)
    ],
    rows
  }
}

export const measureRequests = async (store: Store, rounds: number): Promise<Requests> => {
  const contenders = inProcess(store._tag, options.only)
  const tasks = new Map<string, () => Promise<number>>()
  const processes: Array<Process> = []
  try {
    for (const contender of contenders) {
      // Concurrent garbage collection makes CPU time vary on a busy machine.
      const process = await start(contender, store, { execArgv: ["--single-threaded-gc"] })
      processes.push(process)
      for (const scenario of scenarios) {
        const times = await warmedUp(process, scenario)
        tasks.set(
          `${contender.name} ${scenario}`,
          async () => (await process.ask("batch", { scenario, times })).cpu
        )
      }
    }
    const { noise, results } = await interleaved(tasks, { rounds, warmUp: 2 })
    const allocated = new Map<string, number>()
    for (const { ask, contender } of processes) {
      for (const scenario of scenarios) {
        allocated.set(`${contender.name} ${scenario}`, await ask("allocated", { scenario, times: 200 }))
      }
    }
    const nothing: Measured = { median: NaN, low: NaN, high: NaN }
    const of = (contender: string, scenario: Scenario) => results.get(`${contender} ${scenario}`) ?? nothing
    const tax = (contender: string, scenario: Scenario) =>
      of(contender, scenario).median - of(contender, "hello").median
    const names = contenders.map(({ name }) => name)
    return {
      noise,
      of,
      tax,
      contenders: names,
      tables: [
        {
          title: "Processor time of one request, µs",
          columns: ["", "framework", ...scenarios],
          rows: contenders.map(({ framework, name }) => [
            name,
            framework,
            ...scenarios.map((scenario) => withSpread(of(name, scenario)))
          ])
        },
        {
          title: "What the session adds to the hello of the same framework, µs",
          columns: ["", ...withSession, ...["read", "modify"].map((scenario) => `whole ${scenario} to the floor`)],
          rows: names.map((name) => [
            name,
            ...withSession.map((scenario) => digits(tax(name, scenario))),
            ...(["read", "modify"] as const).map((scenario) =>
              ratio(of(name, scenario).median, of(floor, scenario).median)
            )
          ])
        },
        {
          title: "Heap that one request allocates, KiB",
          columns: ["", ...scenarios],
          rows: names.map((name) => [
            name,
            ...scenarios.map((scenario) => digits((allocated.get(`${name} ${scenario}`) ?? NaN) / 1024))
          ])
        },
        await correctnessTable(contenders, store)
      ],
      plots: [{
        title: "Processor time of one request",
        unit: "µs, less is better",
        groups: scenarios.map((scenario) => ({
          name: scenario,
          bars: names.map((name) => ({ name, ...of(name, scenario) }))
        }))
      }]
    }
  } finally {
    for (const { stop } of processes) stop()
  }
}
