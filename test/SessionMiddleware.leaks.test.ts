/** No token is logged, traced or printed, with any front end, also if a response fails while it is sent. */
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Cause, Effect, Exit, Layer, Logger, LogLevel, Stream, Tracer } from "effect"
import { MemoryEngine } from "effect-session"
import { inspect } from "node:util"
import { assert, describe } from "vitest"
import { everyFrontEnd } from "./support/everyFrontEnd.js"
import { live, open, Staff, text, Visitor } from "./support/frontEnds.js"

/** Records everything logged or traced, in each form in which exporters print it. */
const observed = () => {
  const printed: Array<string> = []
  const failed: Array<string> = []
  const print = (...values: ReadonlyArray<unknown>) => {
    for (const value of values) {
      printed.push(inspect(value, { depth: 20 }), JSON.stringify(value) ?? "", String(value))
      if (Cause.isCause(value)) printed.push(Cause.pretty(value))
    }
  }
  const tracer = Tracer.make({
    span: (name, parent, context, links, startTime, kind) => {
      const attributes = new Map<string, unknown>()
      return {
        _tag: "Span",
        spanId: String(printed.length),
        traceId: "trace",
        sampled: true,
        name,
        parent,
        context,
        links: [...links],
        kind,
        attributes,
        status: { _tag: "Started", startTime },
        attribute: (key, value) => void attributes.set(key, value),
        event: (name, _, attributes) => print(name, attributes),
        addLinks: () => {},
        end: (_, exit) => {
          print(name, [...attributes], exit)
          if (Exit.isFailure(exit)) {
            failed.push(name)
            print(exit.cause, ...Cause.prettyErrors(exit.cause))
          }
        }
      }
    },
    context: (f) => f()
  })
  const logger = Logger.make(({ cause, message }) => print(message, cause))
  return {
    printed,
    failed,
    layer: Layer.mergeAll(Layer.setTracer(tracer), Logger.add(logger), Logger.minimumLogLevel(LogLevel.All))
  }
}

const login = Effect.zipRight(Visitor.set("name", "ann"), Visitor.authenticate("ann"))

const brokenStream = HttpServerResponse.stream(
  Stream.concat(Stream.make(new Uint8Array(9)), Stream.die(new Error("the source broke")))
)

/** The secret part of each cookie. */
const secretsOf = (answer: Response) =>
  answer.headers.getSetCookie().map((line) => /=r1\.([^;]{20,})/.exec(line)?.[1] ?? assert.fail(line))

const assertNoSecret = (secrets: ReadonlyArray<string>, printed: ReadonlyArray<string>) => {
  assert.isAbove(secrets.length, 0)
  assert.isTrue(printed.some((text) => text.includes("the source broke")), "the failure was not printed")
  for (const secret of secrets) assert.isFalse(printed.some((text) => text.includes(secret)), "a token was printed")
}

/** Reads a response whose body fails, and returns its secrets. */
const secretsOfBroken = (ask: () => Promise<Response>) =>
  Effect.promise(async () => {
    const answer = await ask()
    await answer.text().catch(() => "")
    return secretsOf(answer)
  })

describe("a response with the cookie that fails while it is sent", () => {
  // A web handler behind a server is two applications: the outer one reads the cookie like any other header.
  for (const { name, prefix, serve } of everyFrontEnd.filter(({ name }) => !name.includes("toWebHandler"))) {
    live(
      `${name}: no token in logs and spans`,
      Effect.gen(function*() {
        const { layer, printed } = observed()
        const handlers = { act: Effect.as(login, brokenStream), read: Effect.map(Visitor.get("name"), text) }
        const site = yield* open(serve(handlers).pipe(Layer.provide(layer)))
        assertNoSecret(yield* secretsOfBroken(() => fetch(`http://127.0.0.1:${site.port}${prefix}/act`)), printed)
      })
    )
  }

  live(
    "HttpApp.toWebHandlerLayer: no token in logs and spans",
    Effect.gen(function*() {
      const { layer, printed } = observed()
      const { dispose, handler } = HttpApp.toWebHandlerLayer(
        Visitor.middleware(Effect.as(login, brokenStream)),
        Layer.mergeAll(Layer.provide(Visitor.layer, MemoryEngine.layer), layer)
      )
      const failing = Effect.promise(async () => {
        const answer = await handler(new Request("http://localhost/"))
        await answer.text().catch((error: unknown) => printed.push(inspect(error)))
        return secretsOf(answer)
      })
      assertNoSecret(yield* failing, printed)
      yield* Effect.promise(dispose)
    })
  )

  live(
    "a printed response contains the cookie's name and not its value",
    Effect.gen(function*() {
      let seen: HttpServerResponse.HttpServerResponse | undefined
      const hook = HttpApp.appendPreResponseHandler((_, response) => Effect.sync(() => seen = response))
      const app = Effect.zipRight(hook, Visitor.middleware(Effect.as(login, text("in"))))
      const site = yield* open(HttpServer.serve(Visitor.middleware(app)))
      const secrets = secretsOf(yield* Effect.promise(() => fetch(`http://127.0.0.1:${site.port}/`)))
      const printed = [inspect(seen, { depth: 20, showHidden: true }), JSON.stringify(seen), String(seen)]
      for (const text of printed) {
        assert.include(text, "__Host-Http-session")
        for (const secret of secrets) assert.notInclude(text, secret)
      }
    })
  )
})

describe("two sessions", () => {
  live(
    "with HttpServer.serve(app, middleware): no span fails",
    Effect.gen(function*() {
      const { failed, layer, printed } = observed()
      const app = Effect.as(Effect.zipRight(Visitor.set("name", "ann"), Staff.set("name", "bob")), text("both"))
      const site = yield* open(
        HttpServer.serve(app, (app) => Staff.middleware(Visitor.middleware(app))).pipe(Layer.provide(layer))
      )
      assert.strictEqual((yield* site.visit("/")).status, 200)
      assert.isAbove(printed.length, 0)
      assert.deepStrictEqual(failed, [])
    })
  )
})
