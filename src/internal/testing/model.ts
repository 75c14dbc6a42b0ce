/**
 * Model-based test: a store behaves like `MemoryStore` for random command sequences.
 */
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import { aRecord, day, freshId, freshKey, hour, keyOf, start } from "../../Fixtures.js"
import type { Law } from "../../Law.js"
import * as MemoryStore from "../../MemoryStore.js"
import type { SessionId } from "../../SessionId.js"
import type { SessionRecord } from "../../SessionRecord.js"
import type { CreateOutcome, RotateOutcome, Store, SubjectLimit } from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"
import { equal, forAll, law, range } from "./law.js"

/** Index of one of the four keys, or ids, of a command sequence. */
type Place = number

/** The fields of a record that a command writes. */
interface Content {
  readonly data: string
  readonly lifetime: SessionRecord["expiry"]["lifetime"]
  readonly subject: string | undefined
  /** Milliseconds before `start`. */
  readonly age: number
  /** Milliseconds from the current time of the sequence, as is `seen`. */
  readonly end: number
  readonly seen: number
}

/** Stores that do not declare `limitsSubjects` ignore it. */
type Limit = SubjectLimit | undefined

type Command =
  | {
    readonly _tag: "create"
    readonly key: Place
    readonly id: Place
    readonly content: Content
    readonly limit: Limit
  }
  | { readonly _tag: "save"; readonly key: Place; readonly content: Content; readonly distance: number }
  | {
    readonly _tag: "rotate"
    readonly key: Place
    readonly to: Place
    readonly id: Place
    readonly content: Content
    readonly distance: number
    readonly limit: Limit
  }
  | { readonly _tag: "touch"; readonly key: Place; readonly seen: number; readonly end: number }
  | { readonly _tag: "destroy"; readonly key: Place }
  | { readonly _tag: "revoke"; readonly id: Place; readonly subject: string | undefined }
  | { readonly _tag: "revokeSubject"; readonly subject: string; readonly except: Place | undefined }
  | { readonly _tag: "revokeAll" }
  | { readonly _tag: "removeExpired" }
  | { readonly _tag: "count" }
  | { readonly _tag: "wait"; readonly millis: number }

const place = FastCheck.nat({ max: 3 })
const moment = FastCheck.integer({ min: -hour, max: 3 * hour })
// Two of three expected versions are the current one.
const distance = FastCheck.constantFrom(0, 0, 0, 0, -1, 1)

const limit = FastCheck.constantFrom<Limit>(
  undefined,
  undefined,
  { max: 2, onFull: "deny" },
  { max: 2, onFull: "oldest" },
  { max: 2, onFull: "oldest" }
)

const content: FastCheck.Arbitrary<Content> = FastCheck.record({
  // Other laws test the contents; few values make shrinking fast.
  data: FastCheck.constantFrom("a", "\u0000", "\ud800\u6f22").map((text) => JSON.stringify({ text })),
  lifetime: FastCheck.constantFrom<Content["lifetime"]>(
    undefined,
    { _tag: "Inactivity", millis: hour },
    { _tag: "Until", at: start + 2 * hour },
    { _tag: "Browser" }
  ),
  // Most are of one subject, so that limits apply.
  subject: FastCheck.constantFrom(undefined, "ann", "ann", "ann", "bob"),
  age: FastCheck.nat({ max: 2 }),
  end: FastCheck.integer({ min: 1, max: 2 * hour }),
  seen: moment
})

const commandOf = <C extends Command>(
  weight: number,
  _tag: C["_tag"],
  fields: { [K in Exclude<keyof C, "_tag">]: FastCheck.Arbitrary<C[K]> }
) => ({
  weight,
  arbitrary: FastCheck.record<{ [K in keyof C]: C[K] }>(
    { _tag: FastCheck.constant(_tag), ...fields } as { [K in keyof C]: FastCheck.Arbitrary<C[K]> }
  )
})

