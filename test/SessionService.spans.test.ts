/**
 * The spans of a session's own operations, and what they never contain.
 */
import { it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schema } from "effect"
import { MemoryEngine, MemoryStore, Session, StoredEngine } from "effect-session"
import * as ObservedStore from "effect-session/ObservedStore"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import { inspect } from "node:util"
import { assert, describe } from "vitest"
import { intercepted } from "../src/internal/store/intercepted.js"
import { type RecordedSpan, recording } from "./support/recordedSpans.js"
import { visit } from "./support/requestWithoutHttp.js"

class Traced extends Session.Tag<Traced>()("test/Traced", {
  schema: Schema.Struct({ secret: Schema.optional(Schema.String) })
}) {}

const summaries = (spans: ReadonlyArray<RecordedSpan>) =>
  spans.map(({ attributes, exit, name, parent }) => [name, parent, attributes.get("session.outcome"), exit?._tag])

const observed = Traced.layer.pipe(
  Layer.provideMerge(StoredEngine.layer),
  Layer.provide(ObservedStore.layer),
  Layer.provide(MemoryStore.layer)
)

describe("spans of a session", () => {
  it.effect("open, commit, authenticate and revoke have one each, with the store's spans inside", () =>
    Effect.gen(function*() {
      const { spans, traced } = recording()
      const handler = Effect.zipRight(Traced.set("secret", "s3cret"), Traced.authenticate("ann"))
      const { cookie } = yield* traced(visit(Traced, handler))
      yield* traced(visit(Traced, Traced.get("secret"), cookie))
      const sessions = yield* Traced.service
      yield* traced(sessions.revokeSubject("ann"))
      yield* traced(visit(Traced, Traced.get("secret"), cookie))
      assert.deepStrictEqual(summaries(spans), [
        ["session.open", undefined, "no_cookie", "Success"],
        ["session.authenticate", undefined, "done", "Success"],
        ["session.commit", undefined, "Create", "Success"],
        ["session.store.create", "session.commit", undefined, "Success"],
        ["session.open", undefined, "loaded", "Success"],
        ["session.store.load", "session.open", undefined, "Success"],
        ["session.revoke", undefined, "done", "Success"],
        ["session.store.revokeSubject", "session.revoke", undefined, "Success"],
        ["session.open", undefined, "subject_revoked", "Success"],
        ["session.store.load", "session.open", undefined, "Success"],
        ["session.store.endReason", "session.open", undefined, "Success"]
      ])
      assert.isTrue(
        spans.filter(({ name }) => !name.startsWith("session.store"))
          .every(({ attributes }) => attributes.get("session.tag") === "test/Traced" && attributes.size === 2)
      )
      const text = inspect(spans, { depth: 12 })
      for (const secret of ["s3cret", "ann", cookie ?? "none"]) assert.notInclude(text, secret)
    }).pipe(Effect.provide(observed)))

  it.effect("a failure ends its span with the tag of the error, and without its cause", () => {
    const down = intercepted(MemoryStore.make(), (operation) =>
      Effect.fail(
        new SessionStoreError({ operation, reason: "unavailable", cause: new Error("driver words about r1.secret") })
      ))
    return Effect.gen(function*() {
      const { spans, traced } = recording()
      const token = Redacted.make(`r1.${"A".repeat(43)}`)
      yield* Effect.ignore(traced(visit(Traced, Traced.get("secret"), Redacted.value(token))))
      assert.deepStrictEqual(summaries(spans), [["session.open", undefined, "SessionUnavailable", "Failure"]])
      // Not the events: Effect adds the log lines of the current span to it, and the log has the cause.
      assert.notInclude(inspect(spans.map(({ more: _, ...span }) => span), { depth: 12 }), "driver words")
    }).pipe(
      Effect.provide(
        Traced.layer.pipe(Layer.provide(StoredEngine.layer), Layer.provide(Layer.succeed(SessionStore, down)))
      )
    )
  })

  for (
    const [method, failing] of [
      ["span", { span: true, end: false }],
      ["end", { span: false, end: true }]
    ] as const
  ) {
    it.effect(`a tracer that throws in ${method} fails neither a login nor a logout`, () => {
      const fail = (): never => {
        throw new Error("The exporter is broken.")
      }
      const { spans, traced } = recording({
        span: failing.span ? fail : () => undefined,
        end: failing.end ? fail : () => undefined
      })
      return Effect.gen(function*() {
        const { cookie } = yield* traced(
          visit(Traced, Effect.zipRight(Traced.set("secret", "x"), Traced.authenticate("ann")))
        )
        assert.strictEqual((yield* visit(Traced, Traced.get("secret"), cookie)).result, "x")
        const left = yield* traced(visit(Traced, Traced.destroy, cookie))
        assert.isUndefined(left.cookie)
        assert.strictEqual(spans.length > 0, failing.end)
      }).pipe(Effect.provide(observed))
    })
  }

  it.effect("with the engine in memory a tracer changes no outcome", () =>
    Effect.gen(function*() {
      const { spans, traced } = recording()
      const { cookie } = yield* traced(visit(Traced, Traced.set("secret", "x")))
      assert.strictEqual((yield* traced(visit(Traced, Traced.get("secret"), cookie))).result, "x")
      assert.deepStrictEqual(spans.map(({ name }) => name), ["session.open", "session.commit", "session.open"])
      spans.length = 0
      assert.strictEqual((yield* visit(Traced, Traced.get("secret"), cookie)).result, "x")
      assert.deepStrictEqual(spans, [])
    }).pipe(Effect.provide(Traced.layer.pipe(Layer.provide(MemoryEngine.layer)))))
})
