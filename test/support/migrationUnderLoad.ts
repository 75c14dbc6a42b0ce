/**
 * Migrates sessions from one store to another and back under load. Three nodes, each with its own service, stores and clients, are
 * switched one after the other, each when it has no request in progress.
 */
import { Context, Deferred, Duration, Effect, Layer, Option, Random, Schema, ScopedRef, Stream } from "effect"
import { Session, StoredEngine } from "effect-session"
import * as MigratingStore from "effect-session/MigratingStore"
import { SessionStore } from "effect-session/SessionStore"
import { inspect } from "node:util"
import { visit } from "./requestWithoutHttp.js"

class Visits extends Session.Tag<Visits>()("test/Moving", {
  schema: Schema.Struct({
    n: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    note: Schema.optionalWith(Schema.String, { default: () => "" })
  }),
  // Every request writes, so that times change too. The timeout is long for slow machines.
  touchEvery: 0,
  commitTimeout: "20 seconds"
}) {}

export type Store = Layer.Layer<SessionStore, unknown>

export interface Options {
  readonly first: Store
  readonly second: Store
  readonly sessions: number
  /** The number of concurrent visitors, and the milliseconds between the requests of each. */
  readonly visitors: number
  readonly pause: number
  /** The least number of requests after each switch of a node. */
  readonly requests: number
  readonly seed: number
  readonly copy?: typeof copy
}

/** A user, the cookie of their browser, and the number of confirmed additions. */
interface User {
  readonly name: string
  cookie: string | undefined
  added: number
}

/** A long text that identifies the user. */
const noteOf = (name: string) => `${name} `.repeat(60)

/** The user and the count that a node finds in the session. */
const who = Effect.gen(function*() {
  const name = Option.getOrElse(yield* Visits.subject, () => "anonymous")
  const { n, note } = yield* Visits.value
  return { name: name === "anonymous" || note === noteOf(name) ? name : `${name}, with the note "${note}"`, n }
})

const changes = {
  add: Visits.update("n", (n) => n + 1),
  check: Visits.discard,
  logout: Visits.destroy,
  look: Effect.void,
  rotate: Visits.rotate
}
type Act = keyof typeof changes

/** A handler that changes the session only if the user is logged in. */
const handlerOf = (act: Act) => Effect.tap(who, ({ name }) => name === "anonymous" ? Effect.void : changes[act])

const login = (name: string) =>
  Effect.zipRight(Effect.zipRight(Visits.authenticate(name), Visits.set("note", noteOf(name))), who)

/** A node: the application on a store that can be replaced. */
const makeNode = (store: Store) =>
  Effect.gen(function*() {
    const app = Layer.provide(Visits.layer, StoredEngine.layerWith({ timeout: "10 seconds" }))
    const start = (store: Store) => Layer.build(Layer.provide(app, store))
    const all = 10_000
    const requests = yield* Effect.makeSemaphore(all)
    const running = yield* ScopedRef.fromAcquire(start(store))
    const node = {
      isUp: true,
      handle: <A, E>(request: Effect.Effect<A, E, Layer.Layer.Success<typeof Visits.layer>>) =>
        requests.withPermits(1)(Effect.flatMap(ScopedRef.get(running), (context) => Effect.provide(request, context))),
      // Requests in progress end first.
      switchTo: (store: Store) =>
        Effect.gen(function*() {
          node.isUp = false
          yield* requests.withPermits(all)(ScopedRef.set(running, start(store)))
          node.isUp = true
        })
    }
    return node
  })

/** All nodes and users, and the findings. */
class World {
  /** Violations. */
  readonly findings: Array<readonly [kind: "logout" | "lost update" | "revived" | "error", what: string]> = []
  /** Cookies of ended sessions. */
  readonly dead: Array<readonly [User, string]> = []
  stage: "old alone" | "prepare" | "move" | "copy" | "new alone" = "old alone"
  /** The duration of each request in milliseconds. */
  waits: Array<readonly [World["stage"], Act | "login", number]> = []
  isClosing = false
  #goal: { readonly at: number; readonly reached: Deferred.Deferred<void> } | undefined

