/**
 * Limits of live sessions per subject, on one node and in a Cluster.
 */
import { it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import {
  aRecord,
  freshId,
  freshKey,
  hour,
  isAlive,
  isDead,
  isThere,
  keyOf,
  minute,
  namespace,
  start,
  type Stored,
  stored
} from "effect-session/Fixtures"
import { type Client, RedisClient } from "effect-session/RedisClient"
import type { CreateOutcome, RotateOutcome, Store, SubjectLimit } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import { range, together } from "./support/concurrency.js"
import { freshPrefix } from "./support/localStores.js"
import { recordingClient, storeAt, storeOn } from "./support/redisClients.js"
import { ofRedis, redisClient, redisClusterClient } from "./support/serverClients.js"
import * as Server from "./support/servers/redis.js"

const deny = (max: number): SubjectLimit => ({ max, onFull: "deny" })
const oldest = (max: number): SubjectLimit => ({ max, onFull: "oldest" })

const opened = Effect.gen(function*() {
  const client = yield* RedisClient
  const prefix = freshPrefix()
  const nameOf = (key: string, rest = key) => `${prefix}{${client.cluster ? key.charAt(0) : "all"}}:${rest}`
  return { client, prefix, nameOf, store: yield* storeOn(client, { prefix }) }
})

/** A record of "ann" that begins `age` milliseconds before the others. */
const aged = (age: number) => aRecord({ createdAt: start - age })

/** Records that begin one after the other, the first one first. */
const inOrder = (count: number): ReadonlyArray<Stored> =>
  range(count).map((i) => ({ key: freshKey(), record: aged((count - i) * 1000) }))

const written = (store: Store, all: ReadonlyArray<Stored>) =>
  Effect.forEach(all, ({ key, record }) => store.create(key, record, start), { discard: true })

const idsOf = (all: ReadonlyArray<Stored>) => all.map(({ record }) => record.id)

const evicted = (...all: ReadonlyArray<Stored>) => ({ _tag: "Evicted" as const, ids: idsOf(all) })

const evictedIds = (outcome: CreateOutcome | RotateOutcome) => typeof outcome === "string" ? [] : outcome.ids

const listed = (store: Store, subject = "ann", now = start) =>
  Effect.map(store.list(namespace, subject, now), (all) => all.map(({ id }) => id))

/** A session without a subject, whose rotation is a login of "ann". */
const visitor = (store: Store) => stored(store, { subject: undefined })

/** Draws a key of the shard of another key. */
const keyBeside = (key: string) => keyOf(key.charAt(0) + freshKey().slice(1))

const login = (store: Store, { key, record }: Stored, limit: SubjectLimit, newKey = keyBeside(key)) =>
  Effect.map(
    store.rotate(key, newKey, { ...record, subject: "ann" }, { expectedVersion: 1, limit, now: start }),
    (outcome) => ({ outcome, after: { key: newKey, record: { ...record, subject: "ann", version: 2 } } })
  )

/** A client that sends every command twice and returns the second reply. */
const doubling = (client: Client): Client => ({
  ...client,
  send: (key, command) => client.send(key, command).then(() => client.send(key, command))
})

for (
  const [name, client] of ofRedis(["one node", redisClient] as const, ["a Cluster", redisClusterClient] as const)
) {
  describe(`a limit on ${name}`, () => {
    it.scopedLive("of 50 concurrent logins with limit 3, deny writes exactly 3 and refuses 47", () =>
      Effect.gen(function*() {
        const { store } = yield* opened
        const outcomes = yield* together(range(50).map(() => store.create(freshKey(), aRecord(), start, deny(3))))
        assert.lengthOf(outcomes.filter((outcome) => outcome === "created"), 3)
        assert.lengthOf(outcomes.filter((outcome) => outcome === "full"), 47)
        assert.lengthOf(yield* listed(store), 3)
        assert.deepStrictEqual(yield* store.count(start), { current: 3, expired: 0 })
      }).pipe(Effect.provide(client)))

    it.scopedLive("of 50 concurrent logins with limit 3, oldest leaves exactly 3 and returns each ended session once", () =>
      Effect.gen(function*() {
        const { store } = yield* opened
        const all = inOrder(50)
        const outcomes = yield* together(all.map(({ key, record }) => store.create(key, record, start, oldest(3))))
        const left = yield* listed(store)
        assert.lengthOf(left, 3)
        const ended = outcomes.flatMap(evictedIds)
        assert.lengthOf(ended, 47)
        assert.deepStrictEqual([...ended, ...left].sort(), idsOf(all).sort())
        assert.lengthOf(outcomes.filter((outcome) => outcome === "created"), 3)
        for (const { key, record } of all) {
          assert.strictEqual(yield* isThere(store, key, start), left.includes(record.id))
        }
      }).pipe(Effect.provide(client)))

    it.scopedLive("of 20 concurrent logins by rotation with limit 2, exactly 2 sessions belong to the subject", () =>
      Effect.gen(function*() {
        const { store } = yield* opened
        const visitors = yield* Effect.forEach(range(20), () => visitor(store))
        const outcomes = yield* together(visitors.map((one) => login(store, one, deny(2))))
        assert.lengthOf(outcomes.filter(({ outcome }) => outcome === "saved"), 2)
        assert.lengthOf(outcomes.filter(({ outcome }) => outcome === "full"), 18)
        assert.lengthOf(yield* listed(store), 2)
        // A refused rotation has changed nothing.
        for (const [i, one] of visitors.entries()) {
          yield* isAlive(store, outcomes[i]?.outcome === "saved" ? outcomes[i].after : one, start)
        }
      }).pipe(Effect.provide(client)))

    it.scopedLive("ends as many of the oldest sessions as necessary, oldest first, also those created without a limit", () =>
      Effect.gen(function*() {
        const { store } = yield* opened
        const [first, second, third, fourth] = inOrder(4)
        if (first === undefined || second === undefined || third === undefined || fourth === undefined) assert.fail()
        yield* written(store, [third, first, second])
        assert.deepStrictEqual(yield* store.create(fourth.key, fourth.record, start, oldest(2)), evicted(first, second))
        for (const one of [third, fourth]) yield* isAlive(store, one, start)
        for (const one of [first, second]) yield* isDead(store, one, start)
        const last = { key: freshKey(), record: aged(hour) }
        assert.deepStrictEqual(yield* store.create(last.key, last.record, start, oldest(1)), evicted(third, fourth))
        // The record that is written stays, though it is the oldest.
        yield* isAlive(store, last, start)
      }).pipe(Effect.provide(client)))

    it.scopedLive("counts no session that has expired, was revoked, or belongs to another subject or namespace", () =>
      Effect.gen(function*() {
        const { store } = yield* opened
        yield* stored(store, { expiry: { at: start + minute, deadline: undefined, lifetime: undefined } })
        yield* stored(store)
        yield* store.revokeSubject(namespace, "ann")
        yield* store.destroy((yield* stored(store, {})).key)
        yield* stored(store, { subject: "bob" })
        yield* stored(store, { subject: "ann1" })
        yield* stored(store, { namespace: "other" })
        const outcomes = yield* Effect.forEach(
          range(3),
          () => store.create(freshKey(), aRecord(), start + minute, deny(2))
        )
        assert.deepStrictEqual(outcomes, ["created", "created", "full"])
        assert.lengthOf(yield* listed(store, "bob"), 1)
        yield* store.revokeAll(namespace)
        assert.strictEqual(yield* store.create(freshKey(), aRecord(), start, deny(1)), "created")
      }).pipe(Effect.provide(client)))

    it.scopedLive("does not apply to sessions without a subject", () =>
      Effect.gen(function*() {
        const { store } = yield* opened
        const outcomes = yield* Effect.forEach(
          range(3),
          () => store.create(freshKey(), aRecord({ subject: undefined }), start, deny(1))
        )
        assert.deepStrictEqual(outcomes, ["created", "created", "created"])
      }).pipe(Effect.provide(client)))

    it.scopedLive("ends nothing if the key or the id is taken, the version is another one, or the session is gone", () =>
      Effect.gen(function*() {
        const { store } = yield* opened
        const one = yield* stored(store)
        const guest = yield* visitor(store)
        assert.strictEqual(yield* store.create(guest.key, aRecord(), start, oldest(1)), "exists")
        assert.strictEqual(
          yield* store.create(freshKey(), aRecord({ id: guest.record.id }), start, oldest(1)),
          "exists"
        )
        const newKey = keyBeside(guest.key)
        const options = { expectedVersion: 2, limit: oldest(1), now: start }
        const ann = { ...guest.record, subject: "ann" }
        assert.strictEqual(yield* store.rotate(guest.key, newKey, ann, options), "conflict")
        assert.strictEqual(yield* store.rotate(guest.key, one.key, ann, { ...options, expectedVersion: 1 }), "conflict")
        assert.strictEqual(yield* store.rotate(freshKey(), newKey, ann, options), "gone")
        for (const there of [one, guest]) yield* isAlive(store, there, start)
        // The refused writes have reserved nothing.
        assert.strictEqual(yield* store.create(newKey, aRecord({ subject: "bob" }), start, deny(1)), "created")
      }).pipe(Effect.provide(client)))

    it.scopedLive("leaves the id and the key of a refused login free", () =>
      Effect.gen(function*() {
        const { store } = yield* opened
        const one = yield* stored(store)
        const refused = { key: freshKey(), record: aRecord() }
        assert.strictEqual(yield* store.create(refused.key, refused.record, start, deny(1)), "full")
        yield* isDead(store, refused, start)
        yield* store.destroy(one.key)
        // The same id under a key of another shard.
        const again = {
          key: keyOf((refused.key.startsWith("a") ? "b" : "a") + freshKey().slice(1)),
          record: refused.record
        }
        assert.strictEqual(yield* store.create(again.key, again.record, start, deny(1)), "created")
        yield* isAlive(store, again, start)
      }).pipe(Effect.provide(client)))

    it.scopedLive("does not count the session that is rotated, under its own id or another one", () =>
      Effect.gen(function*() {
        const { store } = yield* opened
        const one = yield* stored(store)
        const newKey = keyBeside(one.key)
        const options = { expectedVersion: 1, limit: deny(1), now: start }
        assert.strictEqual(yield* store.rotate(one.key, newKey, one.record, options), "saved")
        const renamed = { key: keyBeside(newKey), record: { ...one.record, id: freshId(), version: 3 } }
        assert.strictEqual(
          yield* store.rotate(newKey, renamed.key, renamed.record, { ...options, expectedVersion: 2 }),
          "saved"
        )
        yield* isAlive(store, renamed, start)
      }).pipe(Effect.provide(client)))

    it.scopedLive("ends the oldest session for a login by rotation, also to a key of another shard", () =>
      Effect.gen(function*() {
        const { store } = yield* opened
        const [first, second] = inOrder(2)
        if (first === undefined || second === undefined) assert.fail()
        yield* written(store, [first, second])
        const guest = yield* visitor(store)
        const { after, outcome } = yield* login(store, guest, oldest(2))
        assert.deepStrictEqual(outcome, evicted(first))
        yield* isAlive(store, after, start)
        yield* isDead(store, first, start)
        const other = yield* stored(store, { subject: undefined }, keyOf("a" + freshKey().slice(1)))
        const apart = yield* login(store, other, oldest(2), keyOf("b" + freshKey().slice(1)))
        assert.deepStrictEqual(apart.outcome, evicted(second))
        yield* isAlive(store, apart.after, start)
        yield* isAlive(store, after, start)
      }).pipe(Effect.provide(client)))

    it.scopedLive("returns the same ended sessions if the driver resends every command", () =>
      Effect.gen(function*() {
        const { client, prefix, store } = yield* opened
        const doubled = yield* storeOn(doubling(client), { prefix })
        const [first, second, third] = inOrder(3)
        if (first === undefined || second === undefined || third === undefined) assert.fail()
        yield* written(store, [first, second])
        assert.deepStrictEqual(
          yield* doubled.create(third.key, third.record, start, oldest(1)),
          evicted(first, second)
        )
        const guest = yield* visitor(store)
        const { after, outcome } = yield* login(doubled, guest, oldest(1))
        assert.deepStrictEqual(outcome, evicted(third))
        yield* isAlive(store, after, start)
        assert.strictEqual(yield* doubled.create(freshKey(), aRecord(), start, deny(1)), "full")
        yield* store.destroy(after.key)
        assert.strictEqual(yield* doubled.create(freshKey(), aRecord(), start, deny(1)), "created")
      }).pipe(Effect.provide(client)))

    it.scopedLive("skips a corrupt record", () =>
      Effect.gen(function*() {
        const { client, nameOf, store } = yield* opened
        const { key } = yield* stored(store)
        yield* Effect.promise(() => client.send(nameOf(key), ["hset", nameOf(key), "m", "?"]))
        const outcomes = yield* Effect.forEach(range(2), () => store.create(freshKey(), aRecord(), start, deny(1)))
        assert.deepStrictEqual(outcomes, ["created", "full"])
      }).pipe(Effect.provide(client)))
  })

  describe(`revoking an own session on ${name}`, () => {
    it.scopedLive("ends the session only if it belongs to the subject", () =>
      Effect.gen(function*() {
        const { store } = yield* opened
        const anns = yield* stored(store)
        const guests = yield* visitor(store)
        assert.isFalse(yield* store.revoke(namespace, anns.record.id, "bob"))
        assert.isFalse(yield* store.revoke("other", anns.record.id, "ann"))
        assert.isFalse(yield* store.revoke(namespace, guests.record.id, "ann"))
        for (const one of [anns, guests]) yield* isAlive(store, one, start)
        assert.isTrue(yield* store.revoke(namespace, anns.record.id, "ann"))
        yield* isDead(store, anns, start)
        assert.isFalse(yield* store.revoke(namespace, anns.record.id, "ann"))
        assert.isTrue(yield* store.revoke(namespace, guests.record.id))
      }).pipe(Effect.provide(client)))

    it.scopedLive("ends a corrupt session only if the index has it under the subject", () =>
      Effect.gen(function*() {
        const { client, nameOf, store } = yield* opened
        const { key, record } = yield* stored(store)
        yield* Effect.promise(() => client.send(nameOf(key), ["hset", nameOf(key), "m", "?"]))
        const exists = Effect.promise(() => client.send(nameOf(key), ["exists", nameOf(key)]))
        assert.isFalse(yield* store.revoke(namespace, record.id, "bob"))
        assert.strictEqual(yield* exists, 1)
        assert.isTrue(yield* store.revoke(namespace, record.id, "ann"))
        assert.strictEqual(yield* exists, 0)
      }).pipe(Effect.provide(client)))

    it.scopedLive("fails if the session passes to another subject between the reads of index and record", () =>
      Effect.gen(function*() {
        const { client, prefix, store } = yield* opened
        const { key, record } = yield* stored(store)
        const newKey = keyBeside(key)
        const passes = store.rotate(key, newKey, { ...record, subject: "bob" }, { expectedVersion: 1, now: start })
        let isDone = false
        const slow = yield* storeOn({
          ...client,
          send: async (name, command) => {
            const reply = await client.send(name, command)
            // After the index entry was read.
            if (!isDone && Array.isArray(reply) && String(reply[0]).includes(key)) {
              isDone = true
              await Effect.runPromise(passes)
            }
            return reply
          }
        }, { prefix })
        assert.isFalse(yield* slow.revoke(namespace, record.id, "ann"))
        assert.isTrue(isDone)
        yield* isAlive(store, { key: newKey, record: { ...record, subject: "bob", version: 2 } }, start)
      }).pipe(Effect.provide(client)))
  })
}

for (const [, client] of ofRedis(["one node", redisClient] as const)) {
  describe("the script of a limited login on one node", () => {
    it.scopedLive("is one call if the subject has no session, and two otherwise", () =>
      Effect.gen(function*() {
        const { client, prefix } = yield* opened
        const { client: recording, sent } = recordingClient(client)
        const store = yield* storeOn(recording, { prefix })
        const calls = (count: number, create: Effect.Effect<CreateOutcome, unknown>, expected: string) =>
          Effect.gen(function*() {
            sent.length = 0
            const outcome = yield* create
            assert.strictEqual(typeof outcome === "string" ? outcome : outcome._tag, expected)
            assert.lengthOf(sent.filter(([name]) => name === "evalsha"), count)
          })
        yield* calls(1, store.create(freshKey(), aRecord(), start, deny(1)), "created")
        yield* calls(2, store.create(freshKey(), aRecord(), start, deny(1)), "full")
        yield* calls(2, store.create(freshKey(), aRecord(), start, oldest(1)), "Evicted")
      }).pipe(Effect.provide(client)))

    it.scopedLive("ends no session if the memory of the server is full", () =>
      Effect.gen(function*() {
        const server = yield* Server.make({ settings: { "maxmemory-policy": "noeviction" } })
        const store = yield* storeAt(server.url)
        const one = yield* stored(store)
        const guest = yield* visitor(store)
        yield* server.ask("CONFIG", "SET", "maxmemory", "1mb")
        const refused = yield* Effect.flip(store.create(freshKey(), aRecord(), start, oldest(1)))
        assert.strictEqual(refused.reason, "unavailable")
        assert.strictEqual((yield* Effect.flip(login(store, guest, oldest(1)))).reason, "unavailable")
        yield* server.ask("CONFIG", "SET", "maxmemory", "0")
        for (const there of [one, guest]) yield* isAlive(store, there, start)
      }))
  })
}

for (const [, client] of ofRedis(["a Cluster", redisClusterClient] as const)) {
  /** A store whose client passes each command to `act`, and the commands about the lock of a subject. */
  const intercepted = (
    act: (client: Client, isLock: boolean, name: string, command: ReadonlyArray<string>) => Promise<unknown>
  ) =>
    Effect.gen(function*() {
      const { client, prefix, store } = yield* opened
      const locks = new Set<string>()
      const changed = yield* storeOn({
        ...client,
        send: (name, command) => {
          if (name.includes("}:lock:")) locks.add(name)
          return act(client, name.includes("}:lock:"), name, command)
        }
      }, { prefix })
      const lock = Effect.sync(() => [...locks][0] ?? assert.fail("no lock"))
      const ask = (...command: ReadonlyArray<string>) =>
        Effect.flatMap(lock, (lock) =>
          Effect.promise(() => client.send(lock, [...command.slice(0, 1), lock, ...command.slice(1)])))
      return { store, changed, ask }
    })

  describe("the lock of a limited login in a Cluster", () => {
    it.scopedLive("is removed after the login", () =>
      Effect.gen(function*() {
        const { ask, changed } = yield* intercepted((client, _, name, command) => client.send(name, command))
        assert.strictEqual(yield* changed.create(freshKey(), aRecord(), start, deny(1)), "created")
        assert.strictEqual(yield* ask("exists"), 0)
        assert.strictEqual(yield* changed.create(freshKey(), aRecord(), start, deny(1)), "full")
        assert.strictEqual(yield* ask("exists"), 0)
      }).pipe(Effect.provide(client)))

    it.scopedLive("of a process that has crashed expires, and the next login is limited", () =>
      Effect.gen(function*() {
        let crashed: () => void = () => {}
        const hasCrashed = new Promise<void>((resolve) => crashed = resolve)
        let hasLock = false
        const { ask, changed, store } = yield* intercepted(async (client, isLock, name, command) => {
          if (hasLock) {
            crashed()
            return new Promise<never>(() => {})
          }
          const reply = await client.send(name, command)
          hasLock = isLock
          return reply
        })
        yield* Effect.fork(changed.create(freshKey(), aRecord(), start, deny(1)))
        yield* Effect.promise(() => hasCrashed)
        const left = Number(yield* ask("pttl"))
        assert.isTrue(left > 0 && left <= 15_000, String(left))
        const next = yield* Effect.fork(
          Effect.forEach(range(2), () => store.create(freshKey(), aRecord(), start, deny(1)))
        )
        // The end of the lease, early.
        yield* ask("pexpire", "1")
        assert.deepStrictEqual(yield* Fiber.join(next), ["created", "full"])
      }).pipe(Effect.provide(client)))

    it.scopedLive("rejects a write that comes after the time that the lock allows", () =>
      Effect.gen(function*() {
        let deadline = "none"
        const { changed, store } = yield* intercepted(async (client, isLock, name, command) => {
          // The process was paused for ten seconds after it got the lock.
          const late = command.map((arg) => arg === deadline ? String(Number(arg) - 10_000) : arg)
          const reply = await client.send(name, late)
          if (isLock && Array.isArray(reply) && String(reply[0]) === "acquired") deadline = String(reply[1])
          return reply
        })
        const one = { key: freshKey(), record: aRecord() }
        const error = yield* Effect.flip(changed.create(one.key, one.record, start, deny(1)))
        assert.strictEqual(error.reason, "unavailable")
        assert.include(String(error.cause), "the lock of the subject expired before the write: nothing was written")
        assert.isFalse(yield* isThere(store, one.key, start))
        assert.strictEqual(yield* store.create(freshKey(), aRecord(), start, deny(1)), "created")
      }).pipe(Effect.provide(client)))

    it.scopedLive("stays after a write whose reply was lost, because the server may still execute it", () =>
      Effect.gen(function*() {
        let deadline = "none"
        const { ask, changed } = yield* intercepted(async (client, isLock, name, command) => {
          if (command.includes(deadline)) throw new Error("the connection was lost")
          const reply = await client.send(name, command)
          if (isLock && Array.isArray(reply) && String(reply[0]) === "acquired") deadline = String(reply[1])
          return reply
        })
        const error = yield* Effect.flip(changed.create(freshKey(), aRecord(), start, deny(1)))
        assert.strictEqual(error.reason, "unavailable")
        assert.strictEqual(yield* ask("exists"), 1)
      }).pipe(Effect.provide(client)))
  })
}
