/**
 * CPU time of calls of in-memory stores by the number of sessions, and pauses of `create` in a full store.
 * `npm run bench -- memory-store [sessions...] [--only effect-session]`
 */
import { Effect, Option } from "effect"
import { MemoryStore, StoreKey } from "effect-session"
import type { SessionRecord } from "effect-session/SessionRecord"
import { LRUCache } from "lru-cache"
import { execFileSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import { PerformanceObserver } from "node:perf_hooks"
import { setImmediate } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import * as Ids from "../src/internal/domain/id.js"
import { synchronousOf } from "../src/internal/store/synchronous.js"
import { data } from "./app.js"
import { measured, options } from "./harness.js"
import { digits, publish, ratio, type Table } from "./report.js"

const hour = 3_600_000
const calls = ["create", "load", "save", "touch", "destroy"] as const
type Call = typeof calls[number]

/** The arguments of a call: a record for this library, an object for the others. */
interface Session {
  readonly key: StoreKey.StoreKey
  readonly record: SessionRecord
  readonly object: object
}

type Contender = Readonly<Record<Call, (session: Session) => unknown>>

const freshKey = () => Option.getOrThrow(StoreKey.parse(randomBytes(32).toString("base64url")))

const json = JSON.stringify(data)

const sessionOf = (
  i: number,
  { key = freshKey(), lasts = hour, namespace = "bench", version = 1 }: {
    readonly key?: StoreKey.StoreKey
    /** Milliseconds until it expires. */
    readonly lasts?: number
    readonly namespace?: string
    readonly version?: number
  } = {}
): Session => {
  const now = Date.now()
  const record = {
    namespace,
    id: Ids.fromBytes(randomBytes(Ids.byteLength)),
    // A separate string, as for every encoded session.
    data: Buffer.from(json.replace(`"count":0`, `"count":${i}`)).toString(),
    schemaVersion: 1,
    subject: `user ${i}`,
    version,
    writeId: "write",
    createdAt: now,
    authenticatedAt: now,
    modifiedAt: now,
    lastSeenAt: now,
    expiry: { at: now + lasts, deadline: now + 24 * hour, lifetime: undefined },
    attributes: undefined
  }
  return {
    key,
    record,
    object: { ...data, count: i, cookie: { expires: new Date(now + lasts), originalMaxAge: lasts } }
  }
}

// Contenders; the argument is the capacity in sessions

/** Called as by an engine: each call completes synchronously. */
const direct = (capacity: number): Contender => {
  const store = synchronousOf(MemoryStore.make({ capacity }))
  if (store === undefined) throw new Error("MemoryStore is not synchronous")
  return {
    create: ({ key, record }) => store.create(key, record, Date.now()),
    load: ({ key }) => store.load(key, Date.now()),
    save: ({ key, record }) => store.save(key, record, { expectedVersion: record.version, now: Date.now() }),
    touch: ({ key, record }) =>
      store.touch(key, { lastSeenAt: record.lastSeenAt, expiresAt: record.expiry.at, now: Date.now() }),
    destroy: ({ key }) => store.destroy(key)
  }
}

const run = (capacity: number): Contender => {
  const store = MemoryStore.make({ capacity })
  return {
    create: ({ key, record }) => Effect.runSync(store.create(key, record, Date.now())),
    load: ({ key }) => Effect.runSync(store.load(key, Date.now())),
    save: ({ key, record }) =>
      Effect.runSync(store.save(key, record, { expectedVersion: record.version, now: Date.now() })),
    touch: ({ key, record }) =>
      Effect.runSync(store.touch(key, { lastSeenAt: record.lastSeenAt, expiresAt: record.expiry.at, now: Date.now() })),
    destroy: ({ key }) => Effect.runSync(store.destroy(key))
  }
}

interface Texts {
  get(key: string): string | undefined
  set(key: string, text: string): unknown
  delete(key: string): unknown
}

const jsonIn = (texts: Texts): Contender => {
  const load = ({ key }: Session) => JSON.parse(texts.get(key) ?? "{}")
  const set = ({ key, object }: Session) => texts.set(key, JSON.stringify(object))
  return {
    create: set,
    load,
    save: set,
    touch: ({ key, object, record }) => set({ key, record, object: { ...load({ key, object, record }), ...object } }),
    destroy: ({ key }) => texts.delete(key)
  }
}

/** Evicts the oldest entry. */
const bareMap = (capacity: number): Contender => {
  const texts = new Map<string, string>()
  const { create, ...others } = jsonIn(texts)
  return {
    ...others,
    create: (session) => {
      const oldest = texts.size < capacity ? undefined : texts.keys().next().value
      if (oldest !== undefined) texts.delete(oldest)
      return create(session)
    }
  }
}

interface Callbacks {
  set(id: string, session: object, done: () => void): void
  get(id: string, done: () => void): void
  touch?(id: string, session: object, done: () => void): void
  destroy(id: string, done: () => void): void
}

const done = () => {}

const called = (store: Callbacks): Contender => {
  const set = ({ key, object }: Session) => store.set(key, object, done)
  return {
    create: set,
    load: ({ key }) => store.get(key, done),
    save: set,
    touch: (session) => store.touch === undefined ? set(session) : store.touch(session.key, session.object, done),
    destroy: ({ key }) => store.destroy(key, done)
  }
}

const floor = "bare Map of JSON text"
const ours = "effect-session"
// Its libraries are installed in `bench/node_modules`, outside the type-checked sources.
const { stores: peers }: {
  readonly stores: Readonly<Record<"express-session" | "@fastify/session", () => Callbacks>>
} = await import(new URL("./peers/memoryStores.mjs", import.meta.url).href)

const contenders: Readonly<Record<string, (capacity: number) => Contender>> = {
  [floor]: bareMap,
  [ours]: direct,
  "effect-session, Effect.runSync": run,
  "lru-cache of JSON text": (max) =>
    jsonIn(new LRUCache<string, string>(Number.isFinite(max) ? { max } : { maxSize: 1e12, sizeCalculation: () => 1 })),
  "express-session": () => called(peers["express-session"]()),
  "@fastify/session": () => called(peers["@fastify/session"]())
}

/** The contents of a full store. */
const contents: Readonly<Record<string, (i: number) => Session>> = {
  "all alive": (i) => sessionOf(i),
  "half expired": (i) => sessionOf(i, { lasts: i % 2 === 0 ? hour : -hour }),
  "a namespace each": (i) => sessionOf(i, { namespace: `namespace ${i}` })
}

// Measurements, each in its own process

const heap = () => {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}

/** Microseconds of CPU time per call, and bytes per session without its key. */
const measureCalls = async (contender: Contender, held: number) => {
  const [warmUp, rounds, perRound] = [5, 15, 5000]
  const slice = Math.min(held / 2, perRound)
  const keys = Array.from({ length: held }, freshKey)
  const before = heap()
  for (const [i, key] of keys.entries()) {
    // Last uses are spread over an hour.
    contender.create(sessionOf(i, { key, lasts: hour * Math.random() }))
    if (i % 1000 === 0) await setImmediate()
  }
  const bytes = (heap() - before) / held

  const times = new Map<Call, Array<number>>(calls.map((call) => [call, []]))
  let position = 0
  for (let round = 0; round < warmUp + rounds; round++) {
    const spent = new Map<Call, number>()
    for (let i = 0; i < perRound; i += slice, position += slice) {
      const known = Array.from({ length: slice }, (_, i) => {
        const at = position + i
        return sessionOf(at, { key: keys[at % held] ?? freshKey(), version: 1 + Math.floor(at / held) })
      })
      const added = known.map((_, i) => sessionOf(i))
      for (const call of calls) {
        const sessions = call === "create" || call === "destroy" ? added : known
        const began = process.cpuUsage()
        for (const session of sessions) contender[call](session)
        // express-session calls back asynchronously.
        await setImmediate()
        const { system, user } = process.cpuUsage(began)
        spent.set(call, (spent.get(call) ?? 0) + system + user)
      }
    }
    if (round >= warmUp) { for (const [call, micros] of spent) times.get(call)?.push(micros / perRound) }
  }
  return [bytes, ...calls.map((call) => measured(times.get(call) ?? []).median)]
}

/** Milliseconds after which the measurement of a slow store is stopped. */
const mostMillis = 10_000

const micros = () => {
  const { system, user } = process.cpuUsage()
  return system + user
}

/**
 * Microseconds of CPU time of a creation in a full store: median, 99.9th percentile, maximum, and maximum without a garbage
 * collection. CPU time, because on a busy machine the longest wall time is a wait for a processor.
 */
const measureFull = async (contender: Contender, held: number, content: (i: number) => Session) => {
  const collections: Array<{ readonly from: number; readonly to: number }> = []
  const observer = new PerformanceObserver((list) => {
    for (const { duration, startTime } of list.getEntries()) {
      collections.push({ from: startTime, to: startTime + duration })
    }
  })
  observer.observe({ entryTypes: ["gc"] })
  const creations = Math.max(500_000, 2 * held)
  const warmUp = 100_000 // code is compiled in the same thread
  const spent = new Float64Array(creations)
  /** Slow creations, with their times. */
  const long: Array<{ readonly took: number; readonly from: number; readonly to: number }> = []
  for (let i = 0; i < held; i++) contender.create(content(i))
  const stop = performance.now() + mostMillis
  let count = 0
  while (count < creations && (performance.now() < stop || count < 2 * warmUp)) {
    for (let i = 0; i < 1000; i++) {
      const session = content(count)
      const from = performance.now()
      const before = micros()
      contender.create(session)
      const took = micros() - before
      if (took > 100 && count > warmUp) long.push({ took, from, to: performance.now() })
      spent[count++] = took
    }
    await setImmediate()
  }
  await setImmediate()
  const own = long.filter(({ from, to }) => !collections.some((one) => one.from < to && one.to > from))
  const sorted = spent.slice(warmUp, count).sort()
  return [
    ...[0.5, 0.999, 1].map((q) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? NaN),
    own.reduce((most, { took }) => Math.max(most, took), 0)
  ]
}

const [first, name = "", heldText = "", content] = options.positionals
if (first === "measure") {
  const held = Number(heldText)
  const make = contenders[name]
  if (make === undefined) throw new RangeError(`There is no contender "${name}".`)
  const fill = content === undefined ? undefined : contents[content]
  const found = await (fill === undefined ? measureCalls(make(Infinity), held) : measureFull(make(held), held, fill))
  console.log(JSON.stringify(found))
} else {
  const file = fileURLToPath(import.meta.url)
  const measure = (execArgv: ReadonlyArray<string>, ...args: ReadonlyArray<string>): ReadonlyArray<number> => {
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${args.join(", ")} ` : "")
    return JSON.parse(execFileSync(
      process.execPath,
      ["--expose-gc", "--max-old-space-size=8192", ...execArgv, file, "measure", ...args],
      { encoding: "utf8", env: { ...process.env, NODE_ENV: "production" } }
    ))
  }
  const sizes = options.positionals.length > 0 ? options.positionals.map(Number) : [1e3, 1e4, 1e5, 1e6]
  const names = Object.keys(contenders).filter((name) => options.only?.includes(name) ?? true)

  const tables = sizes.map((held): Table => {
    const found = names.map((name) => [name, measure(["--single-threaded-gc"], name, String(held))] as const)
    const base = found.find(([name]) => name === floor)?.[1]
    return {
      title: `${held.toLocaleString("en")} sessions held: µs of processor time per call, and the ratio to the bare Map`,
      columns: ["", ...calls.flatMap((call) => [call, ""]), "bytes", ""],
      rows: found.map(([name, [bytes = NaN, ...times]]) => [
        name,
        ...[...times, bytes].flatMap((value, i) => [digits(value), ratio(value, base?.[(i + 1) % 6] ?? NaN)])
      ])
    }
  })

  const full: Table = {
    title: "A creation in a full store, µs of processor time",
    columns: ["", "sessions", "median", "p99.9", "longest", "longest without GC"],
    rows: sizes.flatMap((held) =>
      [
        [floor, "all alive"],
        ["lru-cache of JSON text", "all alive"],
        ...Object.keys(contents).map((content) => [ours, content])
      ].flatMap(([name = "", content = ""]) =>
        names.includes(name)
          ? [[
            `${name}, ${content}`,
            held.toLocaleString("en"),
            ...measure(["--single-threaded"], name, String(held), content).map(digits)
          ]]
          : []
      )
    )
  }

  process.stderr.write(process.stderr.isTTY ? "\r\x1b[K" : "")
  publish({
    name: "memory-store",
    title: "Store in memory",
    about: "",
    rounds: 1,
    tables: [...tables, full],
    plots: [],
    budgets: []
  })
}
