/**
 * The statements of a SQL store, with the syntax of each dialect. Parameters are named (`:key`) here, and replaced by the positional
 * parameters of the dialect.
 */

import { clockSlack } from "../../SessionRecord.js"
import { fieldNames, fields } from "../record.js"
import type { Dialect, Tables } from "./tables.js"

/** The minimum age in milliseconds at which the row of a revocation may be deleted: longer than any statement runs. */
const epochGrace = 3_600_000

/** More rows than a subject has sessions: MySQL has no OFFSET without LIMIT. */
const allRows = 1_000_000_000

/** A statement, and the names of its parameters in the order of their positions. */
export interface Prepared {
  readonly text: string
  readonly names: ReadonlyArray<string>
}

interface Syntax {
  /** The clock of the database in milliseconds since the Unix epoch. A resolution of one second is enough. */
  readonly clock: string
  readonly greatest: string
  readonly least: string
  /** Equality that treats two NULLs as equal. */
  readonly same: string
  /** The column of the keys, which is quoted in MySQL because it is a reserved word. */
  readonly key: string
  /** The clause with which a write returns the keys of the rows that it changed, where the driver does not count them. */
  readonly changed: string
  /** The clause with which an insert ignores an existing row. If it is empty, an existing row is an error. */
  readonly ignoreExisting: string
  /** The clause with which an insert raises an existing epoch. */
  readonly raiseExisting: (epochs: string, next: (epoch: string) => string) => string
  /** The condition with which a rotation ignores an existing row. If it is empty, an existing row is an error. */
  readonly unlessTaken: (sessions: string) => string
  /**
   * A row whose key changes is stored in another place. A statement that found the row by its id, and waited for its lock, looks in the
   * old place and misses the row.
   */
  readonly movesRow: boolean
  /** The condition for the namespace of a page. */
  readonly within: string
  /** Deletes a bounded number of expired rows of a table without waiting for locked rows. */
  readonly removeExpired: (table: string) => string
  /** Deletes the reasons of earlier sessions with the keys of a bounded number of expired rows. */
  readonly forgetReasons: (tables: StoreTables) => string
  /** The clause with which an insert replaces an existing reason. */
  readonly replaceReason: string
  /** A statement that deletes rows can write their reasons, too. */
  readonly notesAtOnce: boolean
  /** Locks a subject until the end of the transaction, against other writes with a limit. Different subjects may share a lock. */
  readonly lockSubject: (tables: StoreTables) => string
}

type StoreTables = Pick<Tables, "ends" | "epochs" | "sessions">

/** The syntax that Postgres and SQLite share. */
const common = {
  key: "key",
  changed: " RETURNING key",
  ignoreExisting: " ON CONFLICT DO NOTHING",
  raiseExisting: (epochs: string, next: (epoch: string) => string) =>
    ` ON CONFLICT (namespace, kind, subject) DO UPDATE SET epoch = ${next(`${epochs}.epoch`)}`,
  unlessTaken: (sessions: string) =>
    ` AND NOT EXISTS (SELECT 1 FROM ${sessions} taken ` +
    `WHERE taken.key = :newKey OR (taken.namespace = :namespace AND taken.id = :id AND taken.key <> :key))`,
  movesRow: false,
  within: "namespace = :namespace",
  replaceReason: " ON CONFLICT (key) DO UPDATE SET reason = excluded.reason, expires_at = excluded.expires_at"
} as const

