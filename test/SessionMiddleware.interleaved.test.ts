/**
 * Many visitors at once, over connections that are kept: each sees their own session, and what was acknowledged is there.
 */
import { it } from "@effect/vitest"
import { Deferred, Effect, Random } from "effect"
import * as Http from "node:http"
import { assert, describe } from "vitest"
import { gate, type Held } from "./support/httpServer.js"
import { abort, type Client, cookieAfter, open, seeded, send, start } from "./support/keepAliveClients.js"

/** What a visitor does, and how many requests that takes. */
const steps = {
  read: 1,
  add: 1,
  "add thrice at once": 3,
  login: 1,
  "log out and in": 2,
  "hung up: read": 1,
  "hung up: add": 1
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

/** Goes through a script, and checks that each answer is this visitor's. */
const visit = (client: Client, name: string, script: ReadonlyArray<Step>, turns: number) =>
  Effect.gen(function*() {
    const mine = { cookie: "", acknowledged: 0, hungUp: 0 }
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
      "add thrice at once": Effect.replicateEffect(add, 3, { concurrency: 3 }),
      login,
      "log out and in": Effect.zipRight(ask("POST", "/logout", "nobody"), login).pipe(
        Effect.tap(() => Effect.sync(() => Object.assign(mine, { acknowledged: 0, hungUp: 0 })))
      ),
      "hung up: read": Effect.suspend(() => abort(client, "GET", "/me", mine.cookie, turns)),
      "hung up: add": Effect.suspend(() => {
        mine.hungUp++
        return abort(client, "POST", "/add", mine.cookie, turns)
      })
    }
    yield* Effect.forEach(script, (step) => actions[step], { discard: true })
    const count = yield* ask("GET", "/me")
    // An update whose client hung up may be done or not, but never twice.
    assert.isAtLeast(count, mine.acknowledged, name)
    assert.isAtMost(count, mine.acknowledged + mine.hungUp, name)
  })

/** Other connections get their turn before a call and after it. */
const slowly = <A, E>(call: Effect.Effect<A, E>) => Effect.zipRight(turn, Effect.zipLeft(call, turn))
const turn = Effect.async<void>((resume) => void setImmediate(resume, Effect.void))

describe("a hundred visitors at once", () => {
  seeded(
    "each answer is its own visitor's, and what was acknowledged is counted once (F41)",
    Effect.gen(function*() {
      const busy = { now: 0, most: 0 }
      const client = yield* start((_, call) =>
        Effect.acquireUseRelease(
          Effect.sync(() => busy.most = Math.max(busy.most, ++busy.now)),
          () => slowly(call),
          () => Effect.sync(() => busy.now--)
        )
      )
      const calm: ReadonlyArray<Step> = ["read", "add", "add thrice at once", "login", "log out and in"]
      // Half of the visitors never hang up, so that their counts are exact.
      const visits = yield* Effect.forEach(Array.from({ length: 100 }, (_, at) => at), (at) =>
        Effect.map(
          Effect.all([
            script(at % 2 === 0 ? calm : [...calm, "hung up: read", "hung up: add"]),
            Random.nextIntBetween(0, 8)
          ]),
          ([{ steps }, turns]) => visit(client, `user-${at}`, steps, turns)
        ))
      yield* Effect.all(visits, { concurrency: "unbounded", discard: true })
      assert.isAtLeast(busy.most, 5, "they were not at once")
    })
  )
})

