/**
 * A handler that aborts with a response in a child fiber of the one that answers the request: the session is committed
 * and the cookie is sent.
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
  ["no fiber in between", (app) => app]
]

const respond = (status: number) => HttpServerResponse.empty({ status })
const login = Effect.zipRight(Visitor.set("name", "ann"), Visitor.authenticate("ann"))

/** The ways in which a handler aborts with a response. */
const breaks: Readonly<Record<string, (status: number) => Handler>> = {
  "dies with the response": (status) => Effect.die(respond(status)),
  "fails with the response": (status) => Effect.fail(respond(status))
}

describe("a handler that aborts in a child fiber", () => {
  for (const { name, prefix, serve } of everyFrontEnd) {
    for (const [how, around] of arounds) {
      live(
        `${name}, ${how}: a login and a logout are committed, and a token created by save is sent`,
        Effect.gen(function*() {
          let act: Handler = Effect.succeed(respond(200))
          const read = Effect.map(Visitor.get("name"), text)
          const site = yield* open(serve({ act: Effect.suspend(() => act), read }, around))
          const runHandler = (next: Handler, cookie?: string) => {
            act = next
            return site.visit(`${prefix}/act`, cookie)
          }
          const who = (cookie: string) => Effect.map(site.visit(`${prefix}/read`, cookie), ({ body }) => body)
          for (const [way, abort] of Object.entries(breaks)) {
            const loggedIn = yield* runHandler(Effect.zipRight(login, abort(303)))
            assert.deepStrictEqual([loggedIn.status, header(loggedIn, "cache-control")], [303, "no-store"], way)
            const cookie = yield* pairOf(loggedIn)
            assert.strictEqual(yield* who(cookie), "ann", way)

            const loggedOut = yield* runHandler(Effect.zipRight(Visitor.destroy, abort(403)), cookie)
            assert.strictEqual(loggedOut.status, 403, way)
            assert.deepStrictEqual(setCookiesOf(loggedOut).map(({ value }) => value), [""], way)
            assert.strictEqual(yield* who(cookie), "undefined", way)
          }
          const first = yield* pairOf(yield* runHandler(Effect.zipRight(login, Effect.succeed(respond(200)))))
          const failed = yield* runHandler(
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