type Of<T extends Command["_tag"]> = Extract<Command, { _tag: T }>

const command: FastCheck.Arbitrary<Command> = FastCheck.oneof(
  commandOf<Of<"create">>(5, "create", { key: place, id: place, content, limit }),
  commandOf<Of<"save">>(4, "save", { key: place, content, distance }),
  commandOf<Of<"rotate">>(3, "rotate", { key: place, to: place, id: place, content, distance, limit }),
  commandOf<Of<"touch">>(3, "touch", { key: place, seen: moment, end: moment }),
  commandOf<Of<"wait">>(3, "wait", { millis: FastCheck.integer({ min: 0, max: hour }) }),
  commandOf<Of<"destroy">>(1, "destroy", { key: place }),
  commandOf<Of<"revoke">>(2, "revoke", {
    id: place,
    subject: FastCheck.constantFrom(undefined, "ann", "bob")
  }),
  commandOf<Of<"revokeSubject">>(2, "revokeSubject", {
    subject: FastCheck.constantFrom("ann", "bob"),
    except: FastCheck.option(place, { nil: undefined })
  }),
  commandOf<Of<"revokeAll">>(1, "revokeAll", {}),
  commandOf<Of<"removeExpired">>(2, "removeExpired", {}),
  // It reads the whole store, which is slow in a cluster.
  commandOf<Of<"count">>(2, "count", {})
)

/** The namespace, keys and ids of a command sequence, shared by both stores. */
interface Names {
  readonly namespace: string
  readonly key: (place: Place) => StoreKey
  readonly id: (place: Place) => SessionId
}

const places = range(4)

const makeNames = (): Names => {
  // The same first character, for stores that partition keys by it.
  const keys = new Map(places.map((place) => [place, keyOf(`A${freshKey().slice(1)}`)]))
  // Sorted, so that the same commands return records in the same order in each run.
  const fresh = places.map(freshId).sort()
  const ids = new Map(places.map((place) => [place, fresh[place]]))
  return {
    namespace: `model ${freshId()}`,
    key: (place) => keys.get(place) ?? freshKey(),
    id: (place) => ids.get(place) ?? freshId()
  }
}

/** The ids of sessions that a limit has ended may be in any order. */
const sorted = (outcome: CreateOutcome | RotateOutcome) =>
  typeof outcome === "object" ? { ...outcome, ids: [...outcome.ids].sort() } : outcome

/** Runs a command on one store. `version` is the model's version of the record under the command's key. */
const run = (store: Store, { id, key, namespace }: Names, command: Command, version: number, now: number) => {
  const recordOf = ({ age, data, end, lifetime, seen, subject }: Content, id: SessionId) =>
    aRecord({
      namespace,
      id,
      data,
      subject,
      writeId: "model",
      createdAt: start - age,
      modifiedAt: now + seen,
      lastSeenAt: now + seen,
      expiry: { at: now + end, deadline: start + day, lifetime }
    })
  switch (command._tag) {
    case "create":
      return Effect.map(
        store.create(key(command.key), recordOf(command.content, id(command.id)), now, command.limit),
        sorted
      )
    case "save":
      return store.save(key(command.key), recordOf(command.content, id(0)), {
        expectedVersion: version + command.distance,
        now
      })
    case "rotate":
      return Effect.map(
        store.rotate(
          key(command.key),
          key(command.to),
          recordOf(command.content, id(command.id)),
          { expectedVersion: version + command.distance, now, limit: command.limit }
        ),
        sorted
      )
    case "touch":
      return store.touch(key(command.key), { lastSeenAt: now + command.seen, expiresAt: now + command.end, now })
    case "destroy":
      return Effect.asVoid(store.destroy(key(command.key)))
    case "revoke":
      return store.revoke(namespace, id(command.id), command.subject)
    case "revokeSubject":
      return Effect.asVoid(store.revokeSubject(
        namespace,
        command.subject,
        command.except === undefined ? undefined : id(command.except)
      ))
    case "revokeAll":
      return Effect.asVoid(store.revokeAll(namespace))
    case "removeExpired":
      return store.removeExpired({ now, limit: 1000 })
    case "count":
      return store.count(now)
    case "wait":
      return Effect.void
  }
}