const syntaxes: Record<Dialect, Syntax> = {
  pg: {
    ...common,
    clock: "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)",
    greatest: "GREATEST",
    least: "LEAST",
    same: "IS NOT DISTINCT FROM",
    notesAtOnce: true,
    lockSubject: ({ sessions }) =>
      `SELECT pg_advisory_xact_lock(hashtextextended('${sessions} ' || CAST(:namespace AS text) || ' ' || CAST(:subject AS text), 0))`,
    removeExpired: (sessions) =>
      `WITH due AS MATERIALIZED (SELECT tableoid AS part, ctid AS place FROM ${sessions} WHERE expires_at <= :now ` +
      // One process at a time: for another the lock is taken, and its statement deletes nothing.
      `AND (SELECT pg_try_advisory_xact_lock(hashtext('${sessions}'))) ` +
      `ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED), ` +
      // The array makes the planner read the rows by `ctid`, whatever number of rows it estimates. A `ctid` is unique within one
      // partition only, so the join compares the partition, too.
      `removed AS (DELETE FROM ${sessions} USING due WHERE ${sessions}.ctid = ANY(ARRAY(SELECT place FROM due)) ` +
      `AND ${sessions}.ctid = place AND ${sessions}.tableoid = part AND expires_at <= :now RETURNING 1) ` +
      `SELECT count(*) AS removed FROM removed`,
    // The array makes the planner read the reasons by their keys, whatever number of rows it estimates.
    forgetReasons: ({ ends, sessions }) =>
      `DELETE FROM ${ends} WHERE key = ANY(ARRAY(SELECT key FROM ${sessions} WHERE expires_at <= :now ` +
      `ORDER BY expires_at LIMIT :limit))`
  },
  sqlite: {
    ...common,
    clock: "(CAST(strftime('%s', 'now') AS INTEGER) * 1000)",
    greatest: "MAX",
    least: "MIN",
    same: "IS",
    notesAtOnce: false,
    // Not used: the checks are part of the statements.
    lockSubject: () => "SELECT 1",
    removeExpired: (sessions) =>
      `DELETE FROM ${sessions} WHERE key IN (SELECT key FROM ${sessions} WHERE expires_at <= :now ` +
      `ORDER BY expires_at LIMIT :limit) AND expires_at <= :now RETURNING key`,
    forgetReasons: ({ ends, sessions }) =>
      `DELETE FROM ${ends} WHERE key IN (SELECT key FROM ${sessions} WHERE expires_at <= :now ` +
      `ORDER BY expires_at LIMIT :limit)`
  },
  // MySQL and MariaDB. An UPDATE assigns from left to right, and each assignment sees those before it.
  mysql: {
    // Signed, because differences may be negative.
    clock: "(CAST(UNIX_TIMESTAMP() AS SIGNED) * 1000)",
    greatest: "GREATEST",
    least: "LEAST",
    same: "<=>",
    key: "`key`",
    changed: "",
    // No clause: IGNORE would also truncate values, and ON DUPLICATE KEY UPDATE does not show whether a row was inserted.
    ignoreExisting: "",
    raiseExisting: (_, next) => ` ON DUPLICATE KEY UPDATE epoch = ${next("epoch")}`,
    // An UPDATE cannot select from its own table. Its unique indexes reject a taken key.
    unlessTaken: () => "",
    movesRow: true,
    replaceReason: " ON DUPLICATE KEY UPDATE reason = VALUES(reason), expires_at = VALUES(expires_at)",
    notesAtOnce: false,
    // A row of its own kind, not the epoch of the subject: a save locks its session and then the epochs, a write with a limit locks the
    // subject and then the sessions that it ends. 4,096 rows, so that they need no clean-up.
    lockSubject: ({ epochs }) =>
      `INSERT INTO ${epochs} (namespace, kind, subject, epoch) ` +
      `VALUES ('', 'limit', LEFT(SHA1(CONCAT(:namespace, ' ', :subject)), 3), 0) ON DUPLICATE KEY UPDATE epoch = epoch`,
    // With an equality, MariaDB would read all rows of the namespace before the page.
    within: "namespace >= :namespace AND namespace <= :namespace",
    // Several processes at once share the work: each skips the rows that another has taken.
    removeExpired: (sessions) =>
      `DELETE expired FROM (SELECT \`key\` FROM ${sessions} WHERE expires_at <= :now ORDER BY expires_at ` +
      `LIMIT :limit FOR UPDATE SKIP LOCKED) AS due STRAIGHT_JOIN ${sessions} AS expired ` +
      `ON expired.\`key\` = due.\`key\` WHERE expired.expires_at <= :now`,
    forgetReasons: ({ ends, sessions }) =>
      `DELETE ${ends} FROM (SELECT \`key\` FROM ${sessions} WHERE expires_at <= :now ORDER BY expires_at ` +
      `LIMIT :limit FOR UPDATE SKIP LOCKED) AS due STRAIGHT_JOIN ${ends} ON ${ends}.\`key\` = due.\`key\``
  }
}

