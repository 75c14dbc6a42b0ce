/**
 * Interleaved rounds of all contenders, medians and quartiles, and a probe that measures the noise of the machine.
 */
import { cpus } from "node:os"
import { parseArgs } from "node:util"

const { values: args, positionals } = parseArgs({
  args: process.argv.slice(2),
  allowPositionals: true,
  options: {
    rounds: { type: "string" },
    only: { type: "string" },
    stores: { type: "string" },
    save: { type: "boolean" },
    growth: { type: "boolean" }
  }
})

/** The command-line options: `--rounds 5`, `--only effect-session,h3`, `--stores memory,redis`, `--save`, `--growth`. */
export const options = {
  rounds: (standard: number): number => Number(args.rounds ?? standard),
  only: args.only?.split(","),
  has: (store: string): boolean => args.stores?.split(",").includes(store) ?? true,
  save: args.save ?? false,
  growth: args.growth ?? false,
  positionals
}

/** Median and quartiles. */
export interface Measured {
  readonly median: number
  readonly low: number
  readonly high: number
}

export const measured = (values: ReadonlyArray<number>): Measured => {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (q: number) => {
    const position = (sorted.length - 1) * q
    const [below = NaN, above = below] = sorted.slice(Math.floor(position), Math.floor(position) + 2)
    return below + (above - below) * (position - Math.floor(position))
  }
  return { median: at(0.5), low: at(0.25), high: at(0.75) }
}

/** Variation of a fixed workload during a run. */
export interface Noise {
  /** Interquartile range of its time, relative to the median. */
  readonly spread: number
  /** CPU time divided by wall time. */
  readonly running: number
  readonly noisy: boolean
}

/** A fixed workload: about 20 ms of arithmetic and allocation. */
const probe = () => {
  const before = process.cpuUsage()
  const began = performance.now()
  let sum = 0
  for (let i = 0; i < 100_000; i++) sum += JSON.stringify({ i, text: "probe" }).length
  const wall = performance.now() - began
  const { system, user } = process.cpuUsage(before)
  return { wall, cpu: (user + system) / 1000, sum }
}

/**
 * Runs every task once per round, in random order, and returns the results. The first `warmUp` rounds are discarded.
 */
export const interleaved = async <K extends string>(
  tasks: ReadonlyMap<K, () => Promise<number>>,
  { rounds, warmUp = 2 }: { readonly rounds: number; readonly warmUp?: number }
): Promise<{ readonly results: ReadonlyMap<K, Measured>; readonly noise: Noise }> => {
  const values = new Map<K, Array<number>>([...tasks.keys()].map((key) => [key, []]))
  const probes: Array<ReturnType<typeof probe>> = []
  const inTurn = [...tasks]
  for (let round = -warmUp; round < rounds; round++) {
    const probed = probe()
    if (round >= 0) probes.push(probed)
    for (const [key, task] of inTurn) {
      const value = await task()
      if (round >= 0) values.get(key)?.push(value)
    }
    inTurn.push(...inTurn.splice(0, 1))
    process.stderr.write(process.stderr.isTTY ? `\rround ${round + 1} of ${rounds} ` : "")
  }
  process.stderr.write(process.stderr.isTTY ? "\r\x1b[K" : "")
  const { high, low, median } = measured(probes.map(({ wall }) => wall))
  const running = measured(probes.map(({ cpu, wall }) => Math.min(1, cpu / wall))).median
  const spread = (high - low) / median
  return {
    results: new Map([...values].map(([key, all]) => [key, measured(all)])),
    noise: { spread, running, noisy: spread > 0.1 || running < 0.9 }
  }
}

/** The machine and the date of a run. */
export const circumstances = () => ({
  date: new Date().toISOString().slice(0, 16).replace("T", " "),
  node: process.version,
  processor: cpus()[0]?.model ?? "unknown",
  cores: cpus().length
})
