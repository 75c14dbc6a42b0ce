/**
 * A server that is a process of its own, and lives no longer than the process that started it, however that one ends.
 */
import { Clock, Effect, Schedule, type Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, readdirSync, readFileSync } from "node:fs"

export type Signal = "SIGKILL" | "SIGSTOP" | "SIGCONT"

export interface Running {
  readonly child: ChildProcess
  /** Sends a signal, and waits for what it does: after `SIGKILL` nothing of it is there, after `SIGSTOP` nothing moves. */
  readonly signal: (name: Signal) => Effect.Effect<void>
  /** Completes when it has ended. */
  readonly ended: Effect.Effect<void>
  /** The end of what it has said so far. */
  readonly log: () => string
}

/** Starts it, with a shell beside it that ends it when this process is no more: then the shell's input ends. */
export const start = (program: string, args: ReadonlyArray<string>): Running => {
  // Groups of their own: Ctrl-C is for the tests, and their scope ends the server.
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

/** Starts it for a scope, at whose end it is killed. */
export const scoped = (program: string, args: ReadonlyArray<string>): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.acquireRelease(Effect.sync(() => start(program, args)), ({ signal }) => signal("SIGKILL"))

/** Polls every 20 ms until `isDone`, for at most a minute. By the clock of the machine, also where a test has set its own. */
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
 * Whether every thread has stopped. A signal is sent before it is heard: meanwhile a thread on another processor may still
 * answer. Where threads cannot be looked at, the word of the signal has to do.
 */
export const stands = (pid: number | undefined) =>
  Effect.sync(() => {
    const tasks = `/proc/${pid}/task`
    return !existsSync(tasks) || readdirSync(tasks).every((task) => stateOf(`${tasks}/${task}/stat`) === "T")
  })

/** The letter after the program's name, which stands in brackets and may hold any character. */
const stateOf = (file: string): string | undefined => {
  try {
    return /.*\) (\S)/s.exec(readFileSync(file, "utf8"))?.[1]
  } catch {
    // A thread that has ended meanwhile does not move, either.
    return "T"
  }
}
