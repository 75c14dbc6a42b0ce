/**
 * Indexes by id and by subject: empty files whose names are the entries. An entry is written before its record is published and removed
 * after the record, so it is a hint, and the record is authoritative. An id is reserved by a file of its own.
 */
import type { PlatformError } from "@effect/platform/Error"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as SessionId from "../../SessionId.js"
import type { SessionRecord } from "../../SessionRecord.js"
import * as StoreKey from "../../StoreKey.js"
import type { Disk } from "./disk.js"
import { decodeName, encodeName, hashOf, shardOf } from "./names.js"

/** An index entry: the key under which the record of an id may be. */
export interface Entry {
  readonly id: SessionId.SessionId
  readonly key: StoreKey.StoreKey
}

export interface Index {
  /** Reserves the id of a record. False if it is taken. */
  readonly reserve: (record: SessionRecord) => Effect.Effect<boolean, PlatformError>
  /** Inserts the entries of a record that is about to be published. */
  readonly insert: (record: SessionRecord, key: StoreKey.StoreKey) => Effect.Effect<void, PlatformError>
  /** Removes the entries of a record that was deleted under this key, and releases its id if no other key has it. */
  readonly remove: (record: SessionRecord, key: StoreKey.StoreKey) => Effect.Effect<void, PlatformError>
  /** The directories of a record's entries. */
  readonly directories: (record: SessionRecord) => ReadonlyArray<string>
  readonly keysOf: (
    namespace: string,
    id: SessionId.SessionId
  ) => Effect.Effect<ReadonlyArray<StoreKey.StoreKey>, PlatformError>
  readonly ofSubject: (namespace: string, subject: string) => Effect.Effect<ReadonlyArray<Entry>, PlatformError>
  /** Lists the shards that may have ids after this one, in their order. */
  readonly shardsAfter: (after: string | undefined) => Effect.Effect<ReadonlyArray<string>, PlatformError>
  /** Lists the entries of a shard after this id, in the order of ids. */
  readonly inShard: (
    shard: string,
    namespace: string,
    after: string | undefined
  ) => Effect.Effect<ReadonlyArray<Entry>, PlatformError>
}

export const make = (disk: Disk): Index => {
  const ids = (id: string) => disk.at("ids", shardOf(encodeName(id)))
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

  const reservationFile = (namespace: string, id: string) =>
    disk.join(ids(id), `${namespaceOf(namespace)}_${encodeName(id)}`)

  const keysOf = (namespace: string, id: SessionId.SessionId) =>
    Effect.map(
      disk.list(ids(id)),
      (names) => entriesOf(namespaceOf(namespace), names).filter((entry) => entry.id === id).map(({ key }) => key)
    )

  return {
    reserve: (record) => disk.createEmpty(reservationFile(record.namespace, record.id)),
    insert: (record, key) => Effect.forEach(filesOf(record, key), disk.createEmpty, { discard: true }),
    remove: (record, key) =>
      Effect.zipRight(
        Effect.forEach(filesOf(record, key), disk.remove, { discard: true }),
        Effect.flatMap(
          keysOf(record.namespace, record.id),
          (keys) => keys.length === 0 ? disk.remove(reservationFile(record.namespace, record.id)) : Effect.void
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
        (shards) => shards.filter((shard) => after === undefined || shard >= shardOf(encodeName(after)))
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

const entryName = (scope: string, { id, key }: Entry) => `${scope}_${encodeName(id)}_${encodeName(key)}`

const entriesOf = (scope: string, names: ReadonlyArray<string>): ReadonlyArray<Entry> =>
  names.filter((name) => name.startsWith(scope)).flatMap((name) => parseEntry(name) ?? [])

/** Parses the name of an entry; `undefined` if it is a reservation or anything else. */
export const parseEntry = (name: string): Entry | undefined => {
  const [, id, key] = name.split("_").map(decodeName)
  const entry = Option.all({ id: SessionId.parse(id ?? ""), key: StoreKey.parse(key ?? "") })
  return Option.getOrUndefined(entry)
}
