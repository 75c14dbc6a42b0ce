/**
 * Limits per subject: a login and the check of the number of sessions are one atomic step.
 *
 * The laws succeed if the store does not declare `limitsSubjects`.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Stored } from "../../Fixtures.js"
import {
  aRecord,
  freshId,
  freshKey,
  hour,
  isAlive,
  isDead,
  isKeyDead,
  isThere,
  minute,
  namespace,
  start,
  stored
} from "../../Fixtures.js"
import type { Law } from "../../Law.js"
import type { SessionId } from "../../SessionId.js"
import type { SessionRecord } from "../../SessionRecord.js"
import type { CreateOutcome, RotateOutcome, Store, SubjectLimit } from "../../SessionStore.js"
import { SessionStore } from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"
import { intercepted } from "../store/intercepted.js"
import type { Scene } from "./interleave.js"
import { everyOrder } from "./interleave.js"
import { equal, holds, law, range, together } from "./law.js"

/** Makes a law that succeeds if the store does not declare `limitsSubjects`. */
const limitLaw = (...[name, body]: Parameters<typeof law>): Law => {
  const limited = law(`if the store declares \`limitsSubjects\`, ${name}`, body)
  return {
    ...limited,
    law: Effect.flatMap(
      SessionStore,
      ({ capabilities }) => Effect.when(limited.law, () => capabilities.limitsSubjects === true)
    )
  }
}

const deny = (max: number): SubjectLimit => ({ max, onFull: "deny" })
const oldest = (max: number): SubjectLimit => ({ max, onFull: "oldest" })

type Outcome = CreateOutcome | RotateOutcome

const evictedIds = (outcome: Outcome): ReadonlyArray<SessionId> => typeof outcome === "object" ? outcome.ids : []
const isWritten = (outcome: Outcome): boolean =>
  outcome === "created" || outcome === "saved" || typeof outcome === "object"

/** A session that may be written by a login, and the call that writes it. */
interface Login extends Stored {
  readonly write: (limit?: SubjectLimit, now?: number) => Effect.Effect<Outcome, unknown>
}

/** A login that creates a session. */
const creation = (store: Store, fields: Partial<SessionRecord> = {}): Effect.Effect<Login> =>
  Effect.sync(() => {
    const [key, record] = [freshKey(), aRecord(fields)]
    return { key, record, write: (limit, now = start) => store.create(key, record, now, limit) }
  })

/** A login that rotates the session of an anonymous visitor, which this function stores. */
const rotation = (store: Store, fields: Partial<SessionRecord> = {}) =>
  Effect.gen(function*() {
    const visitor = yield* stored(store, { subject: undefined, authenticatedAt: undefined })
    const login: Login & { readonly visitor: Stored } = {
      visitor,
      key: freshKey(),
      record: aRecord({ ...fields, version: 2 }),
      write: (limit, now = start) =>
        store.rotate(visitor.key, login.key, login.record, { expectedVersion: 1, now, limit })
    }
    return login
  })

/** Both ways of a login. */
const logins = [["create", creation], ["rotate", rotation]] as const

const idsOf = (all: Iterable<{ readonly id: string }>) => Array.from(all, ({ id }) => id).sort()
const listed = (store: Store, subject: string, now = start) => Effect.map(store.list(namespace, subject, now), idsOf)
const recordsOf = (all: ReadonlyArray<Stored>) => all.map(({ record }) => record)
const allAlive = (store: Store, all: ReadonlyArray<Stored>, now = start) =>
  Effect.forEach(all, (one) => isAlive(store, one, now), { discard: true })

/** Runs 50 logins of one subject at once, half of each kind. */
const fiftyAtOnce = (store: Store, limit: SubjectLimit) =>
  Effect.gen(function*() {
    const logins = yield* together(
      range(50).map((i): Effect.Effect<Login, unknown> => (i % 2 === 0 ? creation(store) : rotation(store)))
    )
    const outcomes = yield* together(logins.map(({ write }) => write(limit)))
    return logins.map((login, i) => ({ ...login, outcome: outcomes[i] ?? "gone" }))
  })

