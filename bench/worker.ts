/**
 * Worker process that runs one contender and executes the tasks of its parent. Each contender has its own process, so that the
 * heap and the compiled code of one do not affect another.
 */
import { type HeapProfiler, Session as Inspector } from "node:inspector/promises"
import type { Answer, App, Make, Path, Store } from "./app.js"

export type Scenario = "hello" | "untouched" | "read" | "modify" | "create"

/** The tasks of the parent process, with their results. */
export interface Tasks {
  /** Sends requests sequentially, in this process. Returns microseconds per request. */
  readonly batch: (of: { readonly scenario: Scenario; readonly times: number }) => {
    readonly cpu: number
    readonly wall: number
  }
  /** Bytes of heap that one request allocates, which is independent of the load of the machine. */
  readonly allocated: (of: { readonly scenario: Scenario; readonly times: number }) => number
  readonly listen: (of: Record<never, never>) => number
  /** The CPU time of this process so far, in microseconds, and its heap after a garbage collection, in bytes. */
  readonly usage: (of: { readonly collect: boolean }) => { readonly cpu: number; readonly heap: number }
  /** Sends concurrent updates that all read the session before the first of them is saved. */
  readonly updates: (of: { readonly writers: number }) => { readonly succeeded: number; readonly kept: number }
  /** Whether a request that read the session before a logout, and changes it afterwards, revives it. */
  readonly revival: (of: Record<never, never>) => boolean
  /** The store calls of one request of each scenario. */
  readonly storeCalls: (of: Record<never, never>) => Readonly<Record<Scenario, ReadonlyArray<string>>>
}

export type Ask = { readonly [K in keyof Tasks]: readonly [task: K, of: Parameters<Tasks[K]>[0]] }[keyof Tasks]
export type Reply = { readonly result: unknown } | { readonly error: string }

const [module = "", store = "", observed] = process.argv.slice(2)

/** Gate at which requests to `/held` wait. While it is open, they wait for one iteration of the event loop. */
const gate = {
  closed: false,
  waiting: [] as Array<() => void>,
  arrivals: { count: 0, notify: () => {} },
  pass: (): Promise<void> =>
    new Promise((resolve) => {
      if (!gate.closed) return void setImmediate(resolve)
      gate.waiting.push(resolve)
      if (gate.waiting.length === gate.arrivals.count) gate.arrivals.notify()
    }),
  /** Closes the gate. The promise resolves when `count` requests are waiting. */
  close: (count: number): Promise<void> => {
    gate.closed = true
    return new Promise((notify) => (gate.arrivals = { count, notify }))
  },
  open: () => {
    gate.closed = false
    for (const resume of gate.waiting.splice(0)) resume()
  }
}

/** Cookie jar that ignores all attributes except those that remove a cookie. */
const jar = (cookies = new Map<string, string>()) => ({
  header: () => [...cookies].map(([name, value]) => `${name}=${value}`).join("; "),
  receive: (answer: Answer) => {
    for (const line of answer.setCookies()) {
      const [pair = "", ...attributes] = line.split(";")
      const at = pair.indexOf("=")
      const removed = attributes.some((attribute) =>
        /^\s*max-age=0\s*$/i.test(attribute) || /^\s*expires=.*\b19(69|70)\b/i.test(attribute)
      )
      if (removed) cookies.delete(pair.slice(0, at).trim())
      else cookies.set(pair.slice(0, at).trim(), pair.slice(at + 1))
    }
    return answer
  }
})

const begin = async ({ handle }: App) => {
  const browser = jar()
  const get = async (path: Path) => browser.receive(await handle(path, browser.header()))
  await get("create")
  return { ...browser, get }
}

/** Verifies that the application works before it is measured. */
const check = async (app: App) => {
  const browser = await begin(app)
  const expect = async (path: Path, body: string) => {
    const answer = await browser.get(path)
    const found = await answer.body()
    if (answer.status !== 200 || found !== body) {
      throw new Error(`${module} answered /${path} with ${answer.status} "${found}" instead of "${body}"`)
    }
  }
  await expect("hello", "ok")
  await expect("untouched", "ok")
  await expect("read", "u-1")
  await expect("modify", "ok")
  await expect("held", "ok")
  await expect("count", "2")
  await expect("logout", "ok")
  await expect("count", "none")
}

