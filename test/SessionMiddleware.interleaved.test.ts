/** Concurrent visitors on keep-alive connections: each sees their own session, and acknowledged changes are stored. */
import { it } from "@effect/vitest"
import { Deferred, Effect, Random } from "effect"
import * as Http from "node:http"
import { assert, describe } from "vitest"
import { gate, type Held } from "./support/httpServer.js"
import { abort, type Client, cookieAfter, open, seeded, send, start } from "./support/keepAliveClients.js"

/** The actions of a visitor, and the number of requests that each takes. */
const steps = {
  read: 1,
  add: 1,
  "add three times concurrently": 3,
  login: 1,
  "logout and login": 2,
  "aborted read": 1,
  "aborted add": 1
}
type Step = keyof typeof steps

const script = (choices: ReadonlyArray<Step>) =>
  Effect.iterate({ steps: ["login"] as ReadonlyArray<Step>, requests: 1 }, {
    while: ({ requests }) => requests < 10,
    body: (before) =>
      Effect.map(Effect.orDie(Random.choice(choices)), (step) => ({
        steps: [...before.steps, step],
        requests: before.requests + steps[step]
      }))
  })

/** Runs a script and checks that each answer belongs to this visitor. */
const visit = (client: Client, name: string, script: ReadonlyArray<Step>, turns: number) =>
  Effect.gen(function*() {
    const mine = { cookie: "", acknowledged: 0, aborted: 0 }
    const ask = (method: string, path: string, who = name) =>
      Effect.map(Effect.suspend(() => send(client, method, path, mine.cookie)), ({ cookie, status, value }) => {
        assert.deepStrictEqual([status, value?.user], [200, who], `${name}: ${path}`)
        mine.cookie = cookie
        return value?.count ?? 0
      })
    const login = ask("POST", `/login/${name}`)
    const add = Effect.tap(ask("POST", "/add"), () => Effect.sync(() => mine.acknowledged++))
    const actions: Readonly<Record<Step, Effect.Effect<unknown, Error>>> = {
      read: ask("GET", "/me"),
      add,
      "add three times concurrently": Effect.replicateEffect(add, 3, { concurrency: 3 }),
      login,
      "logout and login": Effect.zipRight(ask("POST", "/logout", "anonymous"), login).pipe(
        Effect.tap(() => Effect.sync(() => Object.assign(mine, { acknowledged: 0, aborted: 0 })))
      ),
      "aborted read": Effect.suspend(() => abort(client, "GET", "/me", mine.cookie, turns)),
      "aborted add": Effect.suspend(() => {
        mine.aborted++
        return abort(client, "POST", "/add", mine.cookie, turns)
      })
    }
    yield* Effect.forEach(script, (step) => actions[step], { discard: true })
    const count = yield* ask("GET", "/me")
    // An update whose client disconnected may be applied or not, but never twice.
    assert.isAtLeast(count, mine.acknowledged, name)
    assert.isAtMost(count, mine.acknowledged + mine.aborted, name)
  })

/** Yields to other connections before and after a store call. */
const yielding = <A, E>(call: Effect.Effect<A, E>) =>
  Effect.zipRight(yieldToOthers, Effect.zipLeft(call, yieldToOthers))
const yieldToOthers = Effect.async<void>((resume) => void setImmediate(resume, Effect.void))

describe("a hundred concurrent visitors", () => {
  seeded(
    "each answer belongs to its visitor, and each acknowledged change is counted once (F41)",
    Effect.gen(function*() {
      const active = { now: 0, most: 0 }
      const client = yield* start((_, call) =>
        Effect.acquireUseRelease(
          Effect.sync(() => active.most = Math.max(active.most, ++active.now)),
          () => yielding(call),
          () => Effect.sync(() => active.now--)
        )
      )
      const withoutAborts: ReadonlyArray<Step> = [
        "read",
        "add",
        "add three times concurrently",
        "login",
        "logout and login"
      ]
      // Half of the visitors never abort a request, so their counts are exact.
      const visits = yield* Effect.forEach(Array.from({ length: 100 }, (_, at) => at), (at) =>
        Effect.map(
          Effect.all([
            script(at % 2 === 0 ? withoutAborts : [...withoutAborts, "aborted read", "aborted add"]),
            Random.nextIntBetween(0, 8)
          ]),
          ([{ steps }, turns]) => visit(client, `user-${at}`, steps, turns)
        ))
      yield* Effect.all(visits, { concurrency: "unbounded", discard: true })
      assert.isAtLeast(active.most, 5, "the visitors were not concurrent")
    })
  )
})

/** A server, and a function that disconnects a client at a given point of its request. */
const startWithDisconnects = (remote: boolean) =>
  Effect.gen(function*() {
    const [store, later, handler] = [gate(), gate(), gate()]
    const disconnects = new Map<string, Deferred.Deferred<void>>()
    const server = () =>
      Http.createServer().on("request", ({ url = "" }, response) =>
        response.on("close", () => {
          const disconnected = disconnects.get(url)
          // The server's own close listener runs first.
          if (disconnected !== undefined) setImmediate(Deferred.unsafeDone, disconnected, Effect.void)
        }))
    const pause = handler.wrap("load", Effect.void, [])
    const client = yield* start(
      (operation, call, args) => store.wrap(operation, later.wrap(operation, yielding(call), args), args),
      { pause: Effect.orDie(pause), remote, server }
    )

    const places: Readonly<Record<string, Effect.Effect<Held>>> = {
      "before its load": store.hold("load", "before"),
      "after its load": store.hold("load", "after"),
      "in its handler": handler.hold("load", "before"),
      "before its save": store.hold("save", "before"),
      "after its save": store.hold("save", "after"),
      "after its rotation": store.hold("rotate", "after")
    }
    /** Sends a request, and disconnects when it has reached this point. */
    const disconnectAt = (place: string, path: string, cookie: string) =>
      Effect.gen(function*() {
        const held = yield* places[place] ?? Effect.dieMessage(place)
        const disconnected = yield* Deferred.make<void>()
        disconnects.set(path, disconnected)
        const request = open(client, "POST", path, cookie).on("error", () => {})
        yield* held.reached
        request.destroy()
        yield* Deferred.await(disconnected)
        // A save that has begun is awaited.
        const after = place === "before its save" ? yield* later.hold("save", "after") : undefined
        yield* held.go
        if (after !== undefined) yield* Effect.zipRight(after.reached, after.go)
      })
    return { client, disconnectAt }
  })

