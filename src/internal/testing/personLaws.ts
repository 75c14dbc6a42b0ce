/**
 * The sessions of a person: logins, step-ups, impersonation, lists of devices, limits, and the reasons of an end.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { Law } from "../../Law.js"
import * as Session from "../../Session.js"
import type { CookieValue, SessionEngine } from "../../SessionEngine.js"
import type { SessionError } from "../../SessionError.js"
import type { SessionHandle } from "../../SessionHandle.js"
import type { SessionRevocation } from "../../SessionRevocation.js"
import type { Sessions, SessionService } from "../../SessionService.js"
import type { Store } from "../../SessionStore.js"
import { SessionStore } from "../../SessionStore.js"
import * as StoredEngine from "../../StoredEngine.js"
import { intercepted } from "../store/intercepted.js"
import type { Interception } from "../store/intercepted.js"
import { someOrders } from "./interleave.js"
import { byChance, count, equal, holds, law, range, together } from "./law.js"

const options = {
  schema: Schema.Struct({
    cart: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] }),
    returnTo: Schema.optional(Schema.String)
  }),
  context: Schema.Struct({ browser: Schema.String }),
  touchEvery: 0,
  // No request times out while the scheduler runs others: a timeout would change the order under test.
  commitTimeout: "1 minute"
} as const

type Data = typeof options.schema.Type
type Browser = typeof options.context.Type
type Handle = SessionHandle<Data, never, Browser>

/** A login carries the cart over, and nothing else. */
class Person extends Session.Tag<Person>()("effect-session/testing/Person", { ...options, carryOver: ["cart"] }) {}

/** A limit that ends the oldest session. */
class Limited extends Session.Tag<Limited>()("effect-session/testing/Limited", { ...options, maxPerSubject: 3 }) {}

/** A limit that denies a login. */
class Denying extends Session.Tag<Denying>()("effect-session/testing/Denying", {
  ...options,
  maxPerSubject: { max: 3, onFull: "deny" }
}) {}

/** The engine under test, over a store. */
export type PersonEngine = Layer.Layer<SessionEngine | SessionRevocation, unknown, SessionStore>

/** The outcome of a request, and the cookie that the browser has after it. */
interface Answer<B> {
  readonly exit: Exit.Exit<B, unknown>
  readonly error: SessionError | undefined
  readonly cookie: CookieValue | undefined
}

const isDone = ({ error, exit }: Answer<unknown>): boolean => Exit.isSuccess(exit) && error === undefined

/** Builds a process on the store that shares no memory with others. */
const processOn = <Self, E>(
  tag: {
    readonly layer: Layer.Layer<SessionService<Self>, E, SessionEngine | SessionRevocation>
    readonly service: Context.Tag<SessionService<Self>, Sessions<Data, Browser>>
  },
  engine: PersonEngine,
  store: Store
) =>
  Effect.map(
    Effect.scoped(Layer.build(
      tag.layer.pipe(Layer.provideMerge(engine), Layer.provide(Layer.succeed(SessionStore, store)))
    )),
    (context) => {
      const sessions = Context.get(context, tag.service)
      const inProcess = <B, E>(effect: Effect.Effect<B, E, SessionRevocation>) => Effect.provide(effect, context)
      return {
        sessions,
        inProcess,
        /** Makes a request that presents the cookie. `status` is that of a handler that succeeds. */
        request: <B>(
          cookie: CookieValue | undefined,
          handler: (session: Handle) => Effect.Effect<B, unknown, SessionRevocation>,
          status = 200
        ): Effect.Effect<Answer<B>> =>
          Effect.gen(function*() {
            const header = cookie === undefined ? undefined : `${sessions.cookie.name}=${Redacted.value(cookie)}`
            const session = sessions.request(header)
            const exit = yield* Effect.exit(inProcess(handler(session)))
            const error = yield* session.finish(Exit.isSuccess(exit) ? status : 500)
            const setCookie = session.used?.setCookie
            return {
              exit,
              error,
              cookie: setCookie === undefined ? cookie : setCookie === "expire" ? undefined : setCookie.value
            }
          })
      }
    }
  )

type Process = Effect.Effect.Success<ReturnType<typeof processOn>>

