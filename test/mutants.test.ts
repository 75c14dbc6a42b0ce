/**
 * Mutation tests of the store laws: each fault in the memory store must be detected by the law named with it.
 */
import { ConfigProvider, Effect, Exit, Option } from "effect"
import { MemoryStore } from "effect-session"
import { SessionStore } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import type { StoreKey } from "effect-session/StoreKey"
import { capabilityLaws, endReasonLaws, LawBroken, storeLaws } from "effect-session/testing"
import { build } from "esbuild"
import { readFileSync } from "node:fs"
import { mkdir, mkdtemp, rm } from "node:fs/promises"
import * as Path from "node:path"
import { pathToFileURL } from "node:url"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import type * as MemoryTable from "../src/internal/memory/table.js"

interface Mutant {
  /** The fault of the store. */
  readonly fault: string
  /** The source text of the memory store that is replaced, and its replacement. */
  readonly replace: readonly [from: string, to: string]
  /** The law that must fail. */
  readonly law: string
}

const limited = (law: string) => `if the store declares \`limitsSubjects\`, ${law}`

const mutants: ReadonlyArray<Mutant> = [
  {
    fault: "load ignores expiry",
    replace: [
      "const entry = alive(key, now)\n        if (entry === undefined) return Option.none()",
      "const entry = alive(key, 0)\n        if (entry === undefined) return Option.none()"
    ],
    law: "an expired record is absent for every operation, from the exact time of expiry"
  },
  {
    fault: "load ignores revokeSubject",
    replace: [" &&\n  noted.subjectEpoch >= current.subjectEpoch", ""],
    law: "`revokeSubject` ends every session of the subject and no others"
  },
  {
    fault: "load ignores revokeAll",
    replace: [" && noted.namespaceEpoch >= current.namespaceEpoch", ""],
    law: "`revokeAll` ends every session of the namespace, including anonymous ones, and no others"
  },
  {
    fault: "create replaces a record under the same key",
    replace: ["if (entries.has(key) || index.keyOf(", "if (index.keyOf("],
    law: "`create` with a key that is in use returns `exists` and keeps the existing record"
  },
  {
    fault: "create replaces a record with the same id",
    replace: [
      "if (entries.has(key) || index.keyOf(record.namespace, record.id) !== undefined) return",
      "if (entries.has(key)) return"
    ],
    law: "`create` with an id that is in use returns `exists` and keeps the existing record"
  },
  {
    fault: "create replaces an expired record",
    replace: ["if (entries.has(key) || index.keyOf(", "if (alive(key, now) !== undefined || index.keyOf("],
    law: "`create` does not replace an expired record"
  },
  {
    fault: "save inserts under an unknown key",
    replace: [
      `if (entry === undefined) return "gone"
        if (entry.record.version !== expectedVersion) return "conflict"
        const next = applySave(entry.record, record)
        if (entries.bySize === true) makeRoom(key, next, now)
        put(key, { ...entry, record: next })`,
      `if (entry !== undefined && entry.record.version !== expectedVersion) return "conflict"
        put(key, { ...epochsOf(record), ...entry, record: applySave(entry?.record ?? record, record) })`
    ],
    law: "`save` with an unknown key returns `gone` and inserts nothing"
  },
  {
    fault: "save revives a session that a logout has ended",
    replace: [
      `if (entry === undefined) return "gone"
        if (entry.record.version !== expectedVersion) return "conflict"
        const next = applySave(entry.record, record)
        if (entries.bySize === true) makeRoom(key, next, now)
        put(key, { ...entry, record: next })`,
      `if (entry !== undefined && entry.record.version !== expectedVersion) return "conflict"
        put(key, { ...epochsOf(record), ...entry, record: applySave(entry?.record ?? record, record) })`
    ],
    law: "an update and a logout lose no update and revive no session, in every order of their store calls"
  },
  {
    fault: "save does not compare versions",
    replace: [
      `if (entry.record.version !== expectedVersion) return "conflict"
        const next = applySave(`,
      `const next = applySave(`
    ],
    law: "`save` with a lower or higher expected version returns `conflict` and changes nothing"
  },
  {
    fault: "save does not compare versions: an update is lost",
    replace: [
      `if (entry.record.version !== expectedVersion) return "conflict"
        const next = applySave(`,
      `const next = applySave(`
    ],
    law: "an update and an update lose no update and revive no session, in every order of their store calls"
  },
  {
    fault: "save accepts any later version",
    replace: [
      `if (entry.record.version !== expectedVersion) return "conflict"
        const next = applySave(`,
      `if (entry.record.version > expectedVersion) return "conflict"
        const next = applySave(`
    ],
    law: "`save` with a lower or higher expected version returns `conflict` and changes nothing"
  },
  {
    fault: "save stores the version of its argument",
    replace: ["version: old.version + 1,", "version: next.version,"],
    law: "`save` replaces data, attributes, schema version, write id, lifetime and times, and increments the version"
  },
  {
    fault: "save moves lastSeenAt back",
    replace: [
      "lastSeenAt: Math.max(old.lastSeenAt, next.lastSeenAt),",
      "lastSeenAt: next.lastSeenAt,"
    ],
    law: "`save` moves times only forward"
  },
  {
    fault: "save moves the expiry back",
    replace: ["? Math.max(old.expiry.at, next.expiry.at)", "? next.expiry.at"],
    law: "`save` moves times only forward"
  },
  {
    fault: "save keeps the later expiry when the lifetime changes",
    replace: [": next.expiry.at,", ": Math.max(old.expiry.at, next.expiry.at),"],
    law: "`save` moves the expiry back only if the lifetime changes"
  },
  {
    fault: "save moves the deadline",
    replace: ["deadline: old.expiry.deadline", "deadline: next.expiry.deadline"],
    law: "`save` does not change id, subject, namespace, deadline, `createdAt` or `authenticatedAt`"
  },
  {
    fault: "save keeps the old write id",
    replace: ["writeId: next.writeId,", "writeId: old.writeId,"],
    law: "`save` replaces data, attributes, schema version, write id, lifetime and times, and increments the version"
  },
  {
    fault: "touch increments the version",
    replace: [
      "=> ({\n  ...old,\n  lastSeenAt",
      "=> ({\n  ...old,\n  version: old.version + 1,\n  lastSeenAt"
    ],
    law: "`touch` moves `lastSeenAt` and the expiry forward, never beyond the deadline, and changes nothing else"
  },
  {
    fault: "touch moves the expiry beyond the deadline",
    replace: ["Math.min(expiresAt, old.expiry.deadline ?? Infinity)", "expiresAt"],
    law: "`touch` moves `lastSeenAt` and the expiry forward, never beyond the deadline, and changes nothing else"
  },
  {
    fault: "touch moves the expiry back",
    replace: ["at: Math.max(old.expiry.at, Math.min(", "at: (Math.min("],
    law: "`touch` moves `lastSeenAt` and the expiry forward, never beyond the deadline, and changes nothing else"
  },
  {
    fault: "touch revives an expired record",
    replace: [
      `const entry = alive(key, times.now)
        if (entry === undefined) return "gone"
        put(key, { ...entry, record: applyTouch(`,
      `const entry = entries.get(key)
        if (entry === undefined) return "gone"
        put(key, { ...entry, record: applyTouch(`
    ],
    law: "`touch` of an expired record returns `gone`, from the exact time of expiry"
  },
  {
    fault: "rotate keeps the old key valid",
    replace: ["remove(key, \"rotated\")\n        insert(newKey", "insert(newKey"],
    law: "`rotate` moves the record to the new key and replaces its contents; the old key and id are absent"
  },
  {
    fault: "rotate keeps the old key valid: two tokens of one session",
    replace: ["remove(key, \"rotated\")\n        insert(newKey", "insert(newKey"],
    law: "a read and a login lose no update and revive no session, in every order of their store calls"
  },
  {
    fault: "rotate does not compare versions",
    replace: ["if (entry.record.version !== expectedVersion || entries.has(newKey)", "if (entries.has(newKey)"],
    law: "`rotate` with a lower or higher expected version returns `conflict` and changes nothing"
  },
  {
    fault: "rotate replaces the record under the new key",
    replace: ["|| entries.has(newKey) ||", "||"],
    law: "`rotate` never replaces a record: a new key that is in use is a `conflict`, and both records stay"
  },
  {
    fault: "a rotated session is not ended by revokeSubject",
    replace: [
      "insert(newKey, { ...record, version: expectedVersion + 1 }, now)",
      `put(newKey, {
        record: { ...record, version: expectedVersion + 1 },
        subjectEpoch: epochsOf(record).subjectEpoch + (entry.record.subject === record.subject ? 1 : 0),
        namespaceEpoch: entry.namespaceEpoch
      })`
    ],
    law: "`revokeSubject` ends a session of the subject however often it was rotated"
  },
  {
    fault: "destroy does nothing",
    replace: ["destroy: (key) => done(() => void remove(key, \"loggedOut\")),", "destroy: () => Exit.void,"],
    law: "`destroy` removes the record: afterwards only `create` can use its key"
  },
  {
    fault: "removeExpired removes live records",
    replace: ["remove(index.firstExpired(now))", "remove(index.firstExpired(Infinity))"],
    law: "`removeExpired` deletes expired records, at most `limit` per call, and returns their number"
  },
  {
    fault: "removeExpired ignores the limit",
    replace: ["while (removed < limit && remove(", "while (remove("],
    law: "`removeExpired` deletes expired records, at most `limit` per call, and returns their number"
  },
  {
    fault: "list returns records that are not alive",
    replace: ["alive(key, now)?.record ?? []", "entries.peek(key)?.record ?? []"],
    law: "an expired record is absent for every operation, from the exact time of expiry"
  },
  {
    fault: "list returns the newest first",
    replace: ["a.createdAt - b.createdAt", "b.createdAt - a.createdAt"],
    law: "`list` returns a subject's live records, oldest first, without their data"
  },
  {
    fault: "revokeSubject ends the session `except`",
    replace: ["put(key, { ...spared, subjectEpoch: next })", "void key"],
    law: "`revokeSubject` keeps the session `except`, which can be saved and rotated as before"
  },
  {
    fault: "revokeSubject revives an `except` that was revoked before",
    replace: ["&& spared.subjectEpoch === next - 1", ""],
    law: "`revokeSubject` does not revive an `except` that was revoked before"
  },
  {
    fault: "keys are compared case-insensitively",
    replace: [
      "entries.peek(key)\n    return entry !== undefined",
      "entries.peek(index.firstExpired(Infinity)?.toLowerCase() === key.toLowerCase() ? index.firstExpired(Infinity) : key)\n    return entry !== undefined"
    ],
    law: "keys are case-sensitive"
  },
  {
    fault: "scan returns a wrong key",
    replace: ["page.push({ ...entry.record, key })", "page.push({ ...entry.record, key: entry.record.id as never })"],
    law: "the pages of `scan` are complete, ordered by id, disjoint, and no longer than the limit"
  },
  {
    fault: "removeExpired discards the epochs of all subjects",
    replace: [
      "removed++\n    return removed",
      "removed++\n    for (const of of epochs.keys()) if (!of.startsWith(\":\")) epochs.delete(of)\n    return removed"
    ],
    law: "`revokeSubject` stays in effect after `removeExpired`, whichever subjects' records were removed"
  },
  {
    fault: "removeExpired discards the epochs of namespaces",
    replace: [
      "removed++\n    return removed",
      "removed++\n    for (const of of epochs.keys()) if (of.startsWith(\":\")) epochs.delete(of)\n    return removed"
    ],
    law: "`revokeAll` stays in effect after `removeExpired`, whichever subjects' records were removed"
  },
  {
    fault: "removeExpired discards the epochs of the subjects whose records it removes",
    replace: [
      "&& index.ofSubject(record.namespace, record.subject).size === 0",
      "&& !(record.expiry.at >= Math.max(...[...index.ofSubject(record.namespace, record.subject)].map((key) => entries.peek(key)?.record.expiry.at ?? 0)))"
    ],
    law: "`revokeSubject` stays in effect after `removeExpired`, whichever subjects' records were removed"
  },
  {
    fault: "the end of a session discards the epoch of its subject",
    replace: ["&& index.ofSubject(record.namespace, record.subject).size === 0", ""],
    law: "`revokeSubject` stays in effect when other sessions of the subject end"
  },
  {
    fault: "removeExpired deletes revoked records that have not expired",
    replace: [
      "while (removed < limit && remove(index.firstExpired(now))) removed++",
      "while (removed < limit && remove(alive(index.firstExpired(Infinity), now) === undefined ? index.firstExpired(Infinity) : undefined)) removed++"
    ],
    law: "`removeExpired` keeps revoked records, and `count` includes them, until they expire"
  },
  {
    fault: "removeExpired returns a number that is one too high",
    replace: ["removed++\n    return removed", "removed++\n    return removed + 1"],
    law: "any sequence of commands has the same results and leaves the same state as on `MemoryStore`"
  },
  {
    fault: "count returns 0",
    replace: ["return { current: entries.size - expired, expired }", "return { current: 0, expired: 0 }"],
    law: "`count` returns the numbers of expired and of other records in all namespaces, including revoked ones"
  },
  {
    fault: "count ignores expiry",
    replace: ["return { current: entries.size - expired, expired }", "return { current: entries.size, expired: 0 }"],
    law: "`count` returns the numbers of expired and of other records in all namespaces, including revoked ones"
  },
  {
    fault: "count omits revoked records",
    replace: [
      "return { current: entries.size - expired, expired }",
      "return { current: [...entries.keys()].filter((key) => alive(key, now) !== undefined).length, expired }"
    ],
    law: "`count` returns the numbers of expired and of other records in all namespaces, including revoked ones"
  },
  {
    fault: "count returns a number that is one too high",
    replace: ["current: entries.size - expired, expired", "current: entries.size - expired + 1, expired"],
    law: "any sequence of commands has the same results and leaves the same state as on `MemoryStore`"
  },
  {
    fault: "save stores the highest schema version",
    replace: [
      "schemaVersion: next.schemaVersion,",
      "schemaVersion: Math.max(old.schemaVersion, next.schemaVersion),"
    ],
    law: "`save` accepts a lower schema version: it is the version of the saved data"
  },
  {
    fault: "revoke treats a revoked record as absent",
    replace: [
      "return !isOthers && remove(",
      "return !isOthers && alive(key, 0) !== undefined && remove("
    ],
    law: "`revoke` deletes a revoked record that is still stored, and returns true once"
  },
  {
    fault: "no two keys are colocated",
    replace: [
      "limitsSubjects: true },",
      "limitsSubjects: true, colocated: () => false },"
    ],
    law: "if the store declares `colocated`, 1,000 random keys contain a colocated one, and rotation to it succeeds"
  },
  {
    fault: "colocated is not symmetric",
    replace: [
      "limitsSubjects: true },",
      "limitsSubjects: true, colocated: (key, newKey) => key < newKey },"
    ],
    law: "if the store declares `colocated`, 1,000 random keys contain a colocated one, and rotation to it succeeds"
  },
  {
    fault: "removeExpired trusts any clock",
    replace: [
      "Done.flatMap(checkClock(now, Date.now()), () => done(() => removeExpired(now, limit)))",
      "done(() => removeExpired(now, limit))"
    ],
    law: "`removeExpired` from a clock ahead of the store's fails with reason `clock` and deletes nothing"
  },
  {
    fault: "create trusts any clock",
    replace: ["const record = bounded(proposed, now, tick())", "const record = proposed"],
    law:
      "a write from a clock that is ahead sets no later expiry than the store's clock allows, and no time in the future"
  },
  {
    fault: "touch trusts any clock",
    replace: [
      "const touched = boundedTouch(times, tick())",
      "const touched = (tick(), times)"
    ],
    law:
      "a write from a clock that is ahead sets no later expiry than the store's clock allows, and no time in the future"
  },
  {
    fault: "save trusts any clock",
    replace: [
      "const record = bounded(proposed, now, tick(), endAt(key))\n        const entry = alive(key, now)\n        if (entry === undefined) " +
      "return \"gone\"\n        if (entry.record.version !== expectedVersion) return",
      "const record = proposed\n        const entry = alive(key, now)\n        if (entry === undefined) return \"gone\"\n        " +
      "if (entry.record.version !== expectedVersion) return"
    ],
    law:
      "a write from a clock that is ahead sets no later expiry than the store's clock allows, and no time in the future"
  },
  {
    fault: "list ignores the limit",
    replace: [".slice(0, Math.max(limit, 0))", ""],
    law: "the pages of `list` are complete, ordered by age, disjoint, and no longer than the limit"
  },
  {
    fault: "list ignores `after`",
    replace: ["all.filter((one) => after === undefined || byAge(after, one) < 0)", "[...all]"],
    law: "`list` continues after a deleted session, and returns each remaining one once despite changes between pages"
  },
  {
    fault: "pages of list lose sessions with equal creation times",
    replace: ["byAge(after, one) < 0", "after.createdAt < one.createdAt"],
    law: "the pages of `list` are complete, ordered by age, disjoint, and no longer than the limit"
  },
  {
    fault: "data loses U+0000",
    replace: ["data: next.data,", "data: next.data.replaceAll(\"\\\\u0000\", \"\"),"],
    law: "`create`, `save` and `rotate` preserve data byte for byte: an escaped U+0000"
  },
  {
    fault: "revoke ignores its subject",
    replace: ["return !isOthers && remove(", "return remove("],
    law: "`revoke` with a subject ends a session of that subject, alive or not, and changes no other one"
  },
  {
    fault: "revoke with a subject ends an anonymous session",
    replace: [
      "entries.peek(key)?.record.subject !== subject",
      "(entries.peek(key)?.record.subject ?? subject) !== subject"
    ],
    law: "`revoke` with a subject ends a session of that subject, alive or not, and changes no other one"
  },
  {
    fault: "revoke with a subject treats a revoked record as absent",
    replace: ["entries.peek(key)?.record.subject !== subject", "alive(key, 0)?.record.subject !== subject"],
    law: "`revoke` with a subject ends a session of that subject, alive or not, and changes no other one"
  },
  {
    fault: "revoke ignores its subject once the version is not 1",
    replace: [
      "return !isOthers && remove(",
      "return !(isOthers && entries.peek(key)?.record.version === 1) && remove("
    ],
    law:
      "`revoke` with a subject and a login as another subject end the session only for its owner, in every order of " +
      "their store calls"
  },
  {
    fault: "the store limits subjects without declaring it",
    replace: ["remote: false, limitsSubjects: true }", "remote: false }"],
    law: "a store that does not declare `limitsSubjects` ignores limits"
  },
  {
    fault: "a limit ends the newest sessions",
    replace: ["others.sort(([, a], [, b]) => byAge(a, b))", "others.sort(([, a], [, b]) => byAge(b, a))"],
    law: limited("a login beyond the limit ends the oldest sessions, as many as necessary, never itself")
  },
  {
    fault: "a limit ends at most one session",
    replace: [".slice(0, tooMany)", ".slice(0, 1)"],
    law: limited("a login beyond the limit ends the oldest sessions, as many as necessary, never itself")
  },
  {
    fault: "a limit ends all other sessions",
    replace: [".slice(0, tooMany)", ""],
    law: "any sequence of commands has the same results and leaves the same state as on `MemoryStore`"
  },
  {
    fault: "the ids of sessions that a limit ended are incomplete",
    replace: ["ids: ended.map(([, { id }]) => id)", "ids: ended.slice(0, 1).map(([, { id }]) => id)"],
    law: limited("a login beyond the limit ends the oldest sessions, as many as necessary, never itself")
  },
  {
    fault: "the sessions that a limit ends stay",
    replace: ["for (const [key] of ended) remove(key, \"limit\")", "void remove"],
    law: limited(
      "50 concurrent logins with a limit of 3 that ends the oldest leave exactly 3 sessions, and return the ids of the others"
    )
  },
  {
    fault: "a denied rotation ends the visitor's session",
    replace: [
      "if (ended === undefined) return \"full\"\n        const outcome = evict(ended, \"saved\")",
      "if (ended === undefined) return remove(key), \"full\"\n        const outcome = evict(ended, \"saved\")"
    ],
    law: limited("a login that the limit denies returns `full` and changes nothing")
  },
  {
    fault: "a limit allows one session more",
    replace: ["const tooMany = others.length + 1 - limit.max", "const tooMany = others.length - limit.max"],
    law: limited("with a limit of 1 that ends the oldest, only the last login of a subject is alive")
  },
  {
    fault: "a limit counts sessions that are not alive",
    replace: ["alive(key, now)?.record\n      return record", "entries.peek(key)?.record\n      return record"],
    law: limited(
      "a limit neither counts nor ends sessions that are expired, revoked, anonymous, or of another subject or namespace"
    )
  },
  {
    fault: "a limit applies to anonymous sessions",
    replace: [
      "if (limit === undefined || subject === undefined) return []",
      "if (limit === undefined) return []\n    if (subject === undefined) return limit.onFull === \"deny\" ? undefined : []"
    ],
    law: limited(
      "a limit neither counts nor ends sessions that are expired, revoked, anonymous, or of another subject or namespace"
    )
  },
  {
    fault: "create checks the limit before the key and the id",
    replace: [
      "if (entries.has(key) || index.keyOf(record.namespace, record.id) !== undefined) return \"exists\"",
      "if (surplus(record, limit, now) === undefined) return \"full\"\n        if (entries.has(key) || " +
      "index.keyOf(record.namespace, record.id) !== undefined) return \"exists\""
    ],
    law: limited("`exists`, `conflict` and `gone` are returned before the limit is checked, and end no session")
  },
  {
    fault: "rotate ends sessions before it compares versions",
    replace: [
      "if (entry.record.version !== expectedVersion || entries.has(newKey)",
      "evict(surplus(record, limit, now, key) ?? [], \"saved\")\n        if (entry.record.version !== expectedVersion || " +
      "entries.has(newKey)"
    ],
    law: limited("`exists`, `conflict` and `gone` are returned before the limit is checked, and end no session")
  },
  {
    fault: "a rotation counts its session twice",
    replace: ["const record = key === own ? undefined : alive(", "const record = alive("],
    law: limited("a rotation counts its own session once, also if its id changes")
  },
  {
    fault: "touch revives a session that a limit has ended",
    replace: [
      "if (entry === undefined) return \"gone\"\n        put(key, { ...entry, record: applyTouch(entry.record, touched) })",
      "if (entry === undefined && !reasons.has(key)) return \"gone\"\n        if (entry !== undefined) put(key, " +
      "{ ...entry, record: applyTouch(entry.record, touched) })"
    ],
    law: limited("a session that a limit ends stays ended despite concurrent `save`, `touch` and `rotate` calls")
  },
  {
    fault: "rotate does not limit the sessions of a visitor who logs in",
    replace: [
      "const ended = surplus(record, limit, now, key)",
      "const ended = entry.record.subject === undefined ? [] : surplus(record, limit, now, key)"
    ],
    law: limited(
      "a login with a limit and another request leave exactly the sessions that did not end, in every order of their store calls"
    )
  },
  {
    fault: "endReason of an unknown key is a logout",
    replace: ["ended.until <= now ? Option.none()", "ended.until <= now ? Option.some(\"loggedOut\")"],
    law: "`endReason` of a live session and of an unknown key is absent"
  },
  {
    fault: "a session that was revoked by its id counts as logged out",
    replace: ["remove(key, \"revoked\")", "remove(key, \"loggedOut\")"],
    law: "`endReason` of a session that ended is the true reason, or absent"
  },
  {
    fault: "an end reason is returned for ever",
    replace: ["ended === undefined || ended.until <= now ?", "ended === undefined ?"],
    law:
      "`endReason` does not become wrong when other records are removed, and is absent once the session would have expired"
  },
  {
    fault: "a logout changes the reason of a revoked session",
    replace: ["const ended = revocationOf(entry) ?? reason", "const ended = reason"],
    law: "`endReason` is the reason of the first end, or absent: a later logout or revocation does not change it"
  },
  {
    fault: "a new session keeps the end reason of an earlier one with its key",
    replace: ["reasons.delete(key)\n    put(", "put("],
    law: "`endReason` is never the reason of an earlier session with the same key"
  },
  {
    fault: "endReason returns a wrong reason for a rotated session",
    replace: ["remove(key, \"rotated\")", "remove(key, \"loggedOut\")"],
    law: "any sequence of commands has the same results and leaves the same state as on `MemoryStore`"
  },
  {
    fault: "endReason does not know rotations",
    replace: ["remove(key, \"rotated\")", "remove(key)"],
    law: "`endReason` returns the reason of every session that ended"
  },
  {
    fault: "removeExpired discards all end reasons",
    replace: ["removed++\n    return removed", "removed++\n    reasons.clear()\n    return removed"],
    law: "`endReason` returns the reason until the session would have expired, also after the removal of other records"
  },
  {
    fault: "a logout discards the reason of a revoked session",
    replace: ["if (reason !== undefined) {", "if (reason !== undefined && revocationOf(entry) === undefined) {"],
    law: "`endReason` returns the reason of the first end, despite a later logout or revocation"
  },
  {
    fault: "endReason returns the reason of the first session with its key",
    replace: ["reasons.delete(key)\n    put(", "put("],
    law: "`endReason` returns the reason of the last of several sessions with the same key"
  }
]

