/**
 * What a SQL store says to its database: one text per function, differences between dialects as rows of a table.
 * Parameters are named (`:key`) here and become the positions that a dialect wants.
 */

/** The databases that are spoken to. */
export type Dialect = "pg" | "sqlite"

/** A statement with its parameters in the order of their positions. */
export interface Prepared {
  readonly text: string
  readonly names: ReadonlyArray<string>
}

interface Syntax {
  readonly greatest: string
  readonly least: string
  readonly same: string
  readonly bigint: string
  readonly text: string
  /** Deletes a bounded number of expired rows without waiting for a row that somebody else holds. */
  readonly removeExpired: (sessions: string) => string
}

// `COLLATE "C"` compares bytes: two keys that differ in case are two keys, under any locale of the database.
const syntaxes: Record<Dialect, Syntax> = {
  pg: {
    greatest: "GREATEST",
    least: "LEAST",
    same: "IS NOT DISTINCT FROM",
    bigint: "bigint",
    text: `text COLLATE "C"`,
    removeExpired: (sessions) =>
      `WITH removed AS (DELETE FROM ${sessions} WHERE ctid = ANY(ARRAY(SELECT ctid FROM ${sessions} WHERE expires_at <= :now ` +
      // One process at a time: another finds the lock taken, and nothing to do.
      `AND (SELECT pg_try_advisory_xact_lock(hashtext('${sessions}'))) ` +
      `ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED)) AND expires_at <= :now RETURNING 1) ` +
      `SELECT count(*) AS removed FROM removed`
  },
  sqlite: {
    greatest: "MAX",
    least: "MIN",
    same: "IS",
    bigint: "integer",
    text: "text",
    removeExpired: (sessions) =>
      `DELETE FROM ${sessions} WHERE key IN (SELECT key FROM ${sessions} WHERE expires_at <= :now ` +
      `ORDER BY expires_at LIMIT :limit) AND expires_at <= :now RETURNING key`
  }
}

/** Turns `:name` into the dialect's positions. */
const prepare = (dialect: Dialect, statement: string): Prepared => {
  const names: Array<string> = []
  const text = statement.replace(/:([a-zA-Z]+)/g, (_, name: string) => {
    const known = names.indexOf(name)
    if (dialect === "pg" && known >= 0) return `$${known + 1}`
    names.push(name)
    return dialect === "pg" ? `$${names.length}` : "?"
  })
  return { text, names }
}

const infoColumns = "namespace, id, schema_version, subject, version, write_id, created_at, authenticated_at, " +
  "modified_at, last_seen_at, expires_at, deadline, lifetime"
const columns = `${infoColumns}, data`

