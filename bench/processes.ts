/**
 * Starts contenders in worker processes and sends them tasks.
 */
import { type ChildProcess, fork } from "node:child_process"
import type { Store } from "./app.js"
import type { Contender } from "./contenders.js"
import * as Django from "./django.js"
import type { Reply, Tasks } from "./worker.js"

export interface Process {
  readonly contender: Contender
  readonly ask: <K extends keyof Tasks>(task: K, of: Parameters<Tasks[K]>[0]) => Promise<ReturnType<Tasks[K]>>
  readonly stop: () => void
}

/** A contender that serves HTTP. */
export interface Served {
  readonly contender: Contender
  readonly listen: () => Promise<number>
  /** Microseconds of CPU time so far. */
  readonly cpu: () => Promise<number>
  readonly stop: () => Promise<void>
}

const nextReply = (child: ChildProcess, name: string): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const ended = () => reject(new Error(`the process of ${name} ended`))
    child.once("exit", ended)
    child.once("message", (reply: Reply) => {
      child.off("exit", ended)
      if ("error" in reply) reject(new Error(`${name}: ${reply.error}`))
      else resolve(reply.result)
    })
  })

export const start = async (
  contender: Contender,
  store: Store,
  { execArgv = [], observed = false }: { readonly observed?: boolean; readonly execArgv?: ReadonlyArray<string> } = {}
): Promise<Process> => {
  const child = fork(
    new URL("./worker.mjs", import.meta.url),
    [contender.module, JSON.stringify(store), observed ? "observed" : ""],
    // As in a deployment. Express, for example, is slower without it.
    { env: { ...process.env, NODE_ENV: "production" }, execArgv: ["--expose-gc", ...execArgv] }
  )
  await nextReply(child, contender.name)
  return {
    contender,
    ask: async <K extends keyof Tasks>(task: K, of: Parameters<Tasks[K]>[0]) => {
      const reply = nextReply(child, contender.name)
      child.send([task, of])
      // The result type follows from the task.
      return await reply as ReturnType<Tasks[K]>
    },
    // A process that has ended by itself reports its own error.
    stop: () => {
      if (child.connected) child.disconnect()
    }
  }
}

/** Starts a contender that is measured over HTTP. */
export const serve = async (contender: Contender, store: Store): Promise<Served> => {
  if (contender.overHttpOnly === true) return Django.serve(contender, store)
  const { ask, stop } = await start(contender, store)
  return {
    contender,
    listen: () => ask("listen", {}),
    cpu: async () => (await ask("usage", { collect: false })).cpu,
    stop: async () => stop()
  }
}

/** Correctness of one contender. */
export interface Correctness {
  readonly succeeded: number
  readonly kept: number
  readonly revived: boolean
  readonly storeCalls: ReturnType<Tasks["storeCalls"]>
}

export const writers = 50

/** Uses a separate process, because an observed store is slower. */
export const correctness = async (contender: Contender, store: Store): Promise<Correctness> => {
  const process = await start(contender, store, { observed: true })
  try {
    const storeCalls = await process.ask("storeCalls", {})
    const { kept, succeeded } = await process.ask("updates", { writers })
    return { succeeded, kept, revived: await process.ask("revival", {}), storeCalls }
  } finally {
    process.stop()
  }
}
