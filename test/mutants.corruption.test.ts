/**
 * Mutation tests of the corruption laws: each law must fail on a store with one fault in the handling of corrupt records.
 */
import { it } from "@effect/vitest"
import { Effect, Exit, Option } from "effect"
import { MemoryStore } from "effect-session"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { corruptionLaws, FaultyStore } from "effect-session/testing"
import { assert, describe } from "vitest"
import { isCorruptEntry } from "../src/internal/store/corrupt.js"

/** The intact store, and the same store with corrupt records. */
interface Broken {
  readonly whole: Store
  readonly store: Store
  readonly corruptIds: FaultyStore.Corruptible["corruptIds"]
}

const corruptError = (operation: string) => new SessionStoreError({ operation, reason: "corrupt" })

interface Mutant {
  /** The fault of the store. */
  readonly fault: string
  /** The law that must fail. */
  readonly law: string
  readonly instead: (of: Broken) => Partial<Store>
}

const reportsCorrupt = "`load` and `find` of a corrupt record fail with reason `corrupt` and do not change it"
const scanReturns = "`scan` returns a corrupt record as `Corrupt` in its place, and all the others"
const listOmits = "`list` omits a corrupt record and returns the others"
const canBeRemoved = "`destroy` and `revoke` remove a corrupt record"
const staysRevoked = "a revoked corrupt record stays revoked after it is repaired"
const othersExpire = "`removeExpired` removes expired records despite a corrupt one"

const reasonIsTrue =
  "`endReason` of a corrupt record is absent, or fails with reason `corrupt`; after its removal it is true, or absent"
const loginWorks = "a corrupt record does not prevent a login with a limit that ends the oldest session"

const asAbsent = <A>(call: Effect.Effect<Option.Option<A>, SessionStoreError>) =>
  Effect.orElse(call, () => Effect.succeedNone)

