/**
 * A store in a child process that a test can kill. `serve` is the program of that process.
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { SqlClient } from "@effect/sql/SqlClient"
import { Context, Effect, Layer, Option, type Scope } from "effect"
import { FileStore, MemoryStore } from "effect-session"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import type { Capabilities, Store } from "effect-session/SessionStore"
import * as SqlMigrations from "effect-session/SqlMigrations"
import * as SqlStore from "effect-session/SqlStore"
import { FaultyStore } from "effect-session/testing"
import { build } from "esbuild"
import { type ChildProcess, fork } from "node:child_process"
import { rmSync } from "node:fs"
import type { Operation } from "../../src/SessionStore.js"

/** Where a store keeps its records on this machine. */
export interface Place {
  readonly kind: "sqlite" | "files"
  readonly path: string
}

/** Opens the store at a place in this process. */
export const openAt = (place: Place): Effect.Effect<Store, unknown, Scope.Scope> =>
  Effect.map(Layer.build(layerAt(place)), (context) => Context.get(context, SessionStore))

const layerAt = ({ kind, path }: Place): Layer.Layer<SessionStore, unknown> =>
  kind === "files"
    ? FileStore.layer({ directory: path }).pipe(Layer.provide(NodeContext.layer))
    : SqlStore.layer.pipe(
      Layer.provide(SqlMigrations.layer),
      Layer.provide(durableSqlite(path))
    )

/** A SQLite client that confirms a commit when it is on the disk. */
export const durableSqlite = (filename: string) =>
  Layer.tap(
    SqliteClient.layer({ filename }),
    (context) => Context.get(context, SqlClient).unsafe("PRAGMA synchronous = FULL")
  )

/** Opens the store at a place in a child process, which ends with the scope at the latest. */
export const openInChildProcess = (place: Place) =>
  Effect.gen(function*() {
    const file = yield* program
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => fork(file, [textOf(place)]).on("error", () => {})),
      kill
    )
    const capabilities = yield* answerTo<Capabilities>(child, 0)
    let questions = 0
    // The memory store only provides the names of the operations. None of its calls runs.
    const store = FaultyStore.intercept({ ...MemoryStore.make(), capabilities }, (operation, _, args) =>
      Effect.suspend(() => {
        const question: Question = { id: ++questions, operation, args }
        child.send(textOf(question), () => {})
        return answerTo(child, question.id)
      }))
    return { store, kill: kill(child) }
  })

/** Bundles the program of the process, inside the project, where packages resolve. */
const program = Effect.acquireRelease(
  Effect.promise(async () => {
    const outfile = `node_modules/.cache/crashes-${process.pid}.mjs`
    await build({
      stdin: {
        contents: `import { serve } from "./killableStore.ts"; serve()`,
        resolveDir: "test/support",
        loader: "ts"
      },
      bundle: true,
      packages: "external",
      platform: "node",
      format: "esm",
      outfile,
      logLevel: "error"
    })
    return outfile
  }),
  (file) => Effect.sync(() => rmSync(file, { force: true }))
)

/** Opens the store of the argument, and executes calls until the process is killed. */
export const serve = (): void => {
  const place: Place = JSON.parse(process.argv[2] ?? "")
  const send = <A>(answer: Answer<A>) => Effect.sync(() => process.send?.(textOf(answer)))
  // The parent process has ended.
  process.once("disconnect", () => process.exit())
  const main = Effect.gen(function*() {
    const store = yield* openAt(place)
    process.on("message", (text: string) => {
      const { args, id, operation }: Question = parsed(text)
      const call: Effect.Effect<unknown, SessionStoreError> = Reflect.apply(store[operation], store, args)
      Effect.runFork(Effect.matchEffect(call, {
        onFailure: (error) => send({ id, problem: String(error.cause ?? error) }),
        onSuccess: (value) => send({ id, value })
      }))
    })
    yield* send({ id: 0, value: store.capabilities })
    return yield* Effect.never
  })
  Effect.runFork(Effect.scoped(main))
}

interface Question {
  readonly id: number
  readonly operation: Operation
  readonly args: ReadonlyArray<unknown>
}

type Answer<A> = { readonly id: number; readonly value: A } | { readonly id: number; readonly problem: string }

const textOf = (message: Place | Question | Answer<unknown>): string => JSON.stringify(message)

/** An `Option` and `undefined` arrive as what they are. */
const parsed = (text: string) =>
  JSON.parse(text, (_, value) => {
    if (value === null) return undefined
    return value._id !== "Option" ? value : value._tag === "Some" ? Option.some(value.value) : Option.none()
  })

const answerTo = <A>(child: ChildProcess, id: number) =>
  Effect.async<A, SessionStoreError>((resume) => {
    const done = (answer: Effect.Effect<A, SessionStoreError>) => {
      child.off("message", received).off("disconnect", ended)
      resume(answer)
    }
    const fail = (cause: string) =>
      done(new SessionStoreError({ operation: "elsewhere", reason: "unavailable", cause: new Error(cause) }))
    const received = (text: string) => {
      const answer: Answer<A> = parsed(text)
      if (answer.id !== id) return
      if ("problem" in answer) fail(answer.problem)
      else done(Effect.succeed(answer.value))
    }
    const ended = () => fail("the process has ended")
    child.on("message", received).on("disconnect", ended)
    if (!child.connected) ended()
  })

/** Nothing of the process runs after this. */
const kill = (child: ChildProcess) =>
  Effect.async<void>((resume) => {
    const isOver = child.pid === undefined || child.exitCode !== null || child.signalCode !== null
    if (isOver) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })
