/**
 * The suite is proved by what it catches: stores with one fault each, and the law that finds it.
 */
import { ConfigProvider, Effect, Exit } from "effect"
import { MemoryStore } from "effect-session"
import { SessionStore } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import type { StoreKey } from "effect-session/StoreKey"
import { capabilityLaws, LawBroken, storeLaws } from "effect-session/testing"
import { build } from "esbuild"
import { readFileSync } from "node:fs"
import { mkdir, mkdtemp, rm } from "node:fs/promises"
import * as Path from "node:path"
import { pathToFileURL } from "node:url"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import type * as MemoryTable from "../src/internal/memory/table.js"

interface Mutant {
  /** What the store does wrong. */
  readonly fault: string
  /** The piece of the store in memory that is replaced, and by what. */
  readonly replace: readonly [from: string, to: string]
  /** The law that catches it. */
  readonly law: string
}

const mutants: ReadonlyArray<Mutant> = [
  {
    fault: "load ignores expiry",
    replace: [
      "const entry = alive(key, now)\n        if (entry === undefined) return Option.none()",
      "const entry = alive(key, 0)\n        if (entry === undefined) return Option.none()"
    ],
    law: "what has expired is absent for every function, from the very moment of expiry on"
  },
  {
    fault: "load ignores revocations of a subject",
    replace: [" &&\n  noted.subjectEpoch >= current.subjectEpoch", ""],
    law: "revokeSubject ends every session that the subject had, and nobody else's"
  },
  {
    fault: "load ignores revocations of everyone",
    replace: [" && noted.namespaceEpoch >= current.namespaceEpoch", ""],
    law: "revokeAll ends every session of the namespace, anonymous ones too, and no other"
  },
  {
    fault: "create replaces a taken key",
    replace: ["if (entries.has(key) || index.keyOf(", "if (index.keyOf("],
    law: "create never replaces: a taken key keeps its record"
  },
  {
    fault: "create replaces a taken id",
    replace: [
      "if (entries.has(key) || index.keyOf(record.namespace, record.id) !== undefined) return",
      "if (entries.has(key)) return"
    ],
    law: "create never replaces: a taken id keeps its record"
  },
  {
    fault: "create replaces what has expired",
    replace: ["if (entries.has(key) || index.keyOf(", "if (alive(key, now) !== undefined || index.keyOf("],
    law: "create never replaces, not even a record that has expired"
  },
  {
    fault: "save inserts where nothing is",
    replace: [
      `if (entry === undefined) return "gone"
        if (entry.record.version !== expectedVersion) return "conflict"
        const next = applySave(entry.record, record)
        if (entries.bySize === true) makeRoom(key, next, now)
        put(key, { ...entry, record: next })`,
      `if (entry !== undefined && entry.record.version !== expectedVersion) return "conflict"
        put(key, { ...epochsOf(record), ...entry, record: applySave(entry?.record ?? record, record) })`
    ],
    law: "save never inserts"
  },
  {
    fault: "save brings back what a logout has ended",
    replace: [
      `if (entry === undefined) return "gone"
        if (entry.record.version !== expectedVersion) return "conflict"
        const next = applySave(entry.record, record)
        if (entries.bySize === true) makeRoom(key, next, now)
        put(key, { ...entry, record: next })`,
      `if (entry !== undefined && entry.record.version !== expectedVersion) return "conflict"
        put(key, { ...epochsOf(record), ...entry, record: applySave(entry?.record ?? record, record) })`
    ],
    law: "an update and a logout race, in every order of their calls"
  },
  {
    fault: "save does not compare versions",
    replace: [
      `if (entry.record.version !== expectedVersion) return "conflict"
        const next = applySave(`,
      `const next = applySave(`
    ],
    law: "save at another version, later or earlier, is a conflict and changes nothing"
  },
  {
    fault: "save does not compare versions: an update is lost",
    replace: [
      `if (entry.record.version !== expectedVersion) return "conflict"
        const next = applySave(`,
      `const next = applySave(`
    ],
    law: "an update and an update race, in every order of their calls"
  },
  {
    fault: "save accepts any later version",
    replace: [
      `if (entry.record.version !== expectedVersion) return "conflict"
        const next = applySave(`,
      `if (entry.record.version > expectedVersion) return "conflict"
        const next = applySave(`
    ],
    law: "save at another version, later or earlier, is a conflict and changes nothing"
  },
  {
    fault: "save takes the version that it is given",
    replace: ["version: old.version + 1,", "version: next.version,"],
    law: "save replaces data, attributes, schema version, write id, lifetime and times, and the version grows by one"
  },
  {
    fault: "save moves lastSeenAt back",
    replace: [
      "lastSeenAt: Math.max(old.lastSeenAt, next.lastSeenAt),",
      "lastSeenAt: next.lastSeenAt,"
    ],
    law: "save moves times only forward"
  },
  {
    fault: "save moves the end back",
    replace: ["? Math.max(old.expiry.at, next.expiry.at)", "? next.expiry.at"],
    law: "save moves times only forward"
  },
  {
    fault: "save keeps the later end for another lifetime too",
    replace: [": next.expiry.at,", ": Math.max(old.expiry.at, next.expiry.at),"],
    law: "save moves the end back only for another lifetime"
  },
  {
    fault: "save moves the deadline",
    replace: ["deadline: old.expiry.deadline", "deadline: next.expiry.deadline"],
    law: "save leaves id, subject, namespace, deadline and the times of birth and authentication as they are"
  },
  {
    fault: "save forgets the write id",
    replace: ["writeId: next.writeId,", "writeId: old.writeId,"],
    law: "save replaces data, attributes, schema version, write id, lifetime and times, and the version grows by one"
  },
  {
    fault: "touch moves the version",
    replace: [
      "=> ({\n  ...old,\n  lastSeenAt",
      "=> ({\n  ...old,\n  version: old.version + 1,\n  lastSeenAt"
    ],
    law: "touch moves lastSeenAt and the end forward, never beyond the deadline, and nothing else"
  },
  {
    fault: "touch moves the end beyond the deadline",
    replace: ["Math.min(expiresAt, old.expiry.deadline ?? Infinity)", "expiresAt"],
    law: "touch moves lastSeenAt and the end forward, never beyond the deadline, and nothing else"
  },
  {
    fault: "touch moves the end back",
    replace: ["at: Math.max(old.expiry.at, Math.min(", "at: (Math.min("],
    law: "touch moves lastSeenAt and the end forward, never beyond the deadline, and nothing else"
  },
  {
    fault: "touch revives what has expired",
    replace: [
      `const entry = alive(key, times.now)
        if (entry === undefined) return "gone"
        put(key, { ...entry, record: applyTouch(`,
      `const entry = entries.get(key)
        if (entry === undefined) return "gone"
        put(key, { ...entry, record: applyTouch(`
    ],
    law: "a touch of an expired record is gone, from the very moment of expiry on"
  },
  {
    fault: "rotate leaves the old key alive",
    replace: ["remove(key)\n        insert(newKey", "insert(newKey"],
    law: "rotate moves the record to the new key and replaces all of it; the old key and id are dead"
  },
  {
    fault: "rotate leaves the old key alive: two tokens of one session",
    replace: ["remove(key)\n        insert(newKey", "insert(newKey"],
    law: "a read and a login race, in every order of their calls"
  },
  {
    fault: "rotate does not compare versions",
    replace: ["if (entry.record.version !== expectedVersion || entries.has(newKey)", "if (entries.has(newKey)"],
    law: "rotate at another version is a conflict and changes nothing"
  },
  {
    fault: "rotate replaces what is under the new key",
    replace: ["|| entries.has(newKey) ||", "||"],
    law: "rotate never replaces: onto a taken key it is a conflict, and both records stay"
  },
  {
    fault: "rotate escapes the revocation of its subject",
    replace: [
      "insert(newKey, { ...record, version: expectedVersion + 1 }, now)",
      `put(newKey, {
        record: { ...record, version: expectedVersion + 1 },
        subjectEpoch: epochsOf(record).subjectEpoch + (entry.record.subject === record.subject ? 1 : 0),
        namespaceEpoch: entry.namespaceEpoch
      })`
    ],
    law: "a session that stays with its subject is ended by the subject's revocation, however often it rotates"
  },
  {
    fault: "destroy only says so",
    replace: ["destroy: (key) => done(() => void remove(key)),", "destroy: () => Exit.void,"],
    law: "destroy ends the record: nothing but a create can follow"
  },
  {
    fault: "removeExpired takes what is alive",
    replace: ["remove(index.firstExpired(now))", "remove(index.firstExpired(Infinity))"],
    law: "removeExpired deletes what has expired, at most so many at once, and says how many"
  },
  {
    fault: "removeExpired knows no limit",
    replace: ["while (removed < limit && remove(", "while (remove("],
    law: "removeExpired deletes what has expired, at most so many at once, and says how many"
  },
  {
    fault: "list shows what is dead",
    replace: ["alive(key, now)?.record ?? []", "entries.peek(key)?.record ?? []"],
    law: "what has expired is absent for every function, from the very moment of expiry on"
  },
  {
    fault: "list shows the newest first",
    replace: ["a.createdAt - b.createdAt", "b.createdAt - a.createdAt"],
    law: "list shows a subject's live records, oldest first, without their data"
  },
  {
    fault: "revokeSubject ends the session that it should spare",
    replace: ["put(key, { ...spared, subjectEpoch: next })", "void key"],
    law: "revokeSubject spares the session `except`, which goes on as before"
  },
  {
    fault: "revokeSubject revives an exception that was revoked before",
    replace: ["&& spared.subjectEpoch === next - 1", ""],
    law: "revokeSubject does not revive an `except` that was revoked before"
  },
  {
    fault: "keys are compared without case",
    replace: [
      "entries.peek(key)\n    return entry !== undefined",
      "entries.peek(index.firstExpired(Infinity)?.toLowerCase() === key.toLowerCase() ? index.firstExpired(Infinity) : key)\n    return entry !== undefined"
    ],
    law: "keys that differ only in case are two keys"
  },
  {
    fault: "scan tells a key that is not the record's",
    replace: ["page.push({ ...entry.record, key })", "page.push({ ...entry.record, key: entry.record.id as never })"],
    law: "the pages of scan are complete, in the order of ids, disjoint, and of no more than the limit"
  },
  {
    fault: "removeExpired forgets the revocations of subjects",
    replace: [
      "removed++\n    return removed",
      "removed++\n    for (const of of epochs.keys()) if (!of.startsWith(\":\")) epochs.delete(of)\n    return removed"
    ],
    law: "a revocation of a subject holds after removeExpired, whoever's records were removed"
  },
  {
    fault: "removeExpired forgets the revocations of everyone",
    replace: [
      "removed++\n    return removed",
      "removed++\n    for (const of of epochs.keys()) if (of.startsWith(\":\")) epochs.delete(of)\n    return removed"
    ],
    law: "a revocation of everyone holds after removeExpired, whoever's records were removed"
  },
  {
    fault: "removeExpired forgets the revocations of the subjects whose records it removes",
    replace: [
      "&& index.ofSubject(record.namespace, record.subject).size === 0",
      "&& !(record.expiry.at >= Math.max(...[...index.ofSubject(record.namespace, record.subject)].map((key) => entries.peek(key)?.record.expiry.at ?? 0)))"
    ],
    law: "a revocation of a subject holds after removeExpired, whoever's records were removed"
  },
  {
    fault: "a session that ends takes the revocation of its subject with it",
    replace: ["&& index.ofSubject(record.namespace, record.subject).size === 0", ""],
    law: "a revocation of a subject holds when other sessions of the subject end"
  },
  {
    fault: "removeExpired deletes what was revoked and has not expired",
    replace: [
      "while (removed < limit && remove(index.firstExpired(now))) removed++",
      "while (removed < limit && remove(alive(index.firstExpired(Infinity), now) === undefined ? index.firstExpired(Infinity) : undefined)) removed++"
    ],
    law: "removeExpired leaves what was revoked and has not expired: it counts until then"
  },
  {
    fault: "removeExpired says more than it has done",
    replace: ["removed++\n    return removed", "removed++\n    return removed + 1"],
    law: "any sequence of commands is answered as the store in memory answers it, and leaves the same"
  },
  {
    fault: "count finds nothing",
    replace: ["return { current: entries.size - expired, expired }", "return { current: 0, expired: 0 }"],
    law: "count tells how many records have expired and how many have not, in all namespaces, revoked ones too"
  },
  {
    fault: "count does not look at the time",
    replace: ["return { current: entries.size - expired, expired }", "return { current: entries.size, expired: 0 }"],
    law: "count tells how many records have expired and how many have not, in all namespaces, revoked ones too"
  },
  {
    fault: "count leaves out what was revoked",
    replace: [
      "return { current: entries.size - expired, expired }",
      "return { current: [...entries.keys()].filter((key) => alive(key, now) !== undefined).length, expired }"
    ],
    law: "count tells how many records have expired and how many have not, in all namespaces, revoked ones too"
  },
  {
    fault: "count is one too many",
    replace: ["current: entries.size - expired, expired", "current: entries.size - expired + 1, expired"],
    law: "any sequence of commands is answered as the store in memory answers it, and leaves the same"
  },
  {
    fault: "save keeps the highest schema version",
    replace: [
      "schemaVersion: next.schemaVersion,",
      "schemaVersion: Math.max(old.schemaVersion, next.schemaVersion),"
    ],
    law: "save replaces the schema version also by an earlier one: the data is of that version"
  },
  {
    fault: "revoke takes what is dead and still there for absent",
    replace: [
      "remove(index.keyOf(namespace, id))",
      "alive(index.keyOf(namespace, id), 0) !== undefined && remove(index.keyOf(namespace, id))"
    ],
    law: "revoke deletes also what is dead and still there, and says so, once"
  },
  {
    fault: "no two keys are said to live in one place",
    replace: [
      "capabilities: { durableDestroy: false, remote: false },",
      "capabilities: { durableDestroy: false, remote: false, colocated: () => false },"
    ],
    law: "where keys live apart, as the store says, each has others in its place, and a record rotates to them"
  },
  {
    fault: "a key is said to live beside another, and not the other beside it",
    replace: [
      `capabilities: { durableDestroy: false, remote: false },`,
      `capabilities: { durableDestroy: false, remote: false, colocated: (key, newKey) => key < newKey },`
    ],
    law: "where keys live apart, as the store says, each has others in its place, and a record rotates to them"
  },
  {
    fault: "removeExpired believes any clock",
    replace: [
      "Done.flatMap(checkClock(now, Date.now()), () => done(() => removeExpired(now, limit)))",
      "done(() => removeExpired(now, limit))"
    ],
    law: "removeExpired by a clock that is ahead of the store's is refused with the reason clock, and deletes nothing"
  },
  {
    fault: "create believes any clock",
    replace: ["const record = bounded(proposed, now, tick())", "const record = proposed"],
    law:
      "a write by a clock that is ahead moves an end no further than one by the store's clock, and no time into the future"
  },
  {
    fault: "touch believes any clock",
    replace: [
      "const touched = boundedTouch(times, tick())",
      "const touched = (tick(), times)"
    ],
    law:
      "a write by a clock that is ahead moves an end no further than one by the store's clock, and no time into the future"
  },
  {
    fault: "save believes any clock",
    replace: [
      "const record = bounded(proposed, now, tick(), endAt(key))\n        const entry = alive(key, now)\n        if (entry === undefined) " +
      "return \"gone\"\n        if (entry.record.version !== expectedVersion) return",
      "const record = proposed\n        const entry = alive(key, now)\n        if (entry === undefined) return \"gone\"\n        " +
      "if (entry.record.version !== expectedVersion) return"
    ],
    law:
      "a write by a clock that is ahead moves an end no further than one by the store's clock, and no time into the future"
  },
  {
    fault: "list gives everything at once",
    replace: [".slice(0, Math.max(limit, 0))", ""],
    law: "the pages of list are complete, in the order of age, disjoint, and of no more than the limit"
  },
  {
    fault: "list begins anew with each page",
    replace: ["all.filter((one) => after === undefined || byAge(after, one) < 0)", "[...all]"],
    law: "list goes on after a session that is no longer there; what stays is in one page, whatever comes and goes"
  },
  {
    fault: "pages of list part those of one moment",
    replace: ["byAge(after, one) < 0", "after.createdAt < one.createdAt"],
    law: "the pages of list are complete, in the order of age, disjoint, and of no more than the limit"
  },
  {
    fault: "data loses U+0000",
    replace: ["data: next.data,", "data: next.data.replaceAll(\"\\\\u0000\", \"\"),"],
    law: "data comes back byte for byte from create, save and rotate: an escaped U+0000"
  }
]

/** What is left to chance comes out the same way in every run. */
const seeded = (seed: number) => ConfigProvider.fromMap(new Map([["SESSION_LAWS_SEED", String(seed)]]))

let lastBackup = MemoryStore.make()
let folder = ""
beforeAll(async () => {
  // Inside the project, so that what the store imports is found.
  await mkdir("node_modules/.cache", { recursive: true })
  folder = await mkdtemp("node_modules/.cache/mutants-")
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const table = "src/internal/memory/table.ts"

/** The store, and the rules that it shares with others. */
const sources = [table, "src/SessionRecord.ts", "src/SessionStore.ts"].map((path) => ({
  path: Path.resolve(path),
  text: readFileSync(path, "utf8")
}))

const makeMutant = async ([from, to]: Mutant["replace"], name: string): Promise<Store> => {
  const pieces = sources.flatMap(({ path, text }) => text.split(from).slice(1).map(() => ({ path, text })))
  assert.lengthOf(pieces, 1, `the piece is there once: ${from}`)
  const outfile = Path.resolve(folder, `${name}.mjs`)
  await build({
    entryPoints: [table],
    plugins: [{
      name: "mutant",
      setup: ({ onLoad }) =>
        onLoad({ filter: /\.ts$/ }, ({ path }) => {
          const piece = pieces.find((piece) => piece.path === path)
          return piece === undefined ? undefined : { contents: piece.text.replace(from, () => to), loader: "ts" }
        })
    }],
    bundle: true,
    packages: "external",
    format: "esm",
    outfile,
    logLevel: "silent"
  })
  const mutant: Pick<typeof MemoryTable, "make"> = await import(pathToFileURL(outfile).href)
  return mutant.make(() => {
    const entries = new Map<StoreKey, MemoryTable.Entry>()
    return Object.assign(entries, { peek: (key: StoreKey) => entries.get(key), isFull: () => false })
  })
}

describe("a store with one fault breaks the law", () => {
  for (const [index, { fault, law: name, replace }] of mutants.entries()) {
    it(`${fault}: ${name}`, async () => {
      const law = storeLaws.find((law) => law.name === name)
      if (law === undefined) return assert.fail("there is no such law")
      const mutant = await makeMutant(replace, String(index))
      const exit = await Effect.runPromiseExit(
        Effect.provideService(law.law, SessionStore, mutant).pipe(Effect.withConfigProvider(seeded(1)))
      )
      assert.isTrue(Exit.isFailure(exit), "the law did not notice")
    })
  }

  it("what is left to chance is named by its seed, and the same again with it", async () => {
    const name = "any sequence of commands is answered as the store in memory answers it, and leaves the same"
    const law = storeLaws.find((law) => law.name === name)
    const mutant = mutants.find(({ fault }) => fault === "count is one too many")
    if (law === undefined || mutant === undefined) return assert.fail("there is no such law")
    const messageOf = async (provider: ConfigProvider.ConfigProvider) => {
      const store = await makeMutant(mutant.replace, "seeded")
      const broken = await Effect.runPromise(
        Effect.flip(Effect.provideService(law.law, SessionStore, store)).pipe(Effect.withConfigProvider(provider))
      )
      assert.instanceOf(broken, LawBroken)
      // Names are fresh each time; the commands are what the seed draws.
      return [/SESSION_LAWS_SEED=(-?\d+)$/.exec(broken.message)?.[1], /Counterexample: .*/.exec(broken.message)?.[0]]
    }
    const [seed, counterexample] = await messageOf(ConfigProvider.fromMap(new Map()))
    assert.match(seed ?? "", /^-?\d+$/)
    assert.match(counterexample ?? "", /_tag/)
    assert.deepStrictEqual(await messageOf(seeded(Number(seed))), [seed, counterexample])
    const odd = ConfigProvider.fromMap(new Map([["SESSION_LAWS_SEED", "odd"]]))
    const refused = await Effect.runPromise(
      Effect.flip(Effect.provideService(law.law, SessionStore, MemoryStore.make())).pipe(Effect.withConfigProvider(odd))
    )
    assert.match(String(refused), /SESSION_LAWS_SEED/)
  })

  for (const { law, name } of capabilityLaws(Effect.sync(() => lastBackup))) {
    it(`it claims that a destroy is durable, and a crash undoes it: ${name}`, async () => {
      lastBackup = MemoryStore.make()
      // What the law writes reaches the backup too, but for what it ends.
      const store = MemoryStore.make()
      const forgetful: Store = {
        ...store,
        capabilities: { durableDestroy: true, remote: false },
        create: (...args) => Effect.zipLeft(store.create(...args), lastBackup.create(...args))
      }
      const exit = await Effect.runPromiseExit(Effect.provideService(law, SessionStore, forgetful))
      assert.isTrue(Exit.isFailure(exit), "the law did not notice")
    })
  }

  it("there are at least 20, and no fault is listed twice", () => {
    assert.isAtLeast(new Set(mutants.map(({ fault }) => fault)).size, 20)
    assert.strictEqual(new Set(mutants.map(({ fault }) => fault)).size, mutants.length)
  })
})
