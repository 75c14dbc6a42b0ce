/**
 * Records by id and by subject: empty files whose names say it all. An entry is written before its record is alive and
 * removed after, so it is a hint: the record is the truth. Only an id itself is claimed, by one file for each.
 */
import type { PlatformError } from "@effect/platform/Error"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as SessionId from "../../SessionId.js"
import type { SessionRecord } from "../../SessionRecord.js"
import * as StoreKey from "../../StoreKey.js"
import type { Disk } from "./disk.js"
import { hashOf, shardOf, spell, unspell } from "./names.js"

/** Where a record may be. */
export interface Entry {
  readonly id: SessionId.SessionId
  readonly key: StoreKey.StoreKey
}

export interface Index {
  /** Takes an id. False if it is taken. */
  readonly claim: (record: SessionRecord) => Effect.Effect<boolean, PlatformError>
  /** Enters a record that is about to be alive. */
  readonly enter: (record: SessionRecord, key: StoreKey.StoreKey) => Effect.Effect<void, PlatformError>
  /** Removes the entries of a record that has ended under this key, and its id if no other key has it. */
  readonly leave: (record: SessionRecord, key: StoreKey.StoreKey) => Effect.Effect<void, PlatformError>
  /** The directories that hold a record's entries. */
  readonly directories: (record: SessionRecord) => ReadonlyArray<string>
  readonly keysOf: (
    namespace: string,
    id: SessionId.SessionId
  ) => Effect.Effect<ReadonlyArray<StoreKey.StoreKey>, PlatformError>
  readonly ofSubject: (namespace: string, subject: string) => Effect.Effect<ReadonlyArray<Entry>, PlatformError>
  /** The shards of the ids after this one, in their order. */
  readonly shardsAfter: (after: string | undefined) => Effect.Effect<ReadonlyArray<string>, PlatformError>
  /** The entries of a shard that come after this id, in the order of ids. */
  readonly inShard: (
    shard: string,
    namespace: string,
    after: string | undefined
  ) => Effect.Effect<ReadonlyArray<Entry>, PlatformError>
}

export const make = (disk: Disk): Index => {
  const ids = (id: string) => disk.at("ids", shardOf(spell(id)))
  const subjects = (namespace: string, subject: string) => disk.at("subjects", shardOf(subjectOf(namespace, subject)))

  const filesOf = (record: SessionRecord, key: StoreKey.StoreKey) => [
    disk.join(ids(record.id), entryName(namespaceOf(record.namespace), { id: record.id, key })),
    ...record.subject === undefined ? [] : [
      disk.join(
        subjects(record.namespace, record.subject),
        entryName(subjectOf(record.namespace, record.subject), { id: record.id, key })
      )
    ]
  ]

  const claimOf = (namespace: string, id: string) => disk.join(ids(id), `${namespaceOf(namespace)}_${spell(id)}`)

  const keysOf = (namespace: string, id: SessionId.SessionId) =>
    Effect.map(
      disk.list(ids(id)),
      (names) => entriesOf(namespaceOf(namespace), names).filter((entry) => entry.id === id).map(({ key }) => key)
    )

  return {
    claim: (record) => disk.mark(claimOf(record.namespace, record.id)),
    enter: (record, key) => Effect.forEach(filesOf(record, key), disk.mark, { discard: true }),
    leave: (record, key) =>
      Effect.zipRight(
        Effect.forEach(filesOf(record, key), disk.remove, { discard: true }),
        Effect.flatMap(
          keysOf(record.namespace, record.id),
          (keys) => keys.length === 0 ? disk.remove(claimOf(record.namespace, record.id)) : Effect.void
        )
      ),
    directories: (record) => [
      ids(record.id),
      ...record.subject === undefined ? [] : [subjects(record.namespace, record.subject)]
    ],
    keysOf,
    ofSubject: (namespace, subject) =>
      Effect.map(disk.list(subjects(namespace, subject)), (names) => entriesOf(subjectOf(namespace, subject), names)),
    shardsAfter: (after) =>
      Effect.map(
        disk.shards("ids"),
        (shards) => shards.filter((shard) => after === undefined || shard >= shardOf(spell(after)))
      ),
    inShard: (shard, namespace, after) =>
      Effect.map(disk.list(disk.at("ids", shard)), (names) =>
        entriesOf(namespaceOf(namespace), names)
          .filter(({ id }) => after === undefined || id > after)
          .sort((a, b) => (a.id < b.id ? -1 : 1)))
  }
}

const namespaceOf = (namespace: string) => hashOf("namespace", namespace)
const subjectOf = (namespace: string, subject: string) => hashOf("subject", namespace, subject)

const entryName = (scope: string, { id, key }: Entry) => `${scope}_${spell(id)}_${spell(key)}`

const entriesOf = (scope: string, names: ReadonlyArray<string>): ReadonlyArray<Entry> =>
  names.filter((name) => name.startsWith(scope)).flatMap((name) => parseEntry(name) ?? [])

/** What the name of an entry says; `undefined` for that of a claim, and for any other. */
export const parseEntry = (name: string): Entry | undefined => {
  const [, id, key] = name.split("_").map(unspell)
  const entry = Option.all({ id: SessionId.parse(id ?? ""), key: StoreKey.parse(key ?? "") })
  return Option.getOrUndefined(entry)
}