/** Asserts that the last write was stored completely. */
const assertComplete = (client: Client, cookie: string, when: string) =>
  Effect.map(send(client, "GET", "/me", cookie), ({ status, value }) => {
    assert.strictEqual(status, 200, when)
    assert.deepStrictEqual([value?.right, value?.log.at(-1)], [value?.left, value?.left], when)
  })

for (const remote of [false, true]) {
  describe(`clients that disconnect, with a ${remote ? "remote store" : "store in this process"}`, () => {
    seeded(
      "a save that has begun is completed, and otherwise nothing is written",
      Effect.gen(function*() {
        const { client, disconnectAt } = yield* startWithDisconnects(remote)
        const { cookie } = yield* send(client, "POST", "/write/0")
        const written = [0]
        const places = ["before its load", "after its load", "in its handler", "before its save", "after its save"]
        for (let n = 1; n <= 200; n++) {
          const place = yield* Random.choice([...places, "nowhere"])
          yield* place === "nowhere"
            ? send(client, "POST", `/write/${n}`, cookie)
            : disconnectAt(place, `/write/${n}`, cookie)
          if (place.endsWith("save") || place === "nowhere") written.push(n)
          yield* assertComplete(client, cookie, `${n}, disconnected ${place}`)
          const { value } = yield* send(client, "GET", "/me", cookie)
          assert.deepStrictEqual(value?.log, written, `${n}, disconnected ${place}`)
        }
      })
    )

    seeded(
      "at any time, a write is stored completely and once, or not at all",
      Effect.gen(function*() {
        const { client } = yield* startWithDisconnects(remote)
        const { cookie } = yield* send(client, "POST", "/write/0")
        const answered = [0]
        for (let n = 1; n <= 200; n++) {
          const turns = yield* Random.nextIntBetween(0, 10)
          if (turns === 9) {
            assert.strictEqual((yield* send(client, "POST", `/write/${n}`, cookie)).status, 200)
            answered.push(n)
          } else {
            yield* abort(client, "POST", `/write/${n}`, cookie, turns)
          }
          yield* assertComplete(client, cookie, `${n}, after ${turns} turns`)
        }
        const { value } = yield* send(client, "POST", "/write/1000", cookie)
        assert.includeMembers([...value?.log ?? []], [...answered, 1000])
        assert.strictEqual(new Set(value?.log).size, value?.log.length)
      })
    )

    it.live("after an aborted login, the old cookie opens the old session or none", () =>
      Effect.gen(function*() {
        const { client, disconnectAt } = yield* startWithDisconnects(remote)
        for (const place of ["before its load", "after its load", "in its handler", "after its rotation"]) {
          const { cookie } = yield* send(client, "POST", "/add")
          yield* disconnectAt(place, "/login/ann", cookie)
          const after = yield* send(client, "GET", "/me", cookie)
          const expected = [200, "anonymous", place === "after its rotation" ? 0 : 1, cookie]
          assert.deepStrictEqual([after.status, after.value?.user, after.value?.count, after.cookie], expected, place)
          const again = yield* send(client, "POST", "/login/ann", cookie)
          assert.deepStrictEqual([again.status, again.value?.user], [200, "ann"], place)
        }
      }).pipe(Effect.scoped, Effect.orDie))
  })
}

describe("redirects", () => {
  it.live("a client that follows a redirect at its first byte reads the new state, 200 of 200 times", () =>
    Effect.gen(function*() {
      const client = yield* start((operation, call) => operation === "load" ? call : Effect.delay(call, "20 millis"))
      // Follows the redirect without reading the body.
      const follow = (n: number, cookie: string) =>
        Effect.flatMap(
          Effect.async<string, Error>((resume) =>
            void open(client, "POST", `/redirect/${n}`, cookie)
              .on("error", (error) => resume(Effect.fail(error)))
              .on("response", (reply) => resume(Effect.succeed((reply.resume(), cookieAfter(reply, cookie)))))
          ),
          (cookie) => Effect.map(send(client, "GET", "/me", cookie), ({ value }) => ({ cookie, n: value?.left }))
        )
      const seen = yield* Effect.forEach(
        Array.from({ length: 100 }, (_, at) => 2 * at + 1),
        (n) =>
          Effect.flatMap(
            follow(n, ""),
            (first) => Effect.map(follow(n + 1, first.cookie), (second) => [first.n, second.n])
          ),
        { concurrency: 25 }
      )
      assert.deepStrictEqual(seen.flat(), Array.from({ length: 200 }, (_, at) => at + 1))
    }).pipe(Effect.scoped, Effect.orDie))
})