/** A server whose requests can be left alone by their clients where they are. */
const startWithHangUps = (remote: boolean) =>
  Effect.gen(function*() {
    const [store, later, handler] = [gate(), gate(), gate()]
    const noticing = new Map<string, Deferred.Deferred<void>>()
    const server = () =>
      Http.createServer().on("request", ({ url = "" }, response) =>
        response.on("close", () => {
          const noticed = noticing.get(url)
          // The server's own listener comes first.
          if (noticed !== undefined) setImmediate(Deferred.unsafeDone, noticed, Effect.void)
        }))
    const pause = handler.wrap("load", Effect.void, [])
    const client = yield* start(
      (operation, call, args) => store.wrap(operation, later.wrap(operation, slowly(call), args), args),
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
    /** Sends a request, and hangs up when it is at this place. */
    const hangUp = (place: string, path: string, cookie: string) =>
      Effect.gen(function*() {
        const held = yield* places[place] ?? Effect.dieMessage(place)
        const noticed = yield* Deferred.make<void>()
        noticing.set(path, noticed)
        const request = open(client, "POST", path, cookie).on("error", () => {})
        yield* held.reached
        request.destroy()
        yield* Deferred.await(noticed)
        // Where a save had begun, it is waited for.
        const after = place === "before its save" ? yield* later.hold("save", "after") : undefined
        yield* held.go
        if (after !== undefined) yield* Effect.zipRight(after.reached, after.go)
      })
    return { client, hangUp }
  })

/** What the last handler wrote is there, all of it and nothing else. */
const assertWhole = (client: Client, cookie: string, when: string) =>
  Effect.map(send(client, "GET", "/me", cookie), ({ status, value }) => {
    assert.strictEqual(status, 200, when)
    assert.deepStrictEqual([value?.right, value?.log.at(-1)], [value?.left, value?.left], when)
  })

for (const remote of [false, true]) {
  describe(`clients that hang up, with a store ${remote ? "behind a network" : "of this process"}`, () => {
    seeded(
      "where a save had begun it is done, and else nothing is",
      Effect.gen(function*() {
        const { client, hangUp } = yield* startWithHangUps(remote)
        const { cookie } = yield* send(client, "POST", "/write/0")
        const written = [0]
        const places = ["before its load", "after its load", "in its handler", "before its save", "after its save"]
        for (let n = 1; n <= 200; n++) {
          const place = yield* Random.choice([...places, "nowhere"])
          yield* place === "nowhere"
            ? send(client, "POST", `/write/${n}`, cookie)
            : hangUp(place, `/write/${n}`, cookie)
          if (place.endsWith("save") || place === "nowhere") written.push(n)
          yield* assertWhole(client, cookie, `${n}, which hung up ${place}`)
          const { value } = yield* send(client, "GET", "/me", cookie)
          assert.deepStrictEqual(value?.log, written, `${n}, which hung up ${place}`)
        }
      })
    )

    seeded(
      "at any time, what a handler wrote is there wholly or not at all, and once",
      Effect.gen(function*() {
        const { client } = yield* startWithHangUps(remote)
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
          yield* assertWhole(client, cookie, `${n}, after ${turns} turns`)
        }
        const { value } = yield* send(client, "POST", "/write/1000", cookie)
        assert.includeMembers([...value?.log ?? []], [...answered, 1000])
        assert.strictEqual(new Set(value?.log).size, value?.log.length)
      })
    )

    it.live("after a login that nobody waited for, the old cookie leads to the old session or to none", () =>
      Effect.gen(function*() {
        const { client, hangUp } = yield* startWithHangUps(remote)
        for (const place of ["before its load", "after its load", "in its handler", "after its rotation"]) {
          const { cookie } = yield* send(client, "POST", "/add")
          yield* hangUp(place, "/login/ann", cookie)
          const after = yield* send(client, "GET", "/me", cookie)
          const expected = [200, "nobody", place === "after its rotation" ? 0 : 1, cookie]
          assert.deepStrictEqual([after.status, after.value?.user, after.value?.count, after.cookie], expected, place)
          const again = yield* send(client, "POST", "/login/ann", cookie)
          assert.deepStrictEqual([again.status, again.value?.user], [200, "ann"], place)
        }
      }).pipe(Effect.scoped, Effect.orDie))
  })
}

describe("redirects", () => {
  it.live("a client that follows one at its first byte sees the new state, 200 of 200 times", () =>
    Effect.gen(function*() {
      const client = yield* start((operation, call) => operation === "load" ? call : Effect.delay(call, "20 millis"))
      // Nothing of the body is waited for.
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
