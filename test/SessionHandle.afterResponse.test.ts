/** Changes made after the request was answered: they are lost, and a warning is logged. */
import * as HttpRouter from "@effect/platform/HttpRouter"
import { Deferred, Effect, Logger } from "effect"
import { assert, describe } from "vitest"
import { live, open, servers, text, Visitor } from "./support/frontEnds.js"
import { pairOf } from "./support/httpServer.js"

const increment = Visitor.update("count", (n) => n + 1)

/** Collects the log lines of fibers forked inside of it. */
const collecting = () => {
  const lines: Array<string> = []
  const late = Effect.runSync(Deferred.make<void>())
  const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
    lines.push(`${logLevel.label} ${String(message)}`)
    Deferred.unsafeDone(late, Effect.void)
  })
  return { lines, late: Deferred.await(late), layer: Logger.add(logger) }
}

const warning =
  /^WARN A change to the session "test\/Visitor" came after its request had been answered, and is lost\. Let the handler wait/

describe("a change by a fiber that the handler does not await", () => {
  for (const { name, prefix, serve } of servers) {
    live(
      `${name}: after the response, the change is lost with one warning that names the session`,
      Effect.gen(function*() {
        const { late, layer, lines } = collecting()
        const go = yield* Deferred.make<void>()
        const changes = Effect.zipRight(
          Deferred.await(go),
          Effect.all([Effect.exit(increment), Effect.exit(increment)])
        )
        const site = yield* open(serve(
          Visitor.get("count").pipe(
            Effect.tap(() => Effect.forkDaemon(changes).pipe(Effect.provide(layer))),
            Effect.map(text)
          )
        ))
        const first = yield* site.visit(`${prefix}/any`)
        assert.deepStrictEqual([first.status, first.body], [200, "0"])
        yield* Deferred.succeed(go, undefined)
        yield* late
        yield* Effect.yieldNow()
        assert.lengthOf(lines, 1)
        assert.match(lines[0] ?? "", warning)
        assert.deepStrictEqual(site.calls(), [])
      })
    )

    live(
      `${name}: a change by a forked fiber is either written or logged, also if nothing else uses the session`,
      Effect.gen(function*() {
        const { layer, lines } = collecting()
        const forking = Effect.fork(increment).pipe(Effect.provide(layer), Effect.as(text("done")))
        const site = yield* open(serve(HttpRouter.empty.pipe(
          HttpRouter.get("/name", Effect.as(Visitor.set("name", "ann"), text("ann"))),
          HttpRouter.get("/fork", forking),
          HttpRouter.get("/both", Effect.zipRight(Visitor.set("name", "bob"), forking)),
          HttpRouter.get("/count", Effect.map(Visitor.get("count"), text))
        )))
        const cookie = yield* pairOf(yield* site.visit(`${prefix}/name`))
        for (const path of ["/fork", "/both"]) {
          const before = Number((yield* site.visit(`${prefix}/count`, cookie)).body)
          lines.length = 0
          assert.strictEqual((yield* site.visit(`${prefix}${path}`, cookie)).body, "done")
          const after = Number((yield* site.visit(`${prefix}/count`, cookie)).body)
          assert.strictEqual(after - before + lines.length, 1, `${path}: either counted or logged, not both`)
        }
      })
    )
  }
})
