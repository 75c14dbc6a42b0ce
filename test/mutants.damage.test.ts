/**
 * The laws of damaged records are proved by what they catch: stores that do one thing wrong with such a record.
 */
import { it } from "@effect/vitest"
import { Effect, Exit, type Option } from "effect"
import { MemoryStore } from "effect-session"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { damageLaws } from "effect-session/testing"
import { assert, describe } from "vitest"
import { isCorruptEntry } from "../src/internal/store/corrupt.js"
import { corruptError, corruptible } from "./support/corruptibleStore.js"

interface Mutant {
  /** What the store does wrong. */
  readonly fault: string
  /** The law that catches it. */
  readonly law: string
  readonly instead: (of: ReturnType<typeof corruptible>) => Partial<Store>
}

const isError = "a record that is damaged is an error, not absent, and is left as it is"
const hasPlace = "scan gives a record that is damaged its place, and all the others"
const isLeftOut = "list leaves out a record that is damaged, and shows the others"
const canBeEnded = "destroy and revoke end a record that is damaged"
const isRevoked = "a revocation ends a record that is damaged, also if it is mended afterwards"
const keepsNone = "a record that is damaged keeps none from being removed when it has expired"

const absent = <A>(call: Effect.Effect<Option.Option<A>, SessionStoreError>) =>
  Effect.orElse(call, () => Effect.succeedNone)

const mutants: ReadonlyArray<Mutant> = [
  {
    fault: "load takes it for absent",
    law: isError,
    instead: ({ store }) => ({ load: (...args) => absent(store.load(...args)) })
  },
  {
    fault: "find takes it for absent",
    law: isError,
    instead: ({ store }) => ({ find: (...args) => absent(store.find(...args)) })
  },
  {
    fault: "load gives what is left of it",
    law: isError,
    instead: ({ whole }) => ({ load: whole.load })
  },
  {
    fault: "load deletes it",
    law: isError,
    instead: ({ store, whole }) => ({
      load: (...args) => Effect.tapError(store.load(...args), () => whole.destroy(args[0]))
    })
  },
  {
    fault: "scan leaves it out",
    law: hasPlace,
    instead: ({ store }) => ({
      scan: (...args) => Effect.map(store.scan(...args), (page) => page.filter((one) => !isCorruptEntry(one)))
    })
  },
  {
    fault: "scan fails",
    law: hasPlace,
    instead: ({ store }) => ({
      scan: (...args) =>
        Effect.filterOrFail(store.scan(...args), (page) => !page.some(isCorruptEntry), () => corruptError("scan"))
    })
  },
  {
    fault: "scan gives it at the end",
    law: hasPlace,
    instead: ({ store }) => ({
      scan: (...args) =>
        Effect.map(store.scan(...args), (page) => [
          ...page.filter((one) => !isCorruptEntry(one)),
          ...page.filter(isCorruptEntry)
        ])
    })
  },
  {
    fault: "scan gives what is damaged beyond the limit",
    law: hasPlace,
    instead: ({ store }) => ({
      scan: (namespace, { after, limit, now }) =>
        Effect.map(
          store.scan(namespace, { after, limit: limit + 1, now }),
          (page) => page.filter((one, i) => i < limit || isCorruptEntry(one))
        )
    })
  },
  {
    fault: "scan calls it out of reach",
    law: hasPlace,
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
    fault: "list fails",
    law: isLeftOut,
    instead: ({ damaged, store }) => ({
      list: (...args) => damaged.size > 0 ? Effect.fail(corruptError("list")) : store.list(...args)
    })
  },
  {
    fault: "list shows it",
    law: isLeftOut,
    instead: ({ whole }) => ({ list: whole.list })
  },
  {
    fault: "destroy leaves it",
    law: canBeEnded,
    instead: ({ store, whole }) => ({
      destroy: (key) => Effect.ignore(Effect.zipRight(store.load(key, 0), whole.destroy(key)))
    })
  },
  {
    fault: "revoke fails",
    law: canBeEnded,
    instead: ({ store, whole }) => ({
      revoke: (namespace, id) => Effect.zipRight(store.find(namespace, id, 0), whole.revoke(namespace, id))
    })
  },
  {
    fault: "revoke does not find it",
    law: canBeEnded,
    instead: ({ damaged, whole }) => ({
      revoke: (namespace, id) => damaged.has(id) ? Effect.succeed(false) : whole.revoke(namespace, id)
    })
  },
  {
    fault: "a revocation of its subject passes it by",
    law: isRevoked,
    instead: ({ damaged, whole }) => ({
      revokeSubject: (namespace, subject) => whole.revokeSubject(namespace, subject, [...damaged][0])
    })
  },
  {
    fault: "a revocation of everyone passes it by",
    law: isRevoked,
    instead: ({ damaged, whole }) => ({
      revokeAll: (namespace) => damaged.size > 0 ? Effect.void : whole.revokeAll(namespace)
    })
  },
  {
    fault: "cleaning up stops at it",
    law: keepsNone,
    instead: ({ damaged, whole }) => ({
      removeExpired: (...args) => damaged.size > 0 ? Effect.succeed(0) : whole.removeExpired(...args)
    })
  }
]

/** How a law ends on a store that does something else instead. */
const exitOf = (name: string, instead: Mutant["instead"]) =>
  Effect.suspend(() => {
    const made = corruptible(MemoryStore.make())
    const { law } = damageLaws(made.damage).find((law) => law.name === name) ?? assert.fail("there is no such law")
    return Effect.exit(Effect.provideService(law, SessionStore, { ...made.store, ...instead(made) }))
  })

describe("a store with no fault keeps", () => {
  for (const { name } of damageLaws(() => Effect.never)) {
    it.live(name, () => Effect.flatten(exitOf(name, () => ({}))))
  }
})

describe("a store with one fault breaks the law", () => {
  for (const { fault, instead, law } of mutants) {
    it.live(`${fault}: ${law}`, () =>
      Effect.map(exitOf(law, instead), (exit) => assert.isTrue(Exit.isFailure(exit), "the law did not notice")))
  }
})
