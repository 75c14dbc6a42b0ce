/**
 * Cost of a session over HTTP: the server's CPU time per request, and requests per second, with ten connections that send one
 * request at a time. `npm run bench -- http`
 */
import type { Store } from "./app.js"
import { begin, type Connection, openMany } from "./client.js"
import { floor, leftOut, ours, overHttp } from "./contenders.js"
import { interleaved, type Measured, measured, type Noise, options } from "./harness.js"
import { serve, type Served } from "./processes.js"
import { atMost, type Budget, digits, type Plot, publish, type Table, withSpread } from "./report.js"
import { withStores } from "./servers.js"

const rounds = options.rounds(5)
const connections = 10
const scenarios = ["hello", "untouched", "read", "modify"] as const
type Scenario = typeof scenarios[number]

/** A listening contender, with a session for each connection. */
interface Server {
  readonly name: string
  readonly served: Served
  readonly clients: ReadonlyArray<{ readonly connection: Connection; readonly cookie: string }>
}

interface Load {
  /** Microseconds of the server's CPU time per request. */
  readonly cpu: number
  readonly perSecond: number
}

const load = async ({ clients, name, served }: Server, scenario: Scenario, each: number): Promise<Load> => {
  const before = await served.cpu()
  const began = performance.now()
  await Promise.all(clients.map(async ({ connection, cookie }) => {
    for (let i = 0; i < each; i++) {
      const { status } = await connection.get(scenario, cookie)
      if (status !== 200) throw new Error(`${name} answered /${scenario} with ${status}`)
    }
  }))
  const seconds = (performance.now() - began) / 1000
  const after = await served.cpu()
  const requests = each * clients.length
  return { cpu: (after - before) / requests, perSecond: requests / seconds }
}

/** Warms up until the code is compiled, at most 2 s. Returns the requests per connection that take about 0.2 s. */
const warmedUp = async (server: Server, scenario: Scenario): Promise<number> => {
  const ends = performance.now() + 2000
  let each = 2
  for (let sent = 0; sent < 600 && performance.now() < ends; sent += each) {
    const { perSecond } = await load(server, scenario, each)
    each = Math.max(1, Math.min(200, Math.ceil(perSecond * 0.2 / connections)))
  }
  return each
}

const listen = async (served: Served): Promise<Server> => {
  const opened = await openMany(await served.listen(), connections)
  const clients = await Promise.all(opened.map(async (connection) => ({ connection, cookie: await begin(connection) })))
  return { name: served.contender.name, served, clients }
}

interface Outcome {
  readonly names: ReadonlyArray<string>
  readonly noise: Noise
  readonly cpu: (name: string, scenario: Scenario) => Measured
  readonly perSecond: (name: string, scenario: Scenario) => Measured
}

const measure = async (store: Store): Promise<Outcome> => {
  const processes: Array<Served> = []
  const servers: Array<Server> = []
  try {
    const tasks = new Map<string, () => Promise<number>>()
    const rates = new Map<string, Array<number>>()
    for (const contender of overHttp(store._tag, options.only)) {
      const served = await serve(contender, store)
      processes.push(served)
      const server = await listen(served)
      servers.push(server)
      for (const scenario of scenarios) {
        const each = await warmedUp(server, scenario)
        const key = `${server.name} ${scenario}`
        const rated: Array<number> = []
        rates.set(key, rated)
        tasks.set(key, async () => {
          const { cpu, perSecond } = await load(server, scenario, each)
          rated.push(perSecond)
          return cpu
        })
      }
    }
    const warmUp = 1
    const { noise, results } = await interleaved(tasks, { rounds, warmUp })
    return {
      names: servers.map(({ name }) => name),
      noise,
      cpu: (name, scenario) => results.get(`${name} ${scenario}`) ?? measured([]),
      perSecond: (name, scenario) => measured(rates.get(`${name} ${scenario}`)?.slice(warmUp) ?? [])
    }
  } finally {
    for (const { connection } of servers.flatMap(({ clients }) => clients)) connection.close()
    for (const { stop } of processes) await stop()
  }
}

const titles = { memory: "memory", cookie: "the cookie", redis: "Redis", postgres: "Postgres" }

const tablesOf = (store: Store["_tag"], { cpu, names, perSecond }: Outcome): ReadonlyArray<Table> => [
  {
    title: `Sessions in ${titles[store]}: the server's processor time, µs per request`,
    columns: ["", "hello", ...scenarios.slice(1).map((scenario) => `${scenario}, less hello`)],
    rows: names.map((name) => [
      name,
      withSpread(cpu(name, "hello")),
      ...scenarios.slice(1).map((scenario) => digits(cpu(name, scenario).median - cpu(name, "hello").median))
    ])
  },
  {
    title: `Sessions in ${titles[store]}: requests per second`,
    columns: ["", ...scenarios],
    rows: names.map((name) => [name, ...scenarios.map((scenario) => withSpread(perSecond(name, scenario)))])
  }
]

const plotOf = (store: Store["_tag"], { names, perSecond }: Outcome): Plot => ({
  title: `Sessions in ${titles[store]}`,
  unit: "requests per second, more is better",
  groups: scenarios.map((scenario) => ({
    name: scenario,
    bars: names.map((name) => ({ name, ...perSecond(name, scenario) }))
  }))
})

/** Microseconds that the session in memory may add, on a machine where the framework's `hello` takes 47 µs. */
const limits = { untouched: 4, read: 12, modify: 20 }

const budgetsOf = (store: Store["_tag"], { cpu, names, perSecond }: Outcome): ReadonlyArray<Budget> => {
  if (store === "memory") {
    const hello = cpu(ours, "hello").median
    return (["untouched", "read", "modify"] as const).map((scenario) =>
      atMost(
        `memory, ${scenario}: µs added (${limits[scenario]} where hello takes 47)`,
        cpu(ours, scenario).median - hello,
        limits[scenario] * hello / 47
      )
    )
  }
  if (store === "cookie") return []
  const peers = names.filter((name) => name !== ours && name !== floor)
  return peers.length === 0 ? [] : (["read", "modify"] as const).map((scenario) => {
    const best = Math.max(...peers.map((name) => perSecond(name, scenario).median))
    const own = perSecond(ours, scenario).median
    return {
      what: `${titles[store]}, ${scenario}: more requests per second than every peer`,
      limit: `≥ ${digits(best)}`,
      found: digits(own),
      met: own >= best
    }
  })
}

await withStores(async (databases) => {
  const stores: ReadonlyArray<Store> = options.has("cookie") ? [...databases, { _tag: "cookie" }] : databases
  const outcomes: Array<readonly [Store["_tag"], Outcome]> = []
  for (const store of stores) outcomes.push([store._tag, await measure(store)])
  const noises = outcomes.map(([, { noise }]) => noise)
  publish({
    name: "http",
    title: "Over HTTP",
    about:
      `One server process per contender, ${connections} connections from another process, each with its own session ` +
      "and one request at a time. The processor time is that of the server alone, read before and after; " +
      "databases have their own. Each library is on its own framework, whose `hello` is the measure." + leftOut,
    rounds,
    // The worst value of all runs.
    noise: {
      spread: Math.max(...noises.map(({ spread }) => spread)),
      running: Math.min(...noises.map(({ running }) => running)),
      noisy: noises.some(({ noisy }) => noisy)
    },
    tables: outcomes.flatMap(([store, outcome]) => tablesOf(store, outcome)),
    plots: outcomes.map(([store, outcome]) => plotOf(store, outcome)),
    budgets: outcomes.flatMap(([store, outcome]) => budgetsOf(store, outcome))
  })
})