/** A fault that needs time between two calls: the store does in two steps what must be one. */
interface TwoSteps {
  readonly fault: string
  readonly instead: (store: Store) => Partial<Store>
  readonly law: string
}

const inTwoSteps: ReadonlyArray<TwoSteps> = [
  {
    fault: "a denied login is decided before the write",
    instead: (store) => ({
      create: (key, record, now, limit) =>
        Effect.gen(function*() {
          const all = yield* store.list(record.namespace, record.subject ?? "", now)
          yield* Effect.yieldNow()
          return limit !== undefined && all.length >= limit.max ? "full" : yield* store.create(key, record, now)
        })
    }),
    law: limited("of 50 concurrent logins with a limit of 3 that denies, exactly 3 succeed")
  },
  {
    fault: "the sessions that a limit ends are read before the write",
    instead: (store) => ({
      create: (key, record, now, limit) =>
        Effect.gen(function*() {
          const all = yield* store.list(record.namespace, record.subject ?? "", now)
          yield* Effect.yieldNow()
          const outcome = yield* store.create(key, record, now)
          const ids = all.slice(0, Math.max(0, all.length + 1 - (limit?.max ?? Infinity))).map(({ id }) => id)
          yield* Effect.forEach(ids, (id) => store.revoke(record.namespace, id))
          return ids.length === 0 ? outcome : { _tag: "Evicted", ids }
        })
    }),
    law: limited(
      "50 concurrent logins with a limit of 3 that ends the oldest leave exactly 3 sessions, and return the ids of the others"
    )
  },
  {
    fault: "revoke reads the subject of the session before it ends it",
    instead: (store) => ({
      revoke: (namespace, id, subject) =>
        Effect.gen(function*() {
          const found = yield* store.find(namespace, id, 0)
          yield* Effect.yieldNow()
          return Option.exists(found, (one) => one.subject === subject) ? yield* store.revoke(namespace, id) : false
        })
    }),
    law: "`revoke` with a subject and a concurrent login as another subject: exactly one succeeds"
  }
]