/** The statements of one dialect, for tables with one prefix. */
export const statements = (dialect: Dialect, prefix: string) => {
  const { greatest, least, removeExpired, same } = syntaxes[dialect]
  const sessions = `${prefix}sessions`
  const epochs = `${prefix}session_epochs`

  const epochOf = (namespace: string, subject?: string) =>
    `COALESCE((SELECT epoch FROM ${epochs} e WHERE e.namespace = ${namespace} AND ` +
    `${
      subject === undefined ? "e.kind = 'all' AND e.subject = ''" : `e.kind = 'subject' AND e.subject = ${subject}`
    }), 0)`
  // Greater, not just equal: a write that waited for a revocation which spares its row sees the row's new epoch beside
  // the old one of the subject.
  const alive = `expires_at > :now AND namespace_epoch >= ${epochOf(`${sessions}.namespace`)} ` +
    `AND subject_epoch >= ${epochOf(`${sessions}.namespace`, `${sessions}.subject`)}`
  const expectedAlive = `key = :key AND version = :expected AND ${alive}`

  const texts = {
    create:
      `INSERT INTO ${sessions} (key, ${columns}, namespace_epoch, subject_epoch) VALUES (:key, :namespace, :id, ` +
      `:schemaVersion, :subject, :version, :writeId, :createdAt, :authenticatedAt, :modifiedAt, :lastSeenAt, ` +
      `:expiresAt, :deadline, :lifetime, :data, ${epochOf(":namespace")}, ${epochOf(":namespace", ":subject")}) ` +
      `ON CONFLICT DO NOTHING RETURNING key`,
    load: `SELECT ${columns} FROM ${sessions} WHERE key = :key AND ${alive}`,
    save: `UPDATE ${sessions} SET data = :data, schema_version = :schemaVersion, version = version + 1, ` +
      `write_id = :writeId, modified_at = ${greatest}(modified_at, :modifiedAt), ` +
      `last_seen_at = ${greatest}(last_seen_at, :lastSeenAt), expires_at = CASE WHEN lifetime ${same} :lifetime ` +
      `THEN ${greatest}(expires_at, :expiresAt) ELSE :expiresAt END, lifetime = :lifetime ` +
      `WHERE ${expectedAlive} RETURNING key`,
    touch: `UPDATE ${sessions} SET last_seen_at = ${greatest}(last_seen_at, :lastSeenAt), ` +
      `expires_at = ${greatest}(expires_at, ${least}(:expiresAt, COALESCE(deadline, :expiresAt))) ` +
      `WHERE key = :key AND ${alive} RETURNING key`,
    rotate: `UPDATE ${sessions} SET key = :newKey, id = :id, data = :data, schema_version = :schemaVersion, ` +
      `subject_epoch = CASE WHEN subject ${same} :subject THEN subject_epoch ELSE ` +
      `${epochOf(`${sessions}.namespace`, ":subject")} END, subject = :subject, version = version + 1, ` +
      `write_id = :writeId, created_at = :createdAt, authenticated_at = :authenticatedAt, modified_at = :modifiedAt, ` +
      `last_seen_at = :lastSeenAt, expires_at = :expiresAt, deadline = :deadline, lifetime = :lifetime ` +
      `WHERE ${expectedAlive} AND key <> :newKey AND NOT EXISTS (SELECT 1 FROM ${sessions} taken ` +
      `WHERE taken.key = :newKey OR (taken.namespace = :namespace AND taken.id = :id AND taken.key <> :key)) RETURNING key`,
    exists: `SELECT key FROM ${sessions} WHERE key = :key AND ${alive}`,
    destroy: `DELETE FROM ${sessions} WHERE key = :key`,
    removeExpired: removeExpired(sessions),
    count: `SELECT (SELECT count(*) FROM ${sessions} WHERE expires_at > :now) AS current_records, ` +
      `(SELECT count(*) FROM ${sessions} WHERE expires_at <= :now) AS expired_records`,
    list: `SELECT ${infoColumns} FROM ${sessions} WHERE namespace = :namespace AND subject = :subject AND ${alive} ` +
      `ORDER BY created_at, id`,
    find: `SELECT ${columns} FROM ${sessions} WHERE namespace = :namespace AND id = :id AND ${alive}`,
    scan: `SELECT ${columns} FROM ${sessions} WHERE namespace = :namespace AND id > :after AND ${alive} ` +
      `ORDER BY id LIMIT :limit`,
    revoke: `DELETE FROM ${sessions} WHERE namespace = :namespace AND id = :id RETURNING key`,
    raiseEpoch: `INSERT INTO ${epochs} (namespace, kind, subject, epoch) VALUES (:namespace, :kind, :subject, 1) ` +
      `ON CONFLICT (namespace, kind, subject) DO UPDATE SET epoch = ${epochs}.epoch + 1`,
    spare: `UPDATE ${sessions} SET subject_epoch = subject_epoch + 1 WHERE namespace = :namespace AND id = :id ` +
      `AND subject = :subject AND subject_epoch = ${epochOf(":namespace", ":subject")} - 1`
  }

  type Name = keyof typeof texts
  return Object.fromEntries(
    Object.entries(texts).map(([name, text]) => [name, prepare(dialect, text)])
  ) as Record<Name, Prepared>
}

/** The tables, as plain SQL: one list of statements per migration, in order. */
export const migrations = (
  dialect: Dialect,
  prefix: string
): ReadonlyArray<readonly [name: string, statements: ReadonlyArray<string>]> => {
  const { bigint, text } = syntaxes[dialect]
  const sessions = `${prefix}sessions`
  return [
    ["0001_sessions", [
      `CREATE TABLE IF NOT EXISTS ${sessions} (
  key ${text} NOT NULL PRIMARY KEY,
  namespace ${text} NOT NULL,
  id ${text} NOT NULL,
  data text NOT NULL,
  schema_version integer NOT NULL,
  subject ${text},
  version ${bigint} NOT NULL,
  write_id ${text} NOT NULL,
  created_at ${bigint} NOT NULL,
  authenticated_at ${bigint},
  modified_at ${bigint} NOT NULL,
  last_seen_at ${bigint} NOT NULL,
  expires_at ${bigint} NOT NULL,
  deadline ${bigint},
  lifetime text,
  namespace_epoch ${bigint} NOT NULL,
  subject_epoch ${bigint} NOT NULL
)`,
      `CREATE UNIQUE INDEX IF NOT EXISTS ${sessions}_by_id ON ${sessions} (namespace, id)`,
      `CREATE INDEX IF NOT EXISTS ${sessions}_by_subject ON ${sessions} (namespace, subject) WHERE subject IS NOT NULL`,
      `CREATE INDEX IF NOT EXISTS ${sessions}_by_expiry ON ${sessions} (expires_at)`,
      `CREATE TABLE IF NOT EXISTS ${prefix}session_epochs (
  namespace ${text} NOT NULL,
  kind ${text} NOT NULL,
  subject ${text} NOT NULL,
  epoch ${bigint} NOT NULL,
  PRIMARY KEY (namespace, kind, subject)
)`
    ]]
  ]
}