export const limitLaws: ReadonlyArray<Law> = [
  law("a store that does not declare `limitsSubjects` ignores limits", function*(store) {
    if (store.capabilities.limitsSubjects === true) return
    const first = yield* stored(store)
    for (const limit of [deny(1), oldest(1)]) {
      for (const [name, login] of logins) {
        const one: Login = yield* login(store)
        yield* equal(name, yield* one.write(limit), name === "create" ? "created" : "saved")
        yield* isAlive(store, one, start)
      }
    }
    yield* isAlive(store, first, start)
  }),

  limitLaw("of 50 concurrent logins with a limit of 3 that denies, exactly 3 succeed", function*(store) {
    const all = yield* fiftyAtOnce(store, deny(3))
    const [written, full] = [
      all.filter(({ outcome }) => isWritten(outcome)),
      all.filter(({ outcome }) => outcome === "full")
    ]
    yield* equal("how many were written", written.length, 3)
    yield* equal("how many were denied", full.length, 47)
    yield* equal("how many ended", written.flatMap(({ outcome }) => evictedIds(outcome)).length, 0)
    yield* equal("the list", yield* listed(store, "ann"), idsOf(recordsOf(written)))
    yield* equal(
      "the keys that exist",
      yield* together(all.map(({ key }) => isThere(store, key, start))),
      all.map(({ outcome }) => isWritten(outcome))
    )
  }),

  limitLaw(
    "50 concurrent logins with a limit of 3 that ends the oldest leave exactly 3 sessions, and return the ids of the others",
    function*(store) {
      const all = yield* fiftyAtOnce(store, oldest(3))
      yield* equal("all are written", all.filter(({ outcome }) => !isWritten(outcome)).length, 0)
      const ended = all.flatMap(({ outcome }) => evictedIds(outcome))
      const left = yield* listed(store, "ann")
      yield* equal("how many are left", left.length, 3)
      yield* equal("those that ended, once each, and those left", [...ended, ...left].sort(), idsOf(recordsOf(all)))
      yield* equal(
        "the keys that exist",
        yield* together(all.map(({ key }) => isThere(store, key, start))),
        all.map(({ record }) => left.includes(record.id))
      )
    }
  ),

  limitLaw("a login beyond the limit ends the oldest sessions, as many as necessary, never itself", function*(store) {
    for (const [name, login] of logins) {
      const subject = `of ${name}`
      // Two are of the same moment: then the lower id counts as older.
      const [low = freshId(), high = freshId()] = [freshId(), freshId()].sort()
      const third = yield* stored(store, { subject, createdAt: start - 2, id: high })
      const second = yield* stored(store, { subject, createdAt: start - 2, id: low })
      const fourth = yield* stored(store, { subject, createdAt: start - 1 })
      const first = yield* stored(store, { subject, createdAt: start - 3 })
      const [earlier, later]: [Login, Login] = [
        yield* login(store, { subject, createdAt: start - 4 }),
        yield* login(store, { subject })
      ]
      const outcome = yield* earlier.write(oldest(4))
      yield* equal(`${name}: the oldest other session ended`, evictedIds(outcome), [first.record.id])
      yield* isDead(store, first, start)
      yield* allAlive(store, [second, third, fourth, earlier])
      const more = evictedIds(yield* later.write(oldest(3)))
      yield* equal(`${name}: two ended`, [...more].sort(), idsOf(recordsOf([earlier, second])))
      yield* Effect.forEach([earlier, second], (one) => isDead(store, one, start))
      yield* allAlive(store, [third, fourth, later])
    }
  }),

  limitLaw("a login that the limit denies returns `full` and changes nothing", function*(store) {
    const mine = yield* Effect.forEach(range(2), () => stored(store))
    const created = yield* creation(store)
    const rotated = yield* rotation(store)
    const before = yield* store.count(start)
    for (const max of [1, 2]) {
      yield* equal("create", yield* created.write(deny(max)), "full")
      yield* equal("rotate", yield* rotated.write(deny(max)), "full")
    }
    yield* equal("the number of records", yield* store.count(start), before)
    yield* allAlive(store, [...mine, rotated.visitor])
    yield* isDead(store, created, start)
    yield* equal("the new key", yield* isThere(store, rotated.key, start), false)
    // Neither the keys nor the ids are taken.
    yield* equal("create without a limit", yield* created.write(), "created")
    yield* equal("rotate without a limit", yield* rotated.write(), "saved")
    yield* allAlive(store, [...mine, created, rotated])
  }),

  limitLaw("with a limit of 1 that ends the oldest, only the last login of a subject is alive", function*(store) {
    let last: Stored | undefined
    for (const [name, login] of [...logins, ...logins]) {
      const one: Login = yield* login(store)
      const expected = name === "create" ? "created" : "saved"
      yield* equal(name, yield* one.write(oldest(1)), last === undefined ? expected : evicting(last))
      if (last !== undefined) yield* isDead(store, last, start)
      yield* isAlive(store, one, start)
      last = one
    }
  }),

  limitLaw(
    "a limit neither counts nor ends sessions that are expired, revoked, anonymous, or of another subject or namespace",
    function*(store) {
      const now = start + 2 * minute
      const revoked = yield* stored(store)
      yield* store.revokeSubject(namespace, "ann")
      const expired = yield* stored(store, {
        expiry: { at: start + minute, deadline: undefined, lifetime: undefined }
      })
      const ended = yield* stored(store)
      yield* store.revoke(namespace, ended.record.id)
      const others = yield* Effect.forEach(
        [{ subject: "bob" }, { subject: "Ann" }, { subject: undefined }, { namespace: "another" }],
        (fields) => stored(store, { ...fields, createdAt: start - hour })
      )
      const { expired: before } = yield* store.count(now)
      const first: Login = yield* creation(store)
      yield* equal("the first login", yield* first.write(deny(1), now), "created")
      const second: Login = yield* rotation(store)
      yield* equal("the second login", yield* second.write(oldest(1), now), evicting(first))
      yield* allAlive(store, [...others, second], now)
      yield* Effect.forEach([revoked, expired, ended], (one) => isDead(store, one, now))
      yield* equal("the number of expired records", (yield* store.count(now)).expired, before)
      for (const limit of [deny(1), oldest(1)]) {
        const visitor: Login = yield* creation(store, { subject: undefined, authenticatedAt: undefined })
        yield* equal("an anonymous session", yield* visitor.write(limit, now), "created")
      }
    }
  ),

  limitLaw("`exists`, `conflict` and `gone` are returned before the limit is checked, and end no session", function*(
    store
  ) {
    const now = start + 2 * minute
    const mine = yield* Effect.forEach(range(2), () => stored(store))
    const [taken, visitor] = [
      yield* stored(store, { subject: "bob" }),
      yield* stored(store, { subject: undefined, authenticatedAt: undefined })
    ]
    const expired = yield* stored(store, {
      subject: undefined,
      authenticatedAt: undefined,
      expiry: { at: start + minute, deadline: undefined, lifetime: undefined }
    })
    for (const limit of [deny(1), oldest(1)]) {
      const rotated = (key: StoreKey, newKey: StoreKey, id: SessionId, expectedVersion: number) =>
        store.rotate(key, newKey, aRecord({ id, version: 2 }), { expectedVersion, now, limit })
      yield* equal("create, key taken", yield* store.create(taken.key, aRecord(), now, limit), "exists")
      const { id } = taken.record
      yield* equal("create, id taken", yield* store.create(freshKey(), aRecord({ id }), now, limit), "exists")
      yield* equal("rotate, version", yield* rotated(visitor.key, freshKey(), freshId(), 2), "conflict")
      yield* equal("rotate, key taken", yield* rotated(visitor.key, taken.key, freshId(), 1), "conflict")
      yield* equal("rotate, id taken", yield* rotated(visitor.key, freshKey(), id, 1), "conflict")
      yield* equal("rotate, expired", yield* rotated(expired.key, freshKey(), freshId(), 1), "gone")
      yield* equal("rotate, unknown", yield* rotated(freshKey(), freshKey(), freshId(), 1), "gone")
    }
    yield* allAlive(store, [...mine, taken, visitor], now)
  }),

  limitLaw("a rotation counts its own session once, also if its id changes", function*(store) {
    for (const limit of [deny(2), oldest(2)]) {
      for (const keepsId of [true, false]) {
        const subject = `${limit.onFull} ${keepsId}`
        const other = yield* stored(store, { subject, createdAt: start - 1 })
        let one = yield* stored(store, { subject })
        for (const version of [2, 3]) {
          const next: Stored = {
            key: freshKey(),
            record: { ...one.record, id: keepsId ? one.record.id : freshId(), version }
          }
          const options = { expectedVersion: version - 1, now: start, limit }
          yield* equal(subject, yield* store.rotate(one.key, next.key, next.record, options), "saved")
          yield* isKeyDead(store, one, start)
          yield* allAlive(store, [next, other])
          one = next
        }
      }
    }
  }),

  limitLaw(
    "a session that a limit ends stays ended despite concurrent `save`, `touch` and `rotate` calls",
    function*(store) {
      for (const i of range(5)) {
        const subject = `user ${i}`
        const ended = yield* stored(store, { subject, createdAt: start - 1 })
        const kept = yield* stored(store, { subject })
        const [login, moved] = [yield* creation(store, { subject }), freshKey()]
        const { key, record } = ended
        const options = { expectedVersion: 1, now: start }
        const [outcome] = yield* together<Outcome | "touched", unknown>([
          login.write(oldest(2)),
          store.save(key, record, options),
          store.touch(key, { lastSeenAt: start + 1, expiresAt: start + 2 * hour, now: start }),
          store.rotate(key, moved, { ...record, version: 2 }, i % 2 === 0 ? options : { ...options, limit: oldest(2) })
        ])
        yield* equal("the outcome of the login", outcome, evicting(ended))
        yield* isDead(store, ended, start)
        yield* isDead(store, { key: moved, record }, start)
        yield* allAlive(store, [kept, login])
      }
    }
  ),

  limitLaw(
    "a login with a limit and another request leave exactly the sessions that did not end, in every order of their store calls",
    function*(store) {
      for (const onFull of ["oldest", "deny"] as const) {
        for (const login of ["a login", "a login of a visitor"] as const) {
          for (const other of Object.keys(requests)) {
            yield* everyOrder(scene(store, { max: 2, onFull }, [login, other]))
          }
        }
      }
    }
  )
]