  constructor(
    readonly options: Options,
    readonly nodes: ReadonlyArray<Effect.Effect.Success<ReturnType<typeof makeNode>>>,
    readonly users: ReadonlyArray<User>
  ) {}

  report(kind: World["findings"][number][0], { name }: User, what: string, error?: unknown): void {
    this.findings.push([kind, `${this.stage}, ${name}: ${what}${error === undefined ? "" : inspect(error)}`])
  }

  /** Waits until `options.requests` more requests have ended. */
  readonly someRequests = Effect.flatMap(Deferred.make<void>(), (reached) => {
    this.#goal = { at: this.waits.length + this.options.requests, reached }
    return Deferred.await(reached)
  })

  count(act: Act | "login", millis: number): void {
    const count = this.waits.push([this.stage, act, millis])
    if (count === this.#goal?.at) Deferred.unsafeDone(this.#goal.reached, Effect.void)
  }
}

/** Sends a request to a random node that is up. */
const ask = (world: World, act: Act | "login", user: User, cookie?: string) =>
  Effect.gen(function*() {
    const node = yield* Effect.orDie(Random.choice(world.nodes.filter(({ isUp }) => isUp)))
    const handler = Effect.match(act === "login" ? login(user.name) : handlerOf(act), {
      onFailure: (failed) => ({ failed, found: undefined }),
      onSuccess: (found) => ({ failed: undefined, found })
    })
    const began = performance.now()
    const { cookie: after, error, result } = yield* node.handle(visit(Visits, handler, cookie))
    world.count(act, performance.now() - began)
    return { act, after, ...(error === undefined ? result : { failed: error, found: undefined }) }
  })

type Answer = Effect.Effect.Success<ReturnType<typeof ask>>

/** Reports what is wrong with an answer. `end`: the operation that ended the cookie at the same time. */
const reportViolations = (world: World, user: User, { act, failed, found }: Answer, added: number, end?: Act): void => {
  const mayBeLate = end !== undefined && act !== end
  if (mayBeLate && (failed?._tag === "SessionGone" || found?.name === "anonymous")) return
  if (found === undefined) return world.report("error", user, act, failed)
  if (found.name !== user.name) return world.report("logout", user, `${act} is for ${found.name}`)
  const isWhole = act === "check" ? found.n === added : found.n >= added
  if (!isWhole) world.report("lost update", user, `${act} found ${found.n}, of ${added}`)
  if (act === "add") user.added++
}

const checkDead = (world: World, user: User, cookie: string) =>
  Effect.map(ask(world, "check", user, cookie), ({ failed, found }) => {
    if (found === undefined) world.report("error", user, "a dead cookie", failed)
    else if (found.name !== "anonymous") world.report("revived", user, `a dead cookie is for ${found.name}`)
  })

/** One visit: a login, or concurrent requests, one of which may end the session. */
const call = (world: World, user: User) =>
  Effect.gen(function*() {
    const { added, cookie } = user
    if (cookie === undefined) {
      const answer = yield* ask(world, "login", user)
      Object.assign(user, { added: 0, cookie: answer.after })
      return reportViolations(world, user, answer, 0)
    }
    const dice = yield* Random.next
    const end: Act | undefined = dice < 0.04 ? "logout" : dice < 0.12 ? "rotate" : undefined
    const draw = Effect.map(Random.next, (dice): Act => dice < 0.75 ? "add" : "look")
    const acts = yield* Effect.replicateEffect(draw, yield* Random.nextIntBetween(1, 4))
    const all = end === undefined ? acts : [...acts, end]
    const answers = yield* Effect.forEach(all, (act) => ask(world, act, user, cookie), { concurrency: "unbounded" })
    for (const answer of answers) reportViolations(world, user, answer, added, end)
    if (end === undefined) return
    user.cookie = answers.at(-1)?.after
    if (user.cookie === cookie) return world.report("error", user, `its cookie stays after a ${end}`)
    world.dead.push([user, cookie])
    yield* checkDead(world, user, cookie)
  })

/** Runs the visits of its share of the users, one after another. */
const visitor = (world: World, at: number) =>
  Effect.gen(function*() {
    const share = world.users.filter((_, i) => i % world.options.visitors === at)
    while (!world.isClosing) {
      // Otherwise the few users who have logged out would rarely be drawn.
      const out = (yield* Random.nextBoolean) ? share.filter(({ cookie }) => cookie === undefined) : []
      yield* call(world, yield* Effect.orDie(Random.choice(out.length > 0 ? out : share)))
      yield* Effect.sleep(world.options.pause)
    }
  }).pipe(Effect.withRandom(Random.make(world.options.seed + at)))

/** Checks every session while there is no other request. */
const checkAll = (world: World) => {
  const alive = world.users.flatMap((user) =>
    user.cookie === undefined ? [] : [
      Effect.map(ask(world, "check", user, user.cookie), (answer) => reportViolations(world, user, answer, user.added))
    ]
  )
  const dead = world.dead.map(([user, cookie]) => checkDead(world, user, cookie))
  return Effect.as(Effect.all([...alive, ...dead], { concurrency: 32, discard: true }), alive.length)
}

/** Migrates the remaining records of a store to another one. */
export const copy = (
  from: Store,
  to: Store
): Effect.Effect<Pick<MigratingStore.CopyProgress, "moved" | "ended">, unknown> =>
  Effect.gen(function*() {
    const [old, fresh] = yield* Effect.all([Layer.build(from), Layer.build(to)])
    const options = { namespace: Visits.namespace }
    const copying = MigratingStore.copy(Context.get(old, SessionStore), Context.get(fresh, SessionStore), options)
    return yield* Effect.flatten(Stream.runLast(copying))
  }).pipe(Effect.scoped)

/** Migrates in one direction under load. */
const go = (world: World, from: Store, to: Store) =>
  Effect.gen(function*() {
    const waits: World["waits"] = world.waits = []
    world.isClosing = false
    const rollOut = (stage: World["stage"], store: Store) =>
      Effect.forEach(world.nodes, (node) => {
        world.stage = stage
        return Effect.zipRight(node.switchTo(store), world.someRequests)
      })
    const steps = Effect.gen(function*() {
      yield* rollOut("old alone", from)
      yield* rollOut("prepare", MigratingStore.layer(from, to, { phase: "prepare" }))
      yield* rollOut("move", MigratingStore.layer(from, to, { phase: "move" }))
      world.stage = "copy"
      const [time, progress] = yield* Effect.timed((world.options.copy ?? copy)(from, to))
      yield* rollOut("new alone", to)
      return { ...progress, seconds: Duration.toSeconds(time) }
    }).pipe(Effect.ensuring(Effect.sync(() => world.isClosing = true)))
    const crowd = Array.from({ length: world.options.visitors }, (_, at) => visitor(world, at))
    const [copied] = yield* Effect.all([steps, Effect.all(crowd, { concurrency: "unbounded" })], { concurrency: 2 })

    world.waits = []
    const alive = yield* checkAll(world)
    const count = Effect.flatMap(SessionStore, (store) => store.count(Date.now()))
    return { alive, copied, inOld: yield* Effect.provide(count, from), inNew: yield* Effect.provide(count, to), waits }
  })

/** Migrates from the first store to the second and back. */
export const migrateThereAndBack = (options: Options) =>
  Effect.gen(function*() {
    const nodes = yield* Effect.replicateEffect(makeNode(options.first), 3)
    const names = Array.from({ length: options.sessions }, (_, i) => `user-${i}`)
    const users = names.map((name): User => ({ name, cookie: undefined, added: 0 }))
    const world = new World(options, nodes, users)
    yield* Effect.forEach(users, (user) => call(world, user), { concurrency: 16, discard: true })
    const there = yield* go(world, options.first, options.second)
    const back = yield* go(world, options.second, options.first)
    return { there, back, findings: world.findings }
  }).pipe(Effect.scoped, Effect.withRandom(Random.make(options.seed)))