const calls: Array<string> = []
const scenarios: ReadonlyArray<Scenario> = ["hello", "untouched", "read", "modify", "create"]

const start = async () => {
  const { make }: { readonly make: Make } = await import(new URL(`./${module}.mjs`, import.meta.url).href)
  const parsed: Store = JSON.parse(store)
  const app = await make({
    store: parsed,
    pause: gate.pass,
    ...observed === "observed" ? { onStoreCall: (operation) => void calls.push(operation) } : {}
  })
  await check(app)
  const session = (await begin(app)).header()
  const cookieOf = (scenario: Scenario) => scenario === "create" ? "" : session

  const tasks: { readonly [K in keyof Tasks]: (of: Parameters<Tasks[K]>[0]) => Promise<ReturnType<Tasks[K]>> } = {
    batch: async ({ scenario, times }) => {
      const cookie = cookieOf(scenario)
      const before = process.cpuUsage()
      const began = performance.now()
      for (let i = 0; i < times; i++) await app.handle(scenario, cookie)
      const wall = (performance.now() - began) * 1000
      const { system, user } = process.cpuUsage(before)
      return { cpu: (user + system) / times, wall: wall / times }
    },
    allocated: async ({ scenario, times }) => {
      const inspector = new Inspector()
      inspector.connect()
      await inspector.post("HeapProfiler.startSampling", {
        samplingInterval: 8192,
        includeObjectsCollectedByMajorGC: true,
        includeObjectsCollectedByMinorGC: true
      })
      for (let i = 0; i < times; i++) await app.handle(scenario, cookieOf(scenario))
      const { profile } = await inspector.post("HeapProfiler.stopSampling")
      inspector.disconnect()
      const bytes = ({ children, selfSize }: HeapProfiler.SamplingHeapProfileNode): number =>
        children.reduce((sum, child) => sum + bytes(child), selfSize)
      return bytes(profile.head) / times
    },
    listen: app.listen,
    usage: async ({ collect }) => {
      if (collect) globalThis.gc?.()
      const { system, user } = process.cpuUsage()
      return { cpu: user + system, heap: process.memoryUsage().heapUsed }
    },
    updates: async ({ writers }) => {
      const browser = await begin(app)
      const cookie = browser.header()
      const arrived = gate.close(writers)
      const answers = Array.from({ length: writers }, () => app.handle("held", cookie).then(browser.receive))
      await arrived
      gate.open()
      const succeeded = (await Promise.all(answers)).filter(({ status }) => status >= 200 && status < 300).length
      return { succeeded, kept: Number(await (await browser.get("count")).body()) }
    },
    revival: async () => {
      const browser = await begin(app)
      const cookie = browser.header()
      const arrived = gate.close(1)
      const late = app.handle("held", cookie)
      await arrived
      await browser.get("logout")
      gate.open()
      browser.receive(await late)
      const bodies = await Promise.all(
        [cookie, browser.header()].map(async (header) => (await app.handle("count", header)).body())
      )
      return bodies.some((body) => body !== "none" && /^\d+$/.test(body))
    },
    storeCalls: async () => {
      const found: Partial<Record<Scenario, ReadonlyArray<string>>> = {}
      for (const scenario of scenarios) {
        calls.length = 0
        await app.handle(scenario, cookieOf(scenario))
        found[scenario] = [...calls]
      }
      return found as Record<Scenario, ReadonlyArray<string>>
    }
  }
  const run = <K extends keyof Tasks>(task: K, of: Parameters<Tasks[K]>[0]) => tasks[task](of)
  return ([task, of]: Ask) => (run as (task: keyof Tasks, of: Ask[1]) => Promise<unknown>)(task, of)
}

const reply = (message: Reply) => process.send?.(message)
const failed = (error: unknown) =>
  reply({ error: error instanceof Error ? error.stack ?? error.message : String(error) })

process.on("disconnect", () => process.exit())
start().then((run) => {
  process.on("message", (ask: Ask) => void run(ask).then((result) => reply({ result }), failed))
  reply({ result: "ready" })
}, failed)
