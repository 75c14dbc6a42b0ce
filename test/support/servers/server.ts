/**
 * A server process that ends with the process that started it, even if that one is killed.
 */
import { Clock, Effect, Schedule, type Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, readdirSync, readFileSync } from "node:fs"

export type Signal = "SIGKILL" | "SIGSTOP" | "SIGCONT"

export interface Running {
  readonly child: ChildProcess
  /** Sends a signal and waits for its effect: `SIGKILL` until the process has ended, `SIGSTOP` until all of its threads have stopped. */
  readonly signal: (name: Signal) => Effect.Effect<void>
  /** Completes when the process has ended. */
  readonly ended: Effect.Effect<void>
  /** The last 4,000 characters of its output. */
  readonly log: () => string
}

/** Starts a process, and a shell that kills it when this process has ended, because that closes the shell's input. */
export const start = (program: string, args: ReadonlyArray<string>): Running => {
  // Own process groups: Ctrl-C ends the tests only, whose scope ends the server.
  const child = spawn(program, args, { detached: true, stdio: ["ignore", "pipe", "pipe"] })
  child.on("error", () => {})
  let log = ""
  for (const output of [child.stdout, child.stderr]) {
    output.on("data", (chunk: Buffer) => log = `${log}${chunk}`.slice(-4000))
  }
  const guard = spawn("sh", ["-c", `read -r _; kill -KILL ${child.pid}`], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"]
  })
  child.once("exit", () => guard.kill("SIGKILL"))
  const ended = Effect.async<void>((resume) => {
    if (hasEnded(child)) resume(Effect.void)
    else child.once("exit", () => resume(Effect.void))
  })
  return {
    child,
    ended,
    log: () => log,
    signal: (name) =>
      Effect.suspend(() => {
        child.kill(name)
        return name === "SIGKILL" ? ended : name === "SIGSTOP" ? until(stands(child.pid), (done) => done) : Effect.void
      })
  }
}

/** Starts a process for a scope. The end of the scope kills it. */
export const scoped = (program: string, args: ReadonlyArray<string>): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.acquireRelease(Effect.sync(() => start(program, args)), ({ signal }) => signal("SIGKILL"))

/** Polls every 20 ms until `isDone`, for at most a minute. Uses the real clock, also under a TestClock. */
export const until = <A>(ask: Effect.Effect<A>, isDone: (answer: A) => boolean): Effect.Effect<void> =>
  Effect.flatMap(ask, (answer) => isDone(answer) ? Effect.void : Effect.fail(answer)).pipe(
    Effect.retry(Schedule.spaced("20 millis")),
    Effect.timeout("1 minute"),
    Effect.withClock(Clock.make()),
    Effect.orDie
  )

export const hasEnded = (child: ChildProcess): boolean =>
  child.pid === undefined || child.exitCode !== null || child.signalCode !== null

/**
 * Whether every thread has stopped. A thread on another core may run for a moment after the signal. Without `/proc`: true.
 */
export const stands = (pid: number | undefined) =>
  Effect.sync(() => {
    const tasks = `/proc/${pid}/task`
    return !existsSync(tasks) || readdirSync(tasks).every((task) => stateOf(`${tasks}/${task}/stat`) === "T")
  })

/** The state letter after the program's name, which is in brackets and may contain any character. */
const stateOf = (file: string): string | undefined => {
  try {
    return /.*\) (\S)/s.exec(readFileSync(file, "utf8"))?.[1]
  } catch {
    // The thread has ended.
    return "T"
  }
}