/** Everything that a store returns for these names. */
const view = (store: Store, { id, key, namespace }: Names, now: number) =>
  Effect.all({
    load: Effect.forEach(places, (place) => Effect.map(store.load(key(place), now), Option.getOrUndefined)),
    find: Effect.forEach(places, (place) => Effect.map(store.find(namespace, id(place), now), Option.getOrUndefined)),
    ann: store.list(namespace, "ann", now),
    bob: store.list(namespace, "bob", now),
    scan: store.scan(namespace, { limit: 100, now })
  }, { concurrency: store.capabilities.remote ? "unbounded" : 1 })

const reasons = (store: Store, { key }: Names, now: number) =>
  Effect.forEach(places, (place) => Effect.map(store.endReason(key(place), now), Option.getOrUndefined), {
    concurrency: store.capabilities.remote ? "unbounded" : 1
  })

const agree = (store: Store, commands: ReadonlyArray<Command>) =>
  Effect.acquireUseRelease(
    Effect.sync(makeNames),
    (names) => agreeWith(names, store, commands),
    // The next sequence needs an empty store.
    (names) => Effect.orDie(Effect.forEach(places, (place) => store.destroy(names.key(place)), { discard: true }))
  )

const agreeWith = (names: Names, store: Store, commands: ReadonlyArray<Command>) =>
  Effect.gen(function*() {
    const memory = MemoryStore.make()
    const model: Store = store.capabilities.limitsSubjects === true
      ? memory
      : {
        ...memory,
        create: (key, record, now) => memory.create(key, record, now),
        rotate: (key, newKey, record, { expectedVersion, now }) =>
          memory.rotate(key, newKey, record, { expectedVersion, now })
      }
    let now = start
    /** Whether the model has returned that the last session of a key expired. */
    const hasExpired = new Map<Place, boolean>()
    for (const [step, command] of commands.entries()) {
      if (command._tag === "wait") now += command.millis
      const current = "key" in command ? yield* model.load(names.key(command.key), now) : Option.none()
      const version = Option.match(current, { onNone: () => 1, onSome: ({ version }) => version })
      const expected = yield* run(model, names, command, version, now)
      const what = `after ${step} other commands, ${command._tag}`
      yield* equal(what, yield* run(store, names, command, version, now), expected)
      const state = yield* view(model, names, now)
      yield* equal(`the state ${what}`, yield* view(store, names, now), state)
      const known = yield* reasons(model, names, now)
      for (const [place, reason] of (yield* reasons(store, names, now)).entries()) {
        const [expected, isAlive] = [known[place], state.load[place] !== undefined]
        hasExpired.set(place, expected === "expired" || (!isAlive && hasExpired.get(place) === true))
        const isTrue = reason === undefined ||
          reason === expected ||
          // The store may keep an expired record for longer than the model.
          (reason === "expired" && expected === undefined && hasExpired.get(place) === true) ||
          // If both have happened, either one is true.
          [reason, expected].every((one) => one === "subjectRevoked" || one === "allRevoked")
        if (!isTrue) yield* equal(`the end reason ${what}`, reason, expected)
      }
    }
  })

export const modelLaws: ReadonlyArray<Law> = [
  law(
    "any sequence of commands has the same results and leaves the same state as on `MemoryStore`",
    (store) =>
      (function*() {
        yield* forAll(
          // No bias towards small values: long sequences find the most.
          FastCheck.noBias(FastCheck.array(command, { minLength: 1, maxLength: 32, size: "max" })),
          (commands) => agree(store, commands),
          20
        )
      })()
  )
]