/** Replaces `:name` by the positional parameters of the dialect. */
export const prepare = (dialect: Dialect, statement: string): Prepared => {
  const names: Array<string> = []
  const text = statement.replace(/:([a-zA-Z]+)/g, (_, name: string) => {
    const known = names.indexOf(name)
    if (dialect === "pg" && known >= 0) return `$${known + 1}`
    names.push(name)
    return dialect === "pg" ? `$${names.length}` : "?"
  })
  return { text, names }
}

/** Returns the clock of the database, in milliseconds since the epoch. */
export const clockOf = (dialect: Dialect): Prepared => prepare(dialect, `SELECT ${syntaxes[dialect].clock} AS clock`)

const infoColumns = fieldNames.map((name) => fields[name].column).join(", ")
const columns = `${infoColumns}, data`

/** The statements of one dialect, for the tables of one store. */
export const statements = (dialect: Dialect, tables: StoreTables) => {
  const { ends, epochs, sessions } = tables
  const {
    changed,
    clock,
    forgetReasons,
    greatest,
    ignoreExisting,
    key,
    least,
    lockSubject,
    movesRow,
    notesAtOnce,
    raiseExisting,
    removeExpired,
    replaceReason,
    same,
    unlessTaken,
    within
  } = syntaxes[dialect]

  const epochOf = (namespace: string, subject?: string) =>
    `COALESCE((SELECT epoch FROM ${epochs} e WHERE e.namespace = ${namespace} AND ` +
    `${
      subject === undefined ? "e.kind = 'all' AND e.subject = ''" : `e.kind = 'subject' AND e.subject = ${subject}`
    }), 0)`
  // Greater or equal: a write that waited for a revocation which spares its row sees the new epoch of the row together with the old epoch
  // of the subject.
  const alive = `expires_at > :now AND namespace_epoch >= ${epochOf(`${sessions}.namespace`)} ` +
    `AND subject_epoch >= ${epochOf(`${sessions}.namespace`, `${sessions}.subject`)}`
  const expectedAlive = `${key} = :key AND version = :expected AND ${alive}`

  // The same limits as in `SessionRecord.bounded`, by the clock of the database.
  const latest = `${clock} + ${clockSlack}`
  const reach = `${latest} + ${greatest}(0, :expiresAt - ${greatest}(${clock}, :now, :lastSeenAt))`
  const seen = `${least}(:lastSeenAt, ${latest})`
  const modified = `${least}(:modifiedAt, ${latest})`
  /** The expiry. `before` is the expiry of the existing row, if there is one. */
  const end = (before?: string) =>
    `CASE WHEN :lifetime LIKE '%"_tag":"Until"%' THEN :expiresAt ELSE ${least}(:expiresAt, ` +
    `${before === undefined ? reach : `${greatest}(${before}, ${reach})`}) END`

  const raise = (first: string, next: (epoch: string) => string) =>
    `INSERT INTO ${epochs} (namespace, kind, subject, epoch) VALUES (:namespace, :kind, :subject, ${first})` +
    raiseExisting(epochs, next)
  const nextEpoch = (epoch: string, time: string) => `${greatest}(${epoch} + 1, ${time})`
  // After the grace period no write that began before the revocation is still running.
  const isUnused = `epoch < ${clock} - ${epochGrace} AND NOT EXISTS (SELECT 1 FROM ${sessions} s ` +
    `WHERE s.namespace = ${epochs}.namespace AND s.subject = ${epochs}.subject)`
  const afterEpoch = "kind = 'subject' AND namespace >= :namespace " +
    "AND (namespace > :namespace OR subject > :subject)"

  const byKey = `${key} = :key`
  const byId = "namespace = :namespace AND id = :id"
  const byOwner = `${byId} AND subject = :subject`

  /** Why a row is not alive; `alive` if it is. `from` is the table or the name of the subquery. */
  const revokedOr = (from: string, otherwise: string) =>
    `WHEN namespace_epoch < ${epochOf(`${from}.namespace`)} THEN 'allRevoked' ` +
    `WHEN subject_epoch < ${
      epochOf(`${from}.namespace`, `${from}.subject`)
    } THEN 'subjectRevoked' ELSE '${otherwise}' END`
  const reasonOr = (from: string, otherwise: string) => `CASE ${revokedOr(from, otherwise)}`
  const note = (values: string, from: string) =>
    `INSERT INTO ${ends} (${key}, reason, expires_at) SELECT ${values}, expires_at FROM ${from}${replaceReason}`
  /** Keeps the reason of rows that another statement is to delete. */
  const noteEnd = (where: string, reason: string) =>
    note(`${key}, ${reasonOr(sessions, reason)}`, `${sessions} WHERE ${where}`)
  /** Deletes rows and keeps the reason, in one statement. */
  const endAndNote = (where: string, reason: string) =>
    `WITH ended AS (DELETE FROM ${sessions} WHERE ${where} RETURNING key, namespace, subject, expires_at, namespace_epoch, ` +
    `subject_epoch), noted AS (${note(`key, ${reasonOr("ended", reason)}`, "ended")}) SELECT key FROM ended`

  const created = `INSERT INTO ${sessions} (${key}, ${columns}, namespace_epoch, subject_epoch)`
  const record = `:key, :namespace, :id, :schemaVersion, :subject, :version, :writeId, :createdAt, :authenticatedAt, ` +
    `${modified}, ${seen}, ${end()}, :deadline, :lifetime, :attributes, :data, ${epochOf(":namespace")}, ` +
    epochOf(":namespace", ":subject")
  const rotated =
    `UPDATE ${sessions} SET ${key} = :newKey, id = :id, data = :data, attributes = :attributes, schema_version = :schemaVersion, ` +
    `subject_epoch = CASE WHEN subject ${same} :subject THEN subject_epoch ELSE ` +
    `${epochOf(`${sessions}.namespace`, ":subject")} END, subject = :subject, version = version + 1, ` +
    `write_id = :writeId, created_at = :createdAt, authenticated_at = :authenticatedAt, modified_at = ${modified}, ` +
    `last_seen_at = ${seen}, expires_at = ${end("expires_at")}, deadline = :deadline, lifetime = :lifetime ` +
    `WHERE ${expectedAlive} AND ${key} <> :newKey${unlessTaken(sessions)}`

  const isTaken = (key: string) => `EXISTS (SELECT 1 FROM ${sessions} WHERE ${key})`
  /** Whether a write would be done, but for its limit. */
  const writable = {
    create: `NOT ${isTaken(byKey)} AND NOT ${isTaken(byId)}`,
    rotate: `${isTaken(`${expectedAlive} AND ${key} <> :newKey`)} AND NOT ${isTaken(`${key} = :newKey`)} ` +
      `AND NOT ${isTaken(`${byId} AND ${key} <> :key`)}`
  }
  /** The other live sessions of the subject beyond the youngest `keep`. */
  const surplus = (columns: string, where = "") =>
    `SELECT ${columns} FROM ${sessions} WHERE namespace = :namespace AND subject = :subject AND id <> :id ` +
    `AND ${key} <> :key AND ${alive}${where} ORDER BY created_at DESC, id DESC LIMIT ${allRows} OFFSET :keep`
  const noteSurplus = (writable: string) =>
    note("key, 'limit'", `(${surplus("key, expires_at", ` AND ${writable}`)}) WHERE true`)
  const endSurplus = (writable: string) =>
    `DELETE FROM ${sessions} WHERE key IN (${surplus("key", ` AND ${writable}`)}) RETURNING id, created_at`

  const texts = {
    clock: clockOf(dialect).text,
    create: `${created} VALUES (${record})${ignoreExisting}${changed}`,
    load: `SELECT ${columns} FROM ${sessions} WHERE ${key} = :key AND ${alive}`,
    save:
      `UPDATE ${sessions} SET data = :data, attributes = :attributes, schema_version = :schemaVersion, version = version + 1, ` +
      `write_id = :writeId, modified_at = ${greatest}(modified_at, ${modified}), ` +
      `last_seen_at = ${greatest}(last_seen_at, ${seen}), expires_at = CASE WHEN lifetime ${same} :lifetime ` +
      `THEN ${greatest}(expires_at, ${end()}) ELSE ${end("expires_at")} END, lifetime = :lifetime ` +
      `WHERE ${expectedAlive}${changed}`,
    touch: `UPDATE ${sessions} SET last_seen_at = ${greatest}(last_seen_at, ${seen}), ` +
      `expires_at = ${greatest}(expires_at, ${least}(:expiresAt, COALESCE(deadline, :expiresAt), ${reach})) ` +
      `WHERE ${key} = :key AND ${alive}${changed}`,
    rotate: `${rotated}${changed}`,
    exists: `SELECT ${key} FROM ${sessions} WHERE ${key} = :key AND ${alive}`,
    destroy: `DELETE FROM ${sessions} WHERE ${byKey}${changed}`,
    removeExpired: removeExpired(sessions),
    forgetReasons: forgetReasons(tables),
    removeReasons: removeExpired(ends),
    count: `SELECT (SELECT count(*) FROM ${sessions} WHERE expires_at > :now) AS current_records, ` +
      `(SELECT count(*) FROM ${sessions} WHERE expires_at <= :now) AS expired_records`,
    list: `SELECT ${infoColumns} FROM ${sessions} WHERE namespace = :namespace AND subject = :subject AND ${alive} ` +
      `AND (created_at > :createdAt OR (created_at = :createdAt AND id > :after)) ORDER BY created_at, id LIMIT :limit`,
    find: `SELECT ${columns} FROM ${sessions} WHERE namespace = :namespace AND id = :id AND ${alive}`,
    scan: `SELECT ${columns}, ${key} FROM ${sessions} WHERE ${within} AND id > :after AND ${alive} ` +
      `ORDER BY namespace, id LIMIT :limit`,
    revoke: `DELETE FROM ${sessions} WHERE ${byId}${changed}`,
    revokeOwn: `DELETE FROM ${sessions} WHERE ${byOwner}${changed}`,
    endReason: `SELECT COALESCE((SELECT CASE WHEN expires_at <= :now THEN 'expired' ${revokedOr(sessions, "alive")} ` +
      `FROM ${sessions} WHERE ${byKey}), (SELECT reason FROM ${ends} WHERE ${byKey} AND expires_at > :now)) AS reason`,
    lockSubject: lockSubject(tables),
    surplus: surplus(`${key}, id`),
    // The time of the revocation, or the old epoch plus one if that is greater: so the age of an epoch is known, and the epoch of a subject
    // whose row was deleted is greater than all epochs that records have stored.
    raiseEpoch: raise(clock, (epoch) => nextEpoch(epoch, clock)),
    // The same in a transaction, with `now` as the clock read before it. `lockEpoch` locks the row first.
    lockEpoch: raise("0", (epoch) => epoch),
    spare: `UPDATE ${sessions} SET subject_epoch = ${nextEpoch(epochOf(":namespace", ":subject"), ":now")} ` +
      `WHERE namespace = :namespace AND id = :id AND subject = :subject ` +
      `AND subject_epoch >= ${epochOf(":namespace", ":subject")}`,
    raiseLocked: raise(":now", (epoch) => nextEpoch(epoch, ":now")),
    // A page of the epochs of subjects, and which of them are unused.
    pageOfEpochs: `SELECT namespace, subject, CASE WHEN ${isUnused} THEN 1 ELSE 0 END AS unused FROM ${epochs} ` +
      `WHERE ${afterEpoch} ORDER BY namespace, subject LIMIT :limit`,
    dropEpochs: `DELETE FROM ${epochs} WHERE ${afterEpoch} AND namespace <= :toNamespace ` +
      `AND (namespace < :toNamespace OR subject <= :toSubject) AND ${isUnused}`
  }

  type Name = keyof typeof texts
  const prepared = Object.fromEntries(
    Object.entries(texts).map(([name, text]) => [name, prepare(dialect, text)])
  ) as Record<Name, Prepared>
  const prepareAll = <K extends string>(all: Record<K, string>) =>
    Object.fromEntries(Object.entries<string>(all).map(([name, text]) => [name, prepare(dialect, text)])) as Record<
      K,
      Prepared
    >
  const idBy = (where: string) => `SELECT id FROM ${sessions} WHERE ${where}`
  /** Statements that end a session and keep the reason, in dialects where one statement can. */
  const atOnce = notesAtOnce
    ? prepareAll({
      destroy: endAndNote(byKey, "loggedOut"),
      evict: endAndNote(byKey, "limit"),
      revoke: endAndNote(byId, "revoked"),
      revokeOwn: endAndNote(byOwner, "revoked"),
      // The expiry before the rotation: all parts of a statement read the same snapshot.
      rotate: `WITH written AS (${rotated} RETURNING key), noted AS (` +
        `${
          note("before.key, 'rotated'", `${sessions} before, written WHERE before.key = :key`)
        }) SELECT key FROM written`
    })
    : undefined
  return {
    ...prepared,
    atOnce,
    /** Statements that keep the reason why a session is to end, in the other dialects. */
    note: prepareAll({
      destroy: noteEnd(byKey, "loggedOut"),
      evict: noteEnd(byKey, "limit"),
      revoke: noteEnd(byId, "revoked"),
      revokeOwn: noteEnd(byOwner, "revoked"),
      rotate: note(`${key}, 'rotated'`, `${sessions} WHERE ${expectedAlive} AND ${key} <> :newKey`)
    }),
    /** Whether a write would be done, but for its limit. */
    writable: prepareAll({
      create: `SELECT CASE WHEN ${writable.create} THEN 1 ELSE 0 END AS writable`,
      rotate: `SELECT CASE WHEN ${writable.rotate} THEN 1 ELSE 0 END AS writable`
    }),
    /** Writes that do nothing if the subject has too many sessions, in SQLite. */
    unlessFull: prepareAll({
      create: `${created} SELECT ${record} WHERE NOT EXISTS (${surplus("1")})${ignoreExisting}${changed}`,
      rotate: `${rotated} AND NOT EXISTS (${surplus("1")})${changed}`
    }),
    /** Keeps the reason why sessions are to make room for a write, in SQLite. */
    noteSurplus: prepareAll({ create: noteSurplus(writable.create), rotate: noteSurplus(writable.rotate) }),
    /** Ends these sessions, and returns them. */
    endSurplus: prepareAll({ create: endSurplus(writable.create), rotate: endSurplus(writable.rotate) }),
    /** The statements of the transaction that revokes a subject except one session. */
    sparing: [
      // A save locks its row and then reads the epochs. A revocation locks in the same order to avoid deadlocks.
      ...movesRow ? [prepare(dialect, `${idBy(byId)} FOR UPDATE`)] : [],
      prepared.lockEpoch,
      prepared.spare,
      prepared.raiseLocked
    ],
    /** The statements of requests. Each is a primary-key lookup, so that one cached plan fits all parameters. */
    frequent: [
      prepared.create,
      atOnce?.destroy ?? prepared.destroy,
      prepared.exists,
      prepared.load,
      atOnce?.rotate ?? prepared.rotate,
      prepared.save,
      prepared.touch
    ],
    /** Finds a row that a revocation by id has missed, in dialects where that can happen. */
    missed: movesRow ? prepareAll({ revoke: idBy(byId), revokeOwn: idBy(byOwner) }) : undefined
  }
}

/** The statements of a store. */
export type Statements = ReturnType<typeof statements>
