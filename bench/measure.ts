/** Runs a task again and again for a while, in turns with its contenders, and gives the median microseconds of one. */
export const compare = async (
  tasks: Readonly<Record<string, () => Promise<unknown>>>,
  { batch = 200, rounds = 25 }: { readonly batch?: number; readonly rounds?: number } = {}
): Promise<Readonly<Record<string, number>>> => {
  const times: Record<string, Array<number>> = {}
  for (let round = -3; round < rounds; round++) {
    for (const [name, task] of Object.entries(tasks)) {
      const start = process.hrtime.bigint()
      for (let i = 0; i < batch; i++) await task()
      const micros = Number(process.hrtime.bigint() - start) / 1000 / batch
      // The first rounds warm up.
      if (round >= 0) (times[name] ??= []).push(micros)
    }
  }
  return Object.fromEntries(
    Object.entries(times).map(([name, all]) => [name, all.sort((a, b) => a - b)[all.length >> 1] ?? 0])
  )
}

/** Prints a table of medians, each beside its ratio to the first. */
export const print = (title: string, results: Readonly<Record<string, number>>): void => {
  const [first = 1] = Object.values(results)
  console.log(`\n${title}`)
  for (const [name, micros] of Object.entries(results)) {
    console.log(`  ${name.padEnd(46)} ${micros.toFixed(1).padStart(8)} µs   × ${(micros / first).toFixed(2)}`)
  }
}
