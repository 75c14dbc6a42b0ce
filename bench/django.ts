/**
 * Django in its own process: one gunicorn worker with ten threads. `npm run bench` installs it with pip.
 */
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { freePort } from "../examples/shop/freePort.js"
import { data, type Store } from "./app.js"
import { type Connection, open } from "./client.js"
import type { Contender } from "./contenders.js"
import type { Served } from "./processes.js"

const folder = "bench/django"
const gunicorn = `${folder}/.venv/bin/gunicorn`

/** False if there is no Python, or pip could not install Django. */
export const isInstalled = existsSync(gunicorn)

/** Waits until the server accepts connections, which takes seconds on a busy machine. */
const connected = async (port: number, ended: () => string | undefined): Promise<Connection> => {
  for (;;) {
    try {
      return await open(port)
    } catch (error) {
      const output = ended()
      if (output !== undefined) throw new Error(`Django did not start: ${output}`, { cause: error })
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

export const serve = async (contender: Contender, store: Store): Promise<Served> => {
  const port = await Effect.runPromise(freePort)
  const child = spawn(
    // Relative to its working directory.
    gunicorn.slice(folder.length + 1),
    ["app:application", "--bind", `127.0.0.1:${port}`, "--worker-class", "gthread", "--threads", "10"]
      .concat("--keep-alive", "600", "--log-level", "error"),
    {
      cwd: folder,
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, BENCH_STORE: JSON.stringify(store), BENCH_DATA: JSON.stringify(data) }
    }
  )
  let output = ""
  child.stderr.on("data", (chunk: Buffer) => (output += String(chunk)))
  const exit = once(child, "exit")
  const own = await connected(port, () => child.exitCode === null ? undefined : output)
  return {
    contender,
    listen: async () => port,
    cpu: async () => Number((await own.get("usage", "")).body),
    stop: async () => {
      own.close()
      child.kill("SIGTERM")
      await exit
    }
  }
}
