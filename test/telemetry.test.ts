/**
 * The data that OpenTelemetry exports for the telemetry example and for a store that fails.
 */
import * as NodeSdk from "@effect/opentelemetry/NodeSdk"
import { it } from "@effect/vitest"
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base"
import { Deferred, Effect, Option, Redacted } from "effect"
import { MemoryStore, SessionToken } from "effect-session"
import { freshKey, start } from "effect-session/Fixtures"
import * as ObservedStore from "effect-session/ObservedStore"
import { SessionStoreError } from "effect-session/SessionStore"

import { FaultyStore } from "effect-session/testing"
import { spawn } from "node:child_process"
import { inspect } from "node:util"
import { assert, describe, expect } from "vitest"
import { storeKeys } from "../src/internal/crypto/sessionToken.js"

/** Runs the example until the scope closes. `output` stops it as Ctrl-C does and returns all that it printed. */
const running = Effect.gen(function*() {
  const listening = yield* Deferred.make<string>()
  const ended = yield* Deferred.make<void>()
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, ["--import", "tsx", "examples/telemetry.ts"], {
        env: { ...process.env, PORT: "0", DATABASE: ":memory:", NO_COLOR: "1" }
      })
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  let printed = ""
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      printed += String(chunk)
      const [, url] = /Listening on (http:\/\/[\d.:]+)/.exec(printed) ?? []
      if (url !== undefined) Deferred.unsafeDone(listening, Effect.succeed(url))
    })
  }
  child.on("close", () => Deferred.unsafeDone(ended, Effect.void))
  const died = Effect.flatMap(Deferred.await(ended), () => Effect.dieMessage(`The example has ended: ${printed}`))
  return {
    url: yield* Effect.raceFirst(Deferred.await(listening), died),
    output: Effect.suspend(() => {
      child.kill("SIGINT")
      return Effect.map(Deferred.await(ended), () => printed)
    })
  }
})

/** Returns a client with a cookie jar. */
const browser = (url: string) => {
  const cookies: Array<string> = []
  const send = (path: string, init: RequestInit = {}) =>
    Effect.promise(async () => {
      const cookie = cookies.at(-1)
      const headers = {
        ...init.headers,
        ...(cookie === undefined ? {} : { cookie: `session-dev-app.Session=${cookie}` })
      }
      const response = await fetch(url + path, { ...init, headers })
      const [, value] = /^session-dev-app.Session=([^;]+)/.exec(response.headers.getSetCookie()[0] ?? "") ?? []
      if (value !== undefined) cookies.push(value)
      return `${response.status} ${await response.text()}`
    })
  return { cookies, send }
}

/** The spans that the console exporter printed: name, tier and outcome. */
const printedSpans = (output: string) =>
  output.split("instrumentationScope:").slice(1).map((span) =>
    [/\n {2}name: '([^']*)'/, /'session\.store\.tier': '([^']*)'/, /'session\.store\.outcome': '([^']*)'/]
      .flatMap((pattern) => pattern.exec(span)?.[1] ?? [])
      .join(" ")
  )

describe("the example", () => {
  it.scopedLive(
    "exports metrics and a span for every call of both tiers, without session data",
    () =>
      Effect.gen(function*() {
        const { output, url } = yield* running
        const { cookies, send } = browser(url)
        assert.strictEqual(yield* send("/"), "200 Visit 1\n")
        assert.strictEqual(yield* send("/look"), "200 1 visits\n")
        assert.strictEqual(yield* send("/look"), "200 1 visits\n")
        const login = {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ id: "alice@example.com" })
        }
        assert.strictEqual(yield* send("/login", login), "204 ")
        assert.strictEqual(yield* send("/"), "200 Visit 2\n")
        const printed = yield* output

        const spans = printedSpans(printed)
        assert.includeMembers(spans, ["http.server GET", "http.server POST", "sql.execute"])
        const own = spans.filter((span) => span.startsWith("session.store."))
        assert.deepStrictEqual(own.slice(0, 5).map((span) => span.replace("session.store.", "")), [
          // The first visit.
          "create origin created",
          // The first read goes to the origin and fills the cache, the second one is served by the cache.
          ...["load cache miss", "load origin hit", "create cache created"],
          "load cache hit"
        ])
        assert.includeMembers(own.slice(5), ["session.store.rotate origin saved", "session.store.save origin saved"])
        assert.match(printed, /name: 'session_store_calls'/)
        assert.match(printed, /attributes: { tier: 'origin', operation: 'rotate', outcome: 'saved' },\s+value: 1\s/)
        assert.match(printed, /name: 'session_store_latency',[\s\S]{0,150}unit: 'milliseconds'/)

        assert.strictEqual(cookies.length, 2)
        const tokens = cookies.flatMap((cookie) => Option.toArray(SessionToken.parse(cookie)))
        assert.deepStrictEqual(tokens.map((token) => Redacted.value(token)), cookies)
        const secrets = [...cookies, ...tokens.map(storeKeys("app/Session")), "alice@example.com"]
        for (const secret of secrets) assert.isFalse(printed.includes(secret), `${secret} was printed`)
      })
  )
})

describe("a store that fails", () => {
  /** Runs the effect with OpenTelemetry and returns the exported spans. */
  const exported = (effect: Effect.Effect<unknown, SessionStoreError>) => {
    const exporter = new InMemorySpanExporter()
    const sdk = NodeSdk.layer(() => ({
      resource: { serviceName: "test" },
      spanProcessor: new SimpleSpanProcessor(exporter)
    }))
    let spans: ReadonlyArray<ReadableSpan> = []
    // The exporter is cleared when the layer closes.
    const collected = Effect.zipRight(
      Effect.exit(effect),
      Effect.sync(() => void (spans = exporter.getFinishedSpans()))
    )
    return Effect.map(Effect.provide(collected, sdk), () => spans)
  }

  const key = freshKey()
  const message = `duplicate entry '${key}' of alice@example.com {"card":"4242"}`
  const cause = Object.assign(new Error(message), { parameters: [key] })
  const results = {
    unavailable: Effect.fail(new SessionStoreError({ operation: message, reason: "unavailable", cause })),
    defect: Effect.die(cause)
  }
  const text = (spans: ReadonlyArray<ReadableSpan>) =>
    inspect(spans.map(({ attributes, events, name, status }) => ({ name, attributes, events, status })), {
      depth: 10,
      maxStringLength: null
    })

  for (const [outcome, end] of Object.entries(results)) {
    it.live(`has a span with the outcome and without the driver's message (${outcome})`, () =>
      Effect.gen(function*() {
        const failing = FaultyStore.intercept(MemoryStore.make(), () => end)
        // Control: without ObservedStore the message is exported.
        assert.include(text(yield* exported(Effect.withSpan(failing.load(key, start), "plain"))), message)

        const spans = yield* exported(ObservedStore.make(failing, { tier: "origin" }).load(key, start))
        assert.deepStrictEqual(spans.map(({ name }) => name), ["session.store.load"])
        expect(spans[0]?.attributes).toStrictEqual({
          "session.store.tier": "origin",
          "session.store.outcome": outcome
        })
        assert.match(spans[0]?.status.message ?? "", /^The session store (failed|threw) in "load"/)
        const exportedText = text(spans)
        for (const secret of [key, "alice", "4242", "duplicate"]) assert.notInclude(exportedText, secret)
      }))
  }
})
