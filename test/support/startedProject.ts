/**
 * Projects outside of the repository, started by `npm start`.
 */
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { freePort } from "../../examples/shop/freePort.js"

/** Runs `npm start` until the end of the scope, and returns the address that it prints. */
export const started = (folder: string, environment: Readonly<Record<string, string>> = {}) =>
  Effect.gen(function*() {
    const port = yield* freePort
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn("npm", ["start"], {
          cwd: folder,
          env: { PATH: process.env.PATH, HOME: process.env.HOME, PORT: String(port), NO_COLOR: "1", ...environment },
          // Its own group, so that the end of the scope also ends the process that npm has started.
          detached: true,
          stdio: ["ignore", "pipe", "pipe"]
        })
      ),
      ({ exitCode, pid }) =>
        Effect.sync(() => pid === undefined || exitCode !== null ? false : process.kill(-pid, "SIGKILL"))
    )
    return yield* Effect.async<string, Error>((resume) => {
      let output = ""
      for (const stream of [child.stdout, child.stderr]) {
        stream.on("data", (chunk: Buffer) => {
          output += chunk
          const [address] = /http:\/\/127\.0\.0\.1:\d+/.exec(output) ?? []
          if (address !== undefined) resume(Effect.succeed(address))
        })
      }
      child.on("exit", () => resume(Effect.fail(new Error(output))))
    })
  })