/** The outcome of a login that ends this session. */
const evicting = ({ record: { id } }: Stored): Outcome => ({ _tag: "Evicted", ids: [id] })

/** The sessions of one subject that concurrent requests use. */
interface Contest {
  readonly subject: string
  readonly limit: SubjectLimit
  readonly visitor: Stored
  readonly first: Stored
  /** The key of each session that is alive according to the answers until now, by its id. */
  readonly live: Map<SessionId, StoreKey>
  /** Every key that was ever used for the subject. */
  readonly keys: Set<StoreKey>
}

/** Updates the contest by the answer of a write. */
const applyAnswer = ({ keys, limit, live }: Contest, key: StoreKey, { id }: SessionRecord, outcome: Outcome) =>
  Effect.gen(function*() {
    keys.add(key)
    if (outcome === "full") {
      yield* equal("a denied login: the policy", limit.onFull, "deny")
      return yield* equal("a denied login: the number of live sessions", live.size, limit.max)
    }
    if (!isWritten(outcome)) return
    for (const ended of evictedIds(outcome)) {
      yield* holds("a limit never ends the session that is written", ended !== id)
      yield* holds("a session that the limit ends was alive", live.delete(ended))
    }
    live.set(id, key)
    yield* holds("the number of live sessions is within the limit", live.size <= limit.max)
  })

