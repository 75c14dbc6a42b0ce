/**
 * A handler that breaks off in a fiber of its own, below the one that answers the request: what it did to its session is
 * committed, and the cookie is sent.
 */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Cause, Effect, Fiber } from "effect"
import { assert, describe } from "vitest"
import { type Around, everyFrontEnd, type Handler } from "./support/everyFrontEnd.js"
import { header, live, open, text, Visitor } from "./support/frontEnds.js"
import { pairOf, setCookiesOf } from "./support/httpServer.js"

const arounds: ReadonlyArray<readonly [name: string, around: Around]> = [
  ["timeout", Effect.timeoutFailCause({ duration: "1 minute", onTimeout: () => Cause.die("late") })],
  ["fork and join", (app) => Effect.flatMap(Effect.fork(app), Fiber.join)],
  ["fork and await", (app) => Effect.flatMap(Effect.flatMap(Effect.fork(app), Fiber.await), (exit) => exit)],
  ["no fiber between", (app) => app]
]

const respond = (status: number) => HttpServerResponse.empty({ status })
const login = Effect.zipRight(Visitor.set("name", "ann"), Visitor.authenticate("ann"))

/** How a handler breaks off with a response. */
const breaks: Readonly<Record<string, (status: number) => Handler>> = {
  "dies with the response": (status) => Effect.die(respond(status)),
  "fails with the response": (status) => Effect.fail(respond(status))
}

describe("a handler that breaks off in a child fiber", () => {
  for (const { name, prefix, serve } of everyFrontEnd) {
    for (const [how, around] of arounds) {
      live(
        `${name}, ${how}: a login is kept, a logout holds, and a token that was made by save is sent`,
        Effect.gen(function*() {
          let act: Handler = Effect.succeed(respond(200))
          const read = Effect.map(Visitor.get("name"), text)
          const site = yield* open(serve({ act: Effect.suspend(() => act), read }, around))
          const doing = (next: Handler, cookie?: string) => {
            act = next
            return site.visit(`${prefix}/act`, cookie)
          }
          const who = (cookie: string) => Effect.map(site.visit(`${prefix}/read`, cookie), ({ body }) => body)
          for (const [way, breakOff] of Object.entries(breaks)) {
            const entered = yield* doing(Effect.zipRight(login, breakOff(303)))
            assert.deepStrictEqual([entered.status, header(entered, "cache-control")], [303, "no-store"], way)
            const cookie = yield* pairOf(entered)
            assert.strictEqual(yield* who(cookie), "ann", way)

            const left = yield* doing(Effect.zipRight(Visitor.destroy, breakOff(403)), cookie)
            assert.strictEqual(left.status, 403, way)
            assert.deepStrictEqual(setCookiesOf(left).map(({ value }) => value), [""], way)
            assert.strictEqual(yield* who(cookie), "undefined", way)
          }
          const first = yield* pairOf(yield* doing(Effect.zipRight(login, Effect.succeed(respond(200)))))
          const failed = yield* doing(
            Effect.zipRight(Effect.zipRight(Visitor.rotate, Visitor.save), Effect.fail("broken")),
            first
          )
          assert.strictEqual(failed.status, 500)
          assert.strictEqual(yield* who(yield* pairOf(failed)), "ann")
          assert.strictEqual(yield* who(first), "undefined")
        })
      )
    }
  }
})
