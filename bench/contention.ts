/**
 * Many concurrent writers on one session, compared with as many writers on as many sessions: duration and lost updates.
 * `npm run bench -- contention`
 */
import type { Store } from "./app.js"
import { begin, type Connection, openMany } from "./client.js"
import { type Contender, leftOut, ours, overHttp } from "./contenders.js"
import { interleaved, type Measured, measured, type Noise, options } from "./harness.js"
import { serve, type Served } from "./processes.js"
import { atMost, type Budget, publish, ratio, withSpread } from "./report.js"
import { withStores } from "./servers.js"

const rounds = options.rounds(7)
const crowds = [50, 200] as const

interface Count {
  writers: number
  succeeded: number
  kept: number
}

interface Row {
  readonly store: Store["_tag"]
  readonly name: string
  readonly crowd: number
  readonly one: Measured
  readonly many: Measured
  readonly count: Count
}

/** Milliseconds until all writers are answered. Each reads the session, waits for one event loop iteration, adds 1 and saves. */
const write = async (
  connections: ReadonlyArray<Connection>,
  cookies: ReadonlyArray<string>
): Promise<{ readonly millis: number; readonly succeeded: number }> => {
  const began = performance.now()
  const answers = await Promise.all(connections.map(({ get }, i) => get("held", cookies[i % cookies.length] ?? "")))
  return {
    millis: performance.now() - began,
    succeeded: answers.filter(({ status }) => status >= 200 && status < 300).length
  }
}

const countOf = async (connection: Connection, cookie: string): Promise<number> =>
  Number((await connection.get("count", cookie)).body)

const measure = async (contenders: ReadonlyArray<Contender>, store: Store, crowd: number) => {
  const processes: Array<Served> = []
  const opened: Array<Connection> = []
  const counts = new Map<string, Count>()
  try {
    const tasks = new Map<string, () => Promise<number>>()
    for (const contender of contenders) {
      const served = await serve(contender, store)
      processes.push(served)
      const connections = await openMany(await served.listen(), crowd)
      opened.push(...connections)
      const cookies = await Promise.all(connections.map(begin))
      const [first] = connections
      if (first === undefined) throw new Error("a crowd has at least one writer")
      const count: Count = { writers: 0, succeeded: 0, kept: 0 }
      counts.set(contender.name, count)
      tasks.set(`${contender.name} one`, async () => {
        const cookie = await begin(first)
        const { millis, succeeded } = await write(connections, [cookie])
        count.writers += crowd
        count.succeeded += succeeded
        count.kept += await countOf(first, cookie)
        return millis
      })
      tasks.set(`${contender.name} many`, async () => (await write(connections, cookies)).millis)
    }
    const { noise, results } = await interleaved(tasks, { rounds, warmUp: 4 })
    const of = (name: string, which: "one" | "many") => results.get(`${name} ${which}`) ?? measured([])
    const rows = contenders.map(({ name }): Row => ({
      store: store._tag,
      name,
      crowd,
      one: of(name, "one"),
      many: of(name, "many"),
      count: counts.get(name) ?? { writers: 0, succeeded: 0, kept: 0 }
    }))
    return { noise, rows }
  } finally {
    for (const { close } of opened) close()
    for (const { stop } of processes) await stop()
  }
}

const budgetsOf = ({ count, crowd, many, one, store }: Row): ReadonlyArray<Budget> => [
  {
    what: `${store}, ${crowd} writers: all answered 2xx, and all kept`,
    limit: `${count.writers}`,
    found: `${count.succeeded} and ${count.kept}`,
    met: count.succeeded === count.writers && count.kept === count.writers
  },
  atMost(`${store}, ${crowd} writers: to as many sessions`, one.median / many.median, 4)
]

await withStores(async (stores) => {
  const rows: Array<Row> = []
  const noises: Array<Noise> = []
  for (const store of stores) {
    for (const crowd of crowds) {
      const found = await measure(overHttp(store._tag, options.only), store, crowd)
      rows.push(...found.rows)
      noises.push(found.noise)
    }
  }
  publish({
    name: "contention",
    title: "Many writers on one session",
    about:
      "Every writer is an HTTP request on its own connection: it reads the counter, waits one iteration of the event loop, " +
      "as any call to a database would, adds one and saves. All are sent at once. `kept` is the count that the session " +
      "holds afterwards. Responses are counted over all rounds, including the warm-up." +
      leftOut,
    rounds,
    noise: {
      spread: Math.max(...noises.map(({ spread }) => spread)),
      running: Math.min(...noises.map(({ running }) => running)),
      noisy: noises.some(({ noisy }) => noisy)
    },
    tables: crowds.map((crowd) => ({
      title: `${crowd} writers`,
      columns: ["", "store", "one session, ms", "as many sessions, ms", "ratio", "answered 2xx", "kept", "lost"],
      rows: rows.filter((row) => row.crowd === crowd).map(({ count, many, name, one, store }) => [
        name,
        store,
        withSpread(one),
        withSpread(many),
        ratio(one.median, many.median),
        `${count.succeeded} of ${count.writers}`,
        String(count.kept),
        `${count.succeeded - count.kept}`
      ])
    })),
    plots: [{
      title: `Updates kept of ${crowds[0]} concurrent ones, on one session`,
      unit: "more is better",
      groups: stores.map(({ _tag }) => ({
        name: _tag,
        bars: rows.filter(({ crowd, store }) => crowd === crowds[0] && store === _tag).map(({ count, name }) => ({
          name,
          ...measured([count.kept / (count.writers / crowds[0])])
        }))
      }))
    }],
    budgets: rows.filter(({ name }) => name === ours).flatMap(budgetsOf)
  })
})