type Request = (store: Store, contest: Contest) => Effect.Effect<unknown, unknown>

/** Loads a record and rotates it to a record with these fields, if it is there. */
const loadAndRotate = (from: (contest: Contest) => Stored): Request => (store, contest) =>
  Effect.flatMap(
    store.load(from(contest).key, start),
    Option.match({
      onNone: () => Effect.void,
      onSome: (loaded) => {
        const key = freshKey()
        const record = { ...loaded, subject: contest.subject, version: loaded.version + 1 }
        return Effect.flatMap(
          store.rotate(from(contest).key, key, record, {
            expectedVersion: loaded.version,
            now: start,
            limit: contest.limit
          }),
          (outcome) => applyAnswer(contest, key, record, outcome)
        )
      }
    })
  )

const requests: Readonly<Record<string, Request>> = {
  "a login": (store, contest) => {
    const [key, record] = [freshKey(), aRecord({ subject: contest.subject })]
    return Effect.flatMap(
      store.create(key, record, start, contest.limit),
      (outcome) => applyAnswer(contest, key, record, outcome)
    )
  },
  "a login of a visitor": loadAndRotate(({ visitor }) => visitor),
  "a rotation": loadAndRotate(({ first }) => first),
  "a save": (store, { first }) =>
    Effect.flatMap(
      store.load(first.key, start),
      Option.match({
        onNone: () => Effect.void,
        onSome: (loaded) => store.save(first.key, loaded, { expectedVersion: loaded.version, now: start })
      })
    ),
  "a touch": (store, { first }) =>
    store.touch(first.key, { lastSeenAt: start + 1, expiresAt: start + 2 * hour, now: start }),
  "a logout": (store, { first, live }) =>
    Effect.map(store.destroy(first.key), () => live.get(first.record.id) === first.key && live.delete(first.record.id)),
  "a revocation by id": (store, { first, live, subject }) =>
    Effect.flatMap(
      store.revoke(namespace, first.record.id, subject),
      (revoked) => equal("whether the session was revoked", revoked, live.delete(first.record.id))
    ),
  "a revocation of the subject": (store, { live, subject }) =>
    Effect.map(store.revokeSubject(namespace, subject), () => live.clear())
}

