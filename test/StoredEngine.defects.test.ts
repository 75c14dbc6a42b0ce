/**
 * A store call that throws or dies counts as an unavailable store: 503 with every kind of server, and the cookie is kept.
 */
import { it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Layer, Logger, Redacted } from "effect"
import { MemoryStore, StoredEngine } from "effect-session"
import { aRecord, freshId, namespace, start } from "effect-session/Fixtures"
import { SessionDirectory } from "effect-session/SessionDirectory"
import { SessionEngine } from "effect-session/SessionEngine"
import type { BoundEngine } from "effect-session/SessionEngine"
import { SessionMaintenance } from "effect-session/SessionMaintenance"
import { SessionRevocation } from "effect-session/SessionRevocation"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import { header, live, open, pages, servers, Visitor } from "./support/frontEnds.js"
import { pairOf, setCookiesOf } from "./support/httpServer.js"

const defect = new TypeError("a driver that throws")

/** A store in which every operation is this call. */
const always = (call: () => Effect.Effect<never, SessionStoreError>, remote: boolean): Store => ({
  capabilities: { durableDestroy: false, remote },
  create: call,
  load: call,
  save: call,
  touch: call,
  rotate: call,
  destroy: call,
  removeExpired: call,
  count: call,
  list: call,
  find: call,
  scan: call,
  revoke: call,
  revokeSubject: call,
  revokeAll: call,
  endReason: call
})

const throwing = (): never => {
  throw defect
}

const provided = (store: Store) =>
  Layer.build(Layer.provide(StoredEngine.layerWith({ timeout: "20 seconds" }), Layer.succeed(SessionStore, store)))

const token = Redacted.make(`r1.${"A".repeat(43)}`)

/** All operations of an engine and of the services beside it that call the store. */
const calls = (store: Store) =>
  Effect.gen(function*() {
    const context = yield* provided(store)
    const engine = yield* Context.get(context, SessionEngine).bind({ namespace, cookieName: "s" })
    const directory = Context.get(context, SessionDirectory)
    const maintenance = Context.get(context, SessionMaintenance)
    const revocation = Context.get(context, SessionRevocation)
    const record = aRecord()
    return [
      ["open", engine.open(token, start)],
      ["create", engine.write({ _tag: "Create", record }, start)],
      ["save", engine.write({ _tag: "Save", value: token, record, expectedVersion: 1 }, start)],
      ["rotate", engine.write({ _tag: "Rotate", value: token, record, expectedVersion: 1 }, start)],
      ["touch", engine.write({ _tag: "Touch", value: token, record }, start)],
      ["destroy", engine.destroy(token)],
      ["list", directory.list(namespace, "ann", start)],
      ["find", directory.find(namespace, freshId(), start)],
      ["scan", directory.scan(namespace, { limit: 10, now: start })],
      ["removeExpired", maintenance.removeExpired({ now: start, limit: 10 })],
      ["count", maintenance.count(start)],
      ["revoke", revocation.revoke(namespace, freshId())],
      ["revokeSubject", revocation.revokeSubject(namespace, "ann")],
      ["revokeAll", revocation.revokeAll(namespace)]
    ] as const satisfies ReadonlyArray<readonly [string, Effect.Effect<unknown, SessionStoreError>]>
  })

for (
  const [failure, call] of [
    ["throws", throwing],
    ["dies", () => Effect.die(defect)],
    ["throws in its effect", () => Effect.sync(throwing)]
  ] as const
) {
  for (const remote of [true, false]) {
    it.scopedLive(`a ${remote ? "remote" : "local"} store that ${failure}: every call fails with the defect as its cause`, () =>
      Effect.gen(function*() {
        for (const [name, effect] of yield* calls(always(call, remote))) {
          const error = yield* Effect.flip(effect)
          assert.instanceOf(error, SessionStoreError, name)
          assert.strictEqual(error.reason, "unavailable", name)
          assert.strictEqual(error.cause, defect, name)
        }
      }))
  }
}

it.scopedLive("a call that is interrupted stays interrupted", () =>
  Effect.gen(function*() {
    for (const [name, effect] of yield* calls(always(() => Effect.interrupt, false))) {
      const exit = yield* Effect.exit(effect)
      assert.isTrue(Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause), name)
    }
  }))

it.scopedLive("a remote write that dies after it was applied succeeds by a retry and is applied once", () =>
  Effect.gen(function*() {
    const memory = MemoryStore.make()
    let first = true
    const store: Store = {
      ...memory,
      capabilities: { durableDestroy: false, remote: true },
      create: (...args) =>
        Effect.tap(memory.create(...args), () => {
          const dies = first
          first = false
          return dies ? Effect.die(defect) : Effect.void
        })
    }
    const engine = yield* Context.get(yield* provided(store), SessionEngine).bind({ namespace, cookieName: "s" })
    const written = yield* engine.write({ _tag: "Create", record: aRecord() }, start)
    assert.strictEqual(written._tag, "Written")
    assert.lengthOf(yield* memory.scan(namespace, { limit: 10, now: start }), 1)
  }))

it.scopedLive("a custom engine that throws: the session is unavailable, with the defect as its cause", () =>
  Effect.gen(function*() {
    const engine: BoundEngine = {
      remote: true,
      selfContained: false,
      open: throwing,
      write: throwing,
      destroy: throwing
    }
    const context = yield* Layer.build(
      Visitor.layer.pipe(Layer.provide(Layer.succeed(SessionEngine, { bind: () => Effect.succeed(engine) })))
    )
    const service = yield* Effect.provide(Visitor.service, context)
    const uses = [service.exists(token), service.destroy(token), Effect.asVoid(service.open(token))]
    for (const use of uses) {
      const error = yield* Effect.flip(use)
      assert.strictEqual(error._tag, "SessionUnavailable")
      assert.instanceOf(error.cause, SessionStoreError)
      assert.strictEqual(error.cause.cause, defect)
    }
  }))

describe("a defect at load, with each kind of server", () => {
  for (const { name, prefix, serve } of servers) {
    live(
      `${name}: 503 with Retry-After, the cookie is kept, and the session is available once the store works again`,
      Effect.gen(function*() {
        const logged: Array<string> = []
        const log = Logger.map(Logger.logfmtLogger, (line) => void logged.push(line))
        const site = yield* open(Layer.provide(serve(pages), Logger.add(log)))
        const cookie = yield* pairOf(yield* site.visit(`${prefix}/set`))
        for (const end of [Effect.die(defect), Effect.sync(throwing)]) {
          yield* site.breaks("load", end)
          const answer = yield* site.visit(`${prefix}/name`, cookie)
          assert.deepStrictEqual([answer.status, header(answer, "retry-after"), setCookiesOf(answer)], [503, "5", []])
          assert.include(answer.body, "SessionUnavailable")
          assert.notInclude(answer.body, "a driver that throws")
          const errors = logged.splice(0).filter((line) => line.includes("level=ERROR"))
          // A web handler has its own runtime with other loggers.
          if (name !== "HttpApp.toWebHandlerLayer") {
            assert.lengthOf(errors, 1)
            assert.include(errors[0], "The session store is not available at the moment.")
            assert.include(errors[0], "a driver that throws")
          }
          yield* site.breaks(undefined)
          assert.strictEqual((yield* site.visit(`${prefix}/name`, cookie)).body, "ann")
        }
      })
    )
  }
})