const mutants: ReadonlyArray<Mutant> = [
  {
    fault: "load treats a corrupt record as absent",
    law: reportsCorrupt,
    instead: ({ store }) => ({ load: (...args) => asAbsent(store.load(...args)) })
  },
  {
    fault: "find treats a corrupt record as absent",
    law: reportsCorrupt,
    instead: ({ store }) => ({ find: (...args) => asAbsent(store.find(...args)) })
  },
  {
    fault: "load returns the corrupt record",
    law: reportsCorrupt,
    instead: ({ whole }) => ({ load: whole.load })
  },
  {
    fault: "load deletes a corrupt record",
    law: reportsCorrupt,
    instead: ({ store, whole }) => ({
      load: (...args) => Effect.tapError(store.load(...args), () => whole.destroy(args[0]))
    })
  },
  {
    fault: "scan omits a corrupt record",
    law: scanReturns,
    instead: ({ store }) => ({
      scan: (...args) => Effect.map(store.scan(...args), (page) => page.filter((one) => !isCorruptEntry(one)))
    })
  },
  {
    fault: "scan fails if a record is corrupt",
    law: scanReturns,
    instead: ({ store }) => ({
      scan: (...args) =>
        Effect.filterOrFail(store.scan(...args), (page) => !page.some(isCorruptEntry), () => corruptError("scan"))
    })
  },
  {
    fault: "scan returns corrupt records last",
    law: scanReturns,
    instead: ({ store }) => ({
      scan: (...args) =>
        Effect.map(store.scan(...args), (page) => [
          ...page.filter((one) => !isCorruptEntry(one)),
          ...page.filter(isCorruptEntry)
        ])
    })
  },
  {
    fault: "scan returns corrupt records beyond the limit",
    law: scanReturns,
    instead: ({ store }) => ({
      scan: (namespace, { after, limit, now }) =>
        Effect.map(
          store.scan(namespace, { after, limit: limit + 1, now }),
          (page) => page.filter((one, i) => i < limit || isCorruptEntry(one))
        )
    })
  },
  {
    fault: "scan reports a corrupt record as unavailable",
    law: scanReturns,
    instead: ({ store }) => ({
      scan: (...args) =>
        Effect.map(store.scan(...args), (page) =>
          page.map((one) =>
            isCorruptEntry(one)
              ? { ...one, error: new SessionStoreError({ operation: "scan", reason: "unavailable" }) }
              : one
          ))
    })
  },
  {
    fault: "list fails if a record is corrupt",
    law: listOmits,
    instead: ({ corruptIds, store }) => ({
      list: (...args) => corruptIds.size > 0 ? Effect.fail(corruptError("list")) : store.list(...args)
    })
  },
  {
    fault: "list returns a corrupt record",
    law: listOmits,
    instead: ({ whole }) => ({ list: whole.list })
  },
  {
    fault: "destroy keeps a corrupt record",
    law: canBeRemoved,
    instead: ({ store, whole }) => ({
      destroy: (key) => Effect.ignore(Effect.zipRight(store.load(key, 0), whole.destroy(key)))
    })
  },
  {
    fault: "revoke fails for a corrupt record",
    law: canBeRemoved,
    instead: ({ store, whole }) => ({
      revoke: (namespace, id) => Effect.zipRight(store.find(namespace, id, 0), whole.revoke(namespace, id))
    })
  },
  {
    fault: "revoke does not find a corrupt record",
    law: canBeRemoved,
    instead: ({ corruptIds, whole }) => ({
      revoke: (namespace, id) => corruptIds.has(id) ? Effect.succeed(false) : whole.revoke(namespace, id)
    })
  },
  {
    fault: "revokeSubject does not revoke a corrupt record",
    law: staysRevoked,
    instead: ({ corruptIds, whole }) => ({
      revokeSubject: (namespace, subject) => whole.revokeSubject(namespace, subject, [...corruptIds][0])
    })
  },
  {
    fault: "revokeAll does not revoke a corrupt record",
    law: staysRevoked,
    instead: ({ corruptIds, whole }) => ({
      revokeAll: (namespace) => corruptIds.size > 0 ? Effect.void : whole.revokeAll(namespace)
    })
  },
  {
    fault: "removeExpired stops at a corrupt record",
    law: othersExpire,
    instead: ({ corruptIds, whole }) => ({
      removeExpired: (...args) => corruptIds.size > 0 ? Effect.succeed(0) : whole.removeExpired(...args)
    })
  },
  {
    fault: "endReason of a corrupt record is a logout",
    law: reasonIsTrue,
    instead: ({ store, whole }) => ({
      endReason: (key, now) =>
        Effect.catchAll(
          Effect.zipRight(store.load(key, now), whole.endReason(key, now)),
          () => Effect.succeedSome("loggedOut")
        )
    })
  },
  {
    fault: "the reason of a removed corrupt record is wrong",
    law: reasonIsTrue,
    instead: ({ store, whole }) => ({
      revoke: (namespace, id, subject) =>
        Effect.catchAll(
          store.find(namespace, id, 0),
          () => Effect.as(whole.revokeSubject(namespace, "ann"), Option.none())
        ).pipe(
          Effect.zipRight(whole.revoke(namespace, id, subject))
        )
    })
  },
  {
    fault: "a login with a limit fails if a session of the subject is corrupt",
    law: loginWorks,
    instead: ({ corruptIds, whole }) => ({
      create: (...args) =>
        corruptIds.size > 0 && args[3] !== undefined ? Effect.fail(corruptError("create")) : whole.create(...args)
    })
  },
  {
    fault: "a login with a limit ends itself if a session of the subject is corrupt",
    law: loginWorks,
    instead: ({ corruptIds, whole }) => ({
      create: (key, record, now, limit) =>
        corruptIds.size > 0 && limit !== undefined
          ? Effect.succeed({ _tag: "Evicted" as const, ids: [record.id] })
          : whole.create(key, record, now, limit)
    })
  }
]

/** Runs a law on a store with some operations replaced. */
const exitOf = (name: string, instead: Mutant["instead"]) =>
  Effect.suspend(() => {
    const whole = MemoryStore.make()
    const { corrupt, corruptIds, store } = FaultyStore.corruptible(whole)
    const { law } = corruptionLaws(corrupt).find((law) => law.name === name) ?? assert.fail("unknown law name")
    return Effect.exit(Effect.provideService(law, SessionStore, {
      ...store,
      ...instead({ corruptIds: corruptIds, store, whole })
    }))
  })

describe("a store without a fault passes", () => {
  for (const { name } of corruptionLaws(() => Effect.never)) {
    it.live(name, () => Effect.flatten(exitOf(name, () => ({}))))
  }
})

describe("a store with a fault fails the law", () => {
  for (const { fault, instead, law } of mutants) {
    it.live(`${fault}: ${law}`, () =>
      Effect.map(
        exitOf(law, instead),
        (exit) => assert.isTrue(Exit.isFailure(exit), "the law passed despite the fault")
      ))
  }
})