const scene = (
  store: Store,
  limit: SubjectLimit,
  names: ReadonlyArray<string>
): Effect.Effect<Scene<unknown>, unknown> =>
  Effect.gen(function*() {
    const subject = `user ${freshId()}`
    const first = yield* stored(store, { subject, createdAt: start - 2 })
    const second = yield* stored(store, { subject, createdAt: start - 1 })
    const contest: Contest = {
      subject,
      limit,
      first,
      visitor: yield* stored(store, { subject: undefined, authenticatedAt: undefined }),
      live: new Map([first, second].map(({ key, record }) => [record.id, key])),
      keys: new Set([first.key, second.key])
    }
    return {
      requests: names.flatMap((name) => {
        const request = requests[name]
        return request === undefined ? [] : [(suspendCall) => request(intercepted(store, suspendCall), contest)]
      }),
      check: Effect.suspend(() => {
        const what = `${names.join(" and ")}, ${limit.onFull}`
        const alive = new Set(contest.live.values())
        return Effect.all([
          Effect.flatMap(listed(store, subject), (ids) =>
            equal(`${what}: the list`, ids, [...contest.live.keys()].sort())),
          Effect.forEach(contest.keys, (key) =>
            Effect.flatMap(isThere(store, key, start), (found) =>
              equal(`${what}: a key exists`, found, alive.has(key))))
        ])
      })
    }
  })
