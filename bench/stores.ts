/**
 * Overhead of a store over its driver, compared with stores of other libraries, and the writes that each of them loses.
 * `npm run bench -- stores [--only redis,postgres]`; with `--growth`, rates by the number of sessions.
 */
import { Effect } from "effect"
import { growth } from "./growth.js"
import { interleaved, type Measured, measured, type Noise, options } from "./harness.js"
import { atLeast, type Budget, digits, publish, ratio } from "./report.js"
import {
  type Contender,
  type Correctness,
  crowds,
  type Group,
  groups,
  type Operation,
  operations
} from "./storeContenders.js"

const rounds = options.rounds(25)
const warmUp = 3
// Short runs, so that other load on the machine affects all contenders.
const millis = 40
const ours = /Store$/

interface Row {
  readonly name: string
  readonly rates: ReadonlyMap<string, Measured>
  /** CPU time of this process, in microseconds per operation. */
  readonly costs: ReadonlyMap<string, Measured>
  readonly correctness: Correctness | undefined
}

interface Found {
  readonly group: string
  readonly rows: readonly [driver: Row, ...others: ReadonlyArray<Row>]
  readonly noise: Noise
}

const columns = operations.flatMap((operation) => crowds.map((crowd) => ({ operation, crowd })))
const columnName = (operation: Operation, crowd: number) => `${operation}, ${crowd} at once`

const measure = ({ make, name: group }: Group): Promise<Found> =>
  Effect.gen(function*() {
    const contenders = yield* make
    const costs = new Map<string, Array<number>>()
    const tasks = new Map(columns.flatMap(({ crowd, operation }) =>
      contenders.map(({ name, run }) => {
        const task = `${name} ${columnName(operation, crowd)}`
        const spent: Array<number> = []
        costs.set(task, spent)
        return [task, async () => {
          const before = process.cpuUsage()
          const began = performance.now()
          const count = await run(operation, crowd, millis)
          const took = performance.now() - began
          const { system, user } = process.cpuUsage(before)
          spent.push((system + user) / count)
          return count * 1000 / took
        }]
      })
    ))
    const { noise, results } = yield* Effect.promise(() => interleaved(tasks, { rounds, warmUp }))
    const byColumn = (of: (column: string) => Measured) =>
      new Map(columns.map(({ crowd, operation }) => columnName(operation, crowd)).map((column) => [column, of(column)]))
    const rowOf = async ({ correctness, name }: Contender): Promise<Row> => ({
      name,
      rates: byColumn((column) => results.get(`${name} ${column}`) ?? measured([])),
      costs: byColumn((column) => measured(costs.get(`${name} ${column}`)?.slice(warmUp) ?? [])),
      correctness: await correctness?.()
    })
    const [driver, ...others] = yield* Effect.forEach(contenders, (one) => Effect.promise(() => rowOf(one)))
    if (driver === undefined) return yield* Effect.dieMessage(`${group} has no contenders`)
    return { group, rows: [driver, ...others], noise } satisfies Found
  }).pipe(Effect.scoped, Effect.runPromise)

const rateOf = ({ rates }: Row, column: string): number => rates.get(column)?.median ?? Number.NaN

const speedTable = ({ group, rows }: Found) => ({
  title: `${group}: operations per second, and the ratio to the driver`,
  columns: ["", ...columns.map(({ crowd, operation }) => columnName(operation, crowd))],
  rows: rows.map((row) => [
    row.name,
    ...columns.map(({ crowd, operation }) => {
      const column = columnName(operation, crowd)
      return `${digits(rateOf(row, column))} ${ratio(rateOf(row, column), rateOf(rows[0], column))}`
    })
  ])
})

const costTable = ({ group, rows }: Found) => ({
  title: `${group}: processor time of the application per operation, µs`,
  columns: ["", ...columns.map(({ crowd, operation }) => columnName(operation, crowd))],
  rows: rows.map(({ costs, name }) => [name, ...[...costs.values()].map(({ median }) => digits(median))])
})

const correctnessTable = (found: ReadonlyArray<Found>) => ({
  title: "Correctness",
  columns: ["", "store", "of 50 updates remain", "reported as conflicts first", "a save after the destroy revives"],
  rows: found.flatMap(({ group, rows }) =>
    rows.flatMap(({ correctness, name }) =>
      correctness === undefined
        ? []
        : [[name, group, `${correctness.kept}`, `${correctness.conflicts}`, correctness.revived ? "yes" : "no"]]
    )
  )
})

const budgetsOf = ({ group, rows }: Found): ReadonlyArray<Budget> =>
  rows.filter(({ name }) => ours.test(name) && !name.startsWith("connect")).flatMap((row) =>
    operations.map((operation) => {
      const ratios = crowds.map((crowd) => {
        const column = columnName(operation, crowd)
        return rateOf(row, column) / rateOf(rows[0], column)
      })
      return atLeast(
        `${group}: ${operation}, to the driver, the worst of ${crowds.join(", ")} at once`,
        Math.min(...ratios),
        0.9
      )
    })
  )

const compare = async () => {
  const found: Array<Found> = []
  for (const group of groups) {
    if (options.only?.includes(group.name) ?? true) found.push(await measure(group))
  }
  publish({
    name: "stores",
    title: "Stores beside their drivers",
    about:
      "A load and a save of a session of 591 bytes: by the driver itself with the statements or scripts that the store sends, by " +
      "the store, and by stores of other libraries. The updates of the last table have all read the session before the first of " +
      "them is written; one that the store rejects is read and written again.",
    rounds,
    noise: {
      spread: Math.max(...found.map(({ noise }) => noise.spread)),
      running: Math.min(...found.map(({ noise }) => noise.running)),
      noisy: found.some(({ noise }) => noise.noisy)
    },
    tables: [...found.flatMap((one) => [speedTable(one), costTable(one)]), correctnessTable(found)],
    plots: [],
    budgets: found.flatMap(budgetsOf)
  })
}

await (options.growth ? growth() : compare())