/** Logs in, and returns the cookie. */
const login = (process: Process, subject = "ann", cookie?: CookieValue) =>
  Effect.map(process.request(cookie, (session) => session.authenticate(subject)), (answer) => answer.cookie)

const subjectAt = (process: Process, cookie: CookieValue | undefined) =>
  Effect.map(
    process.request(cookie, (session) => session.subject),
    ({ exit }) => Exit.isSuccess(exit) ? Option.getOrUndefined(exit.value) : "failed"
  )

const resultOf = <B>({ exit }: Answer<B>): B | undefined => Exit.isSuccess(exit) ? exit.value : undefined

const text = (cookie: CookieValue | undefined) => cookie === undefined ? undefined : Redacted.value(cookie)

const endsOf = (process: Process, subject: string) =>
  Effect.map(process.inProcess(process.sessions.own(subject)), (all) => all.map(({ deadline }) => deadline))

/**
 * The laws on an engine. `replays`: whether a change is replayed after a conflict. Otherwise a request that meets a concurrent save fails
 * with `SessionConflict`.
 */
export const personLawsOf = (engine: PersonEngine, { replays = true } = {}): ReadonlyArray<Law> => {
  const person = (name: string, body: (process: Process, store: Store) => Effect.Effect<void, unknown>): Law =>
    law(name, function*(store) {
      yield* body(yield* processOn(Person, engine, store), store)
    })

  /** Runs two requests to the session of one cookie, each in a process of its own, in random orders of their store calls. */
  const inSomeOrders = (
    store: Store,
    prepare: (process: Process) => Effect.Effect<CookieValue | undefined, unknown>,
    requests: (
      cookie: CookieValue | undefined
    ) => ReadonlyArray<(process: Process) => Effect.Effect<unknown, unknown>>,
    check: (process: Process, cookie: CookieValue | undefined) => Effect.Effect<void, unknown>
  ) => {
    const scene = Effect.gen(function*() {
      const observer = yield* processOn(Person, engine, store)
      const cookie = yield* prepare(observer)
      return {
        requests: requests(cookie).map((request) => (suspendCall: Interception) =>
          Effect.flatMap(processOn(Person, engine, intercepted(store, suspendCall)), request)
        ),
        check: Effect.zipRight(
          check(observer, cookie),
          // The next order begins without sessions.
          observer.inProcess(observer.sessions.revokeAll)
        )
      }
    })
    return byChance((seed) => someOrders(scene, 10, seed))
  }

  return [
    person(
      "a login has its methods, level and context, in the session and in the list, until the next login",
      (process) =>
        Effect.gen(function*() {
          const first = yield* process.request(undefined, (session) =>
            session.authenticate("ann", {
              methods: ["pwd", "otp"],
              level: 2,
              remember: true,
              context: { browser: "Firefox" }
            }))
          const seen = (cookie: CookieValue | undefined) =>
            Effect.map(
              process.request(cookie, (session) =>
                Effect.all([
                  session.methods,
                  session.level,
                  session.isRemembered,
                  Effect.map(session.clientContext, Option.getOrUndefined)
                ])),
              resultOf
            )
          yield* equal("the session", yield* seen(first.cookie), [["pwd", "otp"], 2, true, { browser: "Firefox" }])
          // A save and a rotation keep them.
          const saved = yield* process.request(first.cookie, (session) => session.set("cart", ["tea"]))
          const rotated = yield* process.request(saved.cookie, (session) => session.rotate)
          yield* equal("after a rotation", yield* seen(rotated.cookie), [["pwd", "otp"], 2, true, {
            browser: "Firefox"
          }])
          const [listed, ...others] = yield* process.inProcess(process.sessions.list("ann"))
          yield* equal("sessions", others.length, 0)
          yield* equal("the list", [listed?.methods, listed?.level, listed?.isRemembered, listed?.context], [
            ["pwd", "otp"],
            2,
            true,
            { browser: "Firefox" }
          ])
          const again = yield* process.request(
            rotated.cookie,
            (session) => session.authenticate("ann", { methods: ["pwd"] })
          )
          yield* equal("after the next login", yield* seen(again.cookie), [["pwd"], 1, false, { browser: "Firefox" }])
        })
    ),

    person(
      "a login carries over what is declared and what its request has set, and nothing else",
      (process) =>
        Effect.gen(function*() {
          const anonymous = yield* process.request(
            undefined,
            (session) => session.patch({ cart: ["tea"], returnTo: "https://evil.example" })
          )
          const plain = yield* process.request(anonymous.cookie, (session) => session.authenticate("ann"))
          yield* equal(
            "the value",
            resultOf(yield* process.request(plain.cookie, (session) => session.value)),
            { cart: ["tea"] }
          )
          yield* equal("the old cookie", yield* subjectAt(process, anonymous.cookie), undefined)
          const other = yield* process.request(
            undefined,
            (session) => session.patch({ returnTo: "https://evil.example" })
          )
          const set = yield* process.request(
            other.cookie,
            (session) => Effect.zipRight(session.set("returnTo", "/orders"), session.authenticate("ann"))
          )
          yield* equal(
            "the value that the login has set",
            resultOf(yield* process.request(set.cookie, (session) => session.value)),
            { cart: [], returnTo: "/orders" }
          )
        })
    ),

    law("of two logins with one anonymous session at most one gets its data", function*(store) {
      yield* inSomeOrders(
        store,
        (process) =>
          Effect.map(process.request(undefined, (session) => session.set("cart", ["tea"])), ({ cookie }) => cookie),
        (cookie) => ["ann", "bob"].map((subject) => (process) => login(process, subject, cookie)),
        (process) =>
          Effect.gen(function*() {
            const all = yield* Effect.forEach(["ann", "bob"], (subject) =>
              process.inProcess(process.sessions.list(subject)))
            yield* equal(
              "sessions",
              all.map(({ length }) =>
                length
              ),
              [1, 1]
            )
          })
      )
    }),

    person(
      "a login that is answered with 401 or 403 does not log in, and writes nothing",
      (process) =>
        Effect.gen(function*() {
          for (const status of [401, 403]) {
            const anonymous = yield* process.request(undefined, (session) => session.set("cart", ["tea"]))
            const refused = yield* process.request(
              anonymous.cookie,
              (session) => Effect.zipRight(session.set("returnTo", "/"), session.authenticate("ann")),
              status
            )
            yield* equal(`${status}: the cookie`, text(refused.cookie), text(anonymous.cookie))
            yield* equal(
              `${status}: the value`,
              resultOf(yield* process.request(anonymous.cookie, (session) => session.value)),
              { cart: ["tea"] }
            )
          }
          yield* equal("sessions", (yield* process.inProcess(process.sessions.list("ann"))).length, 0)
        })
    ),

    person(
      "a step-up and its end each make a new token, and do not move the deadline",
      (process) =>
        Effect.gen(function*() {
          const before = yield* process.request(
            undefined,
            (session) =>
              Effect.zipRight(session.authenticate("ann", { methods: ["pwd"] }), session.set("cart", ["tea"]))
          )
          const deadlines = yield* endsOf(process, "ann")
          const up = yield* process.request(before.cookie, (session) => session.elevate({ methods: ["otp"], level: 2 }))
          yield* equal("the old cookie", yield* subjectAt(process, before.cookie), undefined)
          const strength = (cookie: CookieValue | undefined) =>
            Effect.map(
              process.request(cookie, (session) => Effect.all([session.methods, session.level, session.get("cart")])),
              resultOf
            )
          yield* equal("the strength", yield* strength(up.cookie), [["pwd", "otp"], 2, ["tea"]])
          const down = yield* process.request(up.cookie, (session) => session.drop)
          yield* equal("the elevated cookie", yield* subjectAt(process, up.cookie), undefined)
          yield* equal("the strength after its end", yield* strength(down.cookie), [["pwd"], 1, ["tea"]])
          yield* equal("the deadline", yield* endsOf(process, "ann"), deadlines)
          const anonymous = yield* process.request(undefined, (session) => session.elevate({ methods: [], level: 2 }))
          yield* equal("a step-up of an anonymous visitor", isDone(anonymous), false)
        })
    ),

    person(
      "an impersonation shows no data of either side, and ends with the sessions of who acts",
      (process) =>
        Effect.gen(function*() {
          const support = yield* process.request(
            undefined,
            (session) => Effect.zipRight(session.authenticate("support"), session.set("cart", ["secret"]))
          )
          const acting = yield* process.request(support.cookie, (session) => session.impersonate("ann"))
          yield* equal("the old cookie", yield* subjectAt(process, support.cookie), undefined)
          yield* equal(
            "the session",
            resultOf(
              yield* process.request(acting.cookie, (session) =>
                Effect.all([
                  Effect.map(session.subject, Option.getOrUndefined),
                  Effect.map(session.impersonator, Option.getOrUndefined),
                  session.get("cart")
                ]))
            ),
            ["ann", "support", []]
          )
          const fresh = yield* process.request(acting.cookie, (session) => session.requireFresh({ within: "1 hour" }))
          yield* equal("it passes for a fresh login", isDone(fresh), false)
          yield* equal("sessions of the subject", (yield* process.inProcess(process.sessions.list("ann"))).length, 0)
          yield* process.inProcess(process.sessions.revokeSubject("ann"))
          const ordered = yield* process.request(acting.cookie, (session) => session.set("cart", ["of ann"]))
          yield* equal("it lives on", isDone(ordered), true)
          const ended = yield* process.request(ordered.cookie, (session) => session.endImpersonation)
          yield* equal("the impersonating cookie", yield* subjectAt(process, ordered.cookie), undefined)
          yield* equal(
            "the session after the end",
            resultOf(
              yield* process.request(
                ended.cookie,
                (session) => Effect.all([Effect.map(session.subject, Option.getOrUndefined), session.get("cart")])
              )
            ),
            ["support", []]
          )
          const again = yield* process.request(ended.cookie, (session) => session.impersonate("ann"))
          yield* process.inProcess(process.sessions.revokeSubject("support"))
          yield* equal("after the revocation of who acts", yield* subjectAt(process, again.cookie), undefined)
        })
    ),

    person(
      "`own` marks the session of the request, and `revokeOwn` ends no session of another subject",
      (process) =>
        Effect.gen(function*() {
          const [here, there] = [yield* login(process), yield* login(process)]
          const foreign = yield* login(process, "bob")
          const own = (cookie: CookieValue | undefined) =>
            Effect.map(
              process.request(cookie, (session) => Effect.provideService(process.sessions.own("ann"), Person, session)),
              (answer) => resultOf(answer) ?? []
            )
          const seen = yield* own(here)
          yield* equal("sessions", seen.length, 2)
          yield* equal("marks", seen.filter(({ isCurrent }) => isCurrent).length, 1)
          const [elsewhere] = seen.filter(({ isCurrent }) => !isCurrent)
          const [others] = yield* process.inProcess(process.sessions.list("bob"))
          if (elsewhere === undefined || others === undefined) return yield* holds("both are listed", false)
          const revoked = (id: typeof others.id) => process.inProcess(process.sessions.revokeOwn("ann", id))
          yield* equal("the session of another subject", yield* revoked(others.id), false)
          yield* equal("the other subject", yield* subjectAt(process, foreign), "bob")
          yield* equal("one's own session", yield* revoked(elsewhere.id), true)
          yield* equal("again", yield* revoked(elsewhere.id), false)
          yield* equal("the ended session", yield* subjectAt(process, there), undefined)
          yield* equal("this session", yield* subjectAt(process, here), "ann")
          const first = yield* process.inProcess(process.sessions.own("ann", { limit: 1 }))
          yield* equal("the next page", yield* process.inProcess(process.sessions.own("ann", { after: first[0] })), [])
        })
    ),

    person(
      "`revokeOthers` moves this session to a new token and ends every other one of the subject",
      (process) =>
        Effect.gen(function*() {
          const [here, there, foreign] = [yield* login(process), yield* login(process), yield* login(process, "bob")]
          const answer = yield* process.request(
            here,
            (session) => Effect.zipRight(session.set("cart", ["tea"]), session.revokeOthers)
          )
          yield* equal("the answer", isDone(answer), true)
          yield* equal("the old cookie", yield* subjectAt(process, here), undefined)
          yield* equal("another session", yield* subjectAt(process, there), undefined)
          yield* equal("another subject", yield* subjectAt(process, foreign), "bob")
          yield* equal(
            "the new cookie",
            resultOf(
              yield* process.request(
                answer.cookie,
                (session) => Effect.all([Effect.map(session.subject, Option.getOrUndefined), session.get("cart")])
              )
            ),
            ["ann", ["tea"]]
          )
        })
    ),

    law("of `revokeOthers` and another request none revives a session that has ended", function*(store) {
      const revokesOthers = { rotates: true, handler: (session: Handle) => session.revokeOthers }
      const others = [
        { rotates: false, handler: (session: Handle) => session.set("cart", ["tea"]) },
        { rotates: true, handler: (session: Handle) => session.authenticate("ann") },
        revokesOthers
      ]
      for (const other of others) {
        const answers: Array<{ readonly rotated: boolean; readonly cookie: CookieValue | undefined }> = []
        yield* inSomeOrders(
          store,
          (process) => Effect.tap(login(process), () => Effect.sync(() => answers.splice(0))),
          (cookie) =>
            [revokesOthers, other].map(({ handler, rotates }) => (process: Process) =>
              Effect.map(
                process.request<void>(cookie, handler),
                (answer) => void answers.push({ rotated: rotates && isDone(answer), cookie: answer.cookie })
              )
            ),
          (process, cookie) =>
            Effect.gen(function*() {
              if (replays || answers.some(({ rotated }) => rotated)) {
                yield* equal("the cookie that both have presented", yield* subjectAt(process, cookie), undefined)
              }
              const live = yield* Effect.forEach(answers, ({ cookie }) =>
                Effect.map(
                  process.request(cookie, (session) => Effect.all([session.subject, session.id])),
                  (answer) => resultOf(answer) ?? []
                ))
              const ids = live.flatMap(([subject, id]) =>
                subject === undefined || id === undefined || Option.isNone(subject) ? [] : Option.toArray(id)
              )
              yield* equal(
                "sessions that no browser has",
                (yield* process.inProcess(process.sessions.list("ann"))).length,
                new Set(ids).size
              )
            })
        )
      }
    }),

    person(
      "a login is fresh for as long as required, and a remembered one is not",
      (process) =>
        Effect.gen(function*() {
          const now = yield* Clock.currentTimeMillis
          const passes = (cookie: CookieValue | undefined, requirements: Parameters<Handle["requireFresh"]>[0]) =>
            Effect.map(
              process.request(cookie, (session) => session.requireFresh(requirements)),
              (answer) => isDone(answer)
            )
          const { cookie } = yield* process.request(
            undefined,
            (session) => session.authenticate("ann", { methods: ["pwd"], level: 2 })
          )
          yield* equal("a new login", yield* passes(cookie, { within: "1 hour", methods: ["pwd"], level: 2 }), true)
          yield* equal("another method", yield* passes(cookie, { methods: ["otp"] }), false)
          yield* equal("a higher level", yield* passes(cookie, { level: 3 }), false)
          yield* equal("an anonymous visitor", yield* passes(undefined, {}), false)
          const required = yield* process.request(undefined, (session) => session.requireSubject)
          yield* equal("the subject of an anonymous visitor", resultOf(required), undefined)
          const subject = yield* process.request(cookie, (session) => session.requireSubject)
          yield* equal("the subject", resultOf(subject), "ann")
          const remembered = yield* process.request(
            undefined,
            (session) => session.authenticate("ann", { remember: true })
          )
          const ends = yield* process.request(remembered.cookie, (session) => session.expireAtBrowserClose)
          yield* equal("its cookie ends with the browser", resultOf(ends), false)
          yield* equal("a remembered login", yield* passes(remembered.cookie, {}), false)
          yield* equal("where it is allowed", yield* passes(remembered.cookie, { allowRemembered: true }), true)
          const up = yield* process.request(
            remembered.cookie,
            (session) => session.elevate({ methods: ["pwd"], level: 1 })
          )
          yield* equal("after a step-up", yield* passes(up.cookie, { within: "1 hour", methods: ["pwd"] }), true)
          yield* holds("the time does not go back", (yield* Clock.currentTimeMillis) >= now)
        })
    ),

    law("50 logins at once with a limit of 3 leave exactly 3 sessions", function*(store) {
      if (store.capabilities.limitsSubjects !== true) return
      const limited = yield* processOn(Limited, engine, store)
      const answers = yield* together(range(50).map(() => limited.request(undefined, (s) => s.authenticate("ann"))))
      yield* equal("logins that succeed", count(answers.map(isDone), true), 50)
      const live = yield* Effect.filter(
        answers,
        ({ cookie }) => Effect.map(subjectAt(limited, cookie), (subject) => subject === "ann")
      )
      yield* equal("live sessions", live.length, 3)
      yield* equal("listed sessions", (yield* limited.inProcess(limited.sessions.list("ann"))).length, 3)

      const denying = yield* processOn(Denying, engine, store)
      const denied = yield* together(range(50).map(() => denying.request(undefined, (s) => s.authenticate("ann"))))
      yield* equal("logins that are not denied", count(denied.map(isDone), true), 3)
      yield* equal(
        "errors of the others",
        [...new Set(denied.flatMap(({ error }) => error === undefined ? [] : [error._tag]))],
        ["SessionLimitReached"]
      )
      yield* equal("live sessions", (yield* denying.inProcess(denying.sessions.list("ann"))).length, 3)
    }),

    law("a limit counts each session once, and does not deny a new token for one that is there", function*(store) {
      if (store.capabilities.limitsSubjects !== true) return
      const process = yield* processOn(Denying, engine, store)
      const [first] = [yield* login(process), yield* login(process), yield* login(process)]
      const again = yield* process.request(first, (session) => session.authenticate("ann"))
      yield* equal("a login in a session of the subject", isDone(again), true)
      const up = yield* process.request(again.cookie, (session) => session.elevate({ methods: ["otp"], level: 2 }))
      yield* equal("a step-up", isDone(up), true)
      const anonymous = yield* process.request(undefined, (session) => session.set("cart", ["tea"]))
      const fourth = yield* process.request(anonymous.cookie, (session) => session.authenticate("ann"))
      yield* equal("a fourth login", isDone(fourth), false)
      yield* equal(
        "the cart of the denied visitor",
        resultOf(
          yield* process.request(anonymous.cookie, (session) => session.get("cart"))
        ),
        ["tea"]
      )
      yield* process.request(up.cookie, (session) => session.destroy)
      const after = yield* process.request(anonymous.cookie, (session) => session.authenticate("ann"))
      yield* equal("a login after a logout", isDone(after), true)
    }),

    person("a reason for an absent session is never a wrong one", (process) =>
      Effect.gen(function*() {
        const reason = (cookie: CookieValue | undefined) =>
          Effect.map(
            process.request(cookie, (session) => session.absence),
            (answer) => Option.getOrUndefined(resultOf(answer) ?? Option.none())
          )
        const expect = (what: string, cookie: CookieValue | undefined, expected: string) =>
          Effect.flatMap(reason(cookie), (actual) =>
            holds(`${what}: ${expected} or unknown, but got ${actual}`, actual === expected || actual === "unknown"))
        yield* equal("without a cookie", yield* reason(undefined), "noCookie")
        const live = yield* login(process)
        yield* equal("a live session", yield* reason(live), undefined)
        yield* equal("a malformed cookie", yield* reason(Redacted.make("x")), "malformed")
        const rotated = yield* process.request(live, (session) =>
          session.rotate)
        yield* expect("after a rotation", live, "rotated")
        yield* process.request(rotated.cookie, (session) =>
          session.destroy)
        yield* expect("after a logout", rotated.cookie, "loggedOut")
        const byId = yield* login(process)
        const [listed] = yield* process.inProcess(process.sessions.list("ann"))
        if (listed !== undefined) yield* process.inProcess(process.sessions.revoke(listed.id))
        yield* expect("after a revocation by id", byId, "revoked")
        const bySubject = yield* login(process)
        yield* process.inProcess(process.sessions.revokeSubject("ann"))
        yield* expect("after a revocation of the subject", bySubject, "subjectRevoked")
        const byAll = yield* login(process)
        yield* process.inProcess(process.sessions.revokeAll)
        yield* expect("after a revocation of all", byAll, "allRevoked")
      }))
  ]
}

export const personLaws: ReadonlyArray<Law> = personLawsOf(StoredEngine.layerWith({ timeout: "1 minute" }))
