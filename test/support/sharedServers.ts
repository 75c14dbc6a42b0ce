/**
 * The servers and the packages that tests share. Each starts, or is built, when a test first requests it, and stops at the end of the run.
 */
import { execFileSync } from "node:child_process"
import { inject } from "vitest"

declare module "vitest" {
  export interface ProvidedContext {
    /** The URL at which the set-up of the run starts servers. */
    serversUrl: string
  }
}

/** Cached answers: one worker process runs many test files. */
const answers = new Map<string, unknown>()

const script = "fetch(process.argv[1]).then((response) => response.text()).then((text) => process.stdout.write(text))"

/** Waits synchronously, in a child process, so that a URL is a value and not an effect. */
const ask = (name: string): unknown => {
  if (!answers.has(name)) {
    const answer: unknown = JSON.parse(
      execFileSync(process.execPath, ["-e", script, `${inject("serversUrl")}${name}`], { encoding: "utf8" })
    )
    if (typeof answer === "object" && answer !== null && "error" in answer) {
      throw new Error(`${name} did not start: ${String(answer.error)}`)
    }
    answers.set(name, answer)
  }
  return answers.get(name)
}

const url = (name: string) => String(ask(name))

/** The URL of a real Postgres. */
export const postgres = (): string => url("postgres")

/** The URL of a real MariaDB, or "" where it is not installed or left out. */
export const mariadb = (): string => url("mariadb")

/** The URL of a real Redis, or "" where it is not installed or left out. */
export const redis = (): string => url("redis")

/** The URL of a real Valkey, or "" where it is not installed or left out. */
export const valkey = (): string => url("valkey")

/** The folder with the tarballs of both packages, built once for all tests. */
export const packages = (): string => url("packages")

/** The ports of a real Redis Cluster, or none. It may take two more seconds until it works. */
export const redisCluster = (): ReadonlyArray<number> => {
  const ports = ask("redisCluster")
  return Array.isArray(ports) ? ports.map(Number) : []
}