const laws = [...storeLaws, ...endReasonLaws]

/** Runs a law on a store with a fault. */
const check = async (name: string, mutant: Store) => {
  const law = laws.find((law) => law.name === name)
  if (law === undefined) return assert.fail(`unknown law name: ${name}`)
  const exit = await Effect.runPromiseExit(
    Effect.provideService(law.law, SessionStore, mutant).pipe(Effect.withConfigProvider(seeded(1)))
  )
  assert.isTrue(Exit.isFailure(exit), "the law passed despite the fault")
}

/** Fixes the seed, so that every run is the same. */
const seeded = (seed: number) => ConfigProvider.fromMap(new Map([["SESSION_LAWS_SEED", String(seed)]]))

let lastBackup = MemoryStore.make()
let folder = ""
beforeAll(async () => {
  // Inside the project, so that imports of the store resolve.
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
  assert.lengthOf(pieces, 1, `the source text occurs once: ${from}`)
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

describe("a store with a fault fails the law", () => {
  for (const [index, { fault, law: name, replace }] of mutants.entries()) {
    it(`${fault}: ${name}`, async () => {
      await check(name, await makeMutant(replace, String(index)))
    })
  }

  for (const { fault, instead, law } of inTwoSteps) {
    it(`${fault}: ${law}`, async () => {
      const store = MemoryStore.make()
      await check(law, { ...store, ...instead(store) })
    })
  }

  it("each law about limits, end reasons and the revocation of one's own session has a mutant", () => {
    const tested = new Set([...mutants, ...inTwoSteps].map(({ law }) => law))
    const isNew = (name: string) => /limitsSubjects|endReason|`revoke` with a subject/.test(name)
    assert.deepStrictEqual(laws.map(({ name }) => name).filter((name) => isNew(name) && !tested.has(name)), [])
  })

  it("a failed random law reports its seed, and the seed reproduces the failure", async () => {
    const name = "any sequence of commands has the same results and leaves the same state as on `MemoryStore`"
    const law = storeLaws.find((law) => law.name === name)
    const mutant = mutants.find(({ fault }) => fault === "count returns a number that is one too high")
    if (law === undefined || mutant === undefined) return assert.fail("unknown law name")
    const messageOf = async (provider: ConfigProvider.ConfigProvider) => {
      const store = await makeMutant(mutant.replace, "seeded")
      const broken = await Effect.runPromise(
        Effect.flip(Effect.provideService(law.law, SessionStore, store)).pipe(Effect.withConfigProvider(provider))
      )
      assert.instanceOf(broken, LawBroken)
      // Keys and ids are new in each run; the seed determines the commands.
      return [/SESSION_LAWS_SEED=(-?\d+)$/.exec(broken.message)?.[1], /Counterexample: .*/.exec(broken.message)?.[0]]
    }
    const [seed, counterexample] = await messageOf(ConfigProvider.fromMap(new Map()))
    assert.match(seed ?? "", /^-?\d+$/)
    assert.match(counterexample ?? "", /_tag/)
    assert.deepStrictEqual(await messageOf(seeded(Number(seed))), [seed, counterexample])
    const invalid = ConfigProvider.fromMap(new Map([["SESSION_LAWS_SEED", "odd"]]))
    const error = await Effect.runPromise(
      Effect.flip(Effect.provideService(law.law, SessionStore, MemoryStore.make())).pipe(
        Effect.withConfigProvider(invalid)
      )
    )
    assert.match(String(error), /SESSION_LAWS_SEED/)
  })

  for (const { law, name } of capabilityLaws(Effect.sync(() => lastBackup))) {
    it(`a store that declares durableDestroy and loses it in a crash fails the law: ${name}`, async () => {
      lastBackup = MemoryStore.make()
      // The backup receives every create, but no destroy and no revocation.
      const store = MemoryStore.make()
      const forgetful: Store = {
        ...store,
        capabilities: { durableDestroy: true, remote: false },
        create: (...args) => Effect.zipLeft(store.create(...args), lastBackup.create(...args))
      }
      const exit = await Effect.runPromiseExit(Effect.provideService(law, SessionStore, forgetful))
      assert.isTrue(Exit.isFailure(exit), "the law passed despite the fault")
    })
  }

  it("there are at least 20 mutants, and no fault is listed twice", () => {
    assert.isAtLeast(new Set(mutants.map(({ fault }) => fault)).size, 20)
    assert.strictEqual(new Set(mutants.map(({ fault }) => fault)).size, mutants.length)
  })
})
