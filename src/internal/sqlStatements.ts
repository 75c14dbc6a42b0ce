/**
 * What a SQL store says to its database: one text per function, differences between dialects as rows of a table.
 * Parameters are named (`:key`) here and become the positions that a dialect wants.
 */

/** The databases that are spoken to. */
export type Dialect = "mysql" | "pg" | "sqlite"

/** A statement with its parameters in the order of their positions. */
export interface Prepared {
  readonly text: string
  readonly names: ReadonlyArray<string>
}

interface Syntax {
  readonly greatest: string
  readonly least: string
  readonly same: string
  /** The column of the keys: a reserved word in MySQL. */
  readonly key: string
  /** What makes a write name the rows that it changed, where the driver does not count them. */
  readonly changed: string
  /** What makes an insert leave a row that is there. Where it is empty, that row is an error. */
  readonly unlessThere: string
  /** What makes an insert raise the epoch that is there. */
  readonly raised: (epochs: string) => string
  /** What makes a rotation leave a row that is there. Where it is empty, that row is an error. */
  readonly unlessTaken: (sessions: string) => string
  /**
   * A row that changes its key moves to another place. One who came by its id, and waited for it, looks for it in the
   * old one.
   */
  readonly moves: boolean
  /** Where a page of a namespace is looked for. */
  readonly within: string
  /** Deletes a bounded number of expired rows without waiting for a row that somebody else holds. */
  readonly removeExpired: (sessions: string) => string
}

/** What Postgres and SQLite have in common. */
const common = {
  key: "key",
  changed: " RETURNING key",
  unlessThere: " ON CONFLICT DO NOTHING",
  raised: (epochs: string) => ` ON CONFLICT (namespace, kind, subject) DO UPDATE SET epoch = ${epochs}.epoch + 1`,
  unlessTaken: (sessions: string) =>
    ` AND NOT EXISTS (SELECT 1 FROM ${sessions} taken ` +
    `WHERE taken.key = :newKey OR (taken.namespace = :namespace AND taken.id = :id AND taken.key <> :key))`,
  moves: false,
  within: "namespace = :namespace"
} as const

const syntaxes: Record<Dialect, Syntax> = {
  pg: {
    ...common,
    greatest: "GREATEST",
    least: "LEAST",
    same: "IS NOT DISTINCT FROM",
    removeExpired: (sessions) =>
      `WITH removed AS (DELETE FROM ${sessions} WHERE ctid = ANY(ARRAY(SELECT ctid FROM ${sessions} WHERE expires_at <= :now ` +
      // One process at a time: another finds the lock taken, and nothing to do.
      `AND (SELECT pg_try_advisory_xact_lock(hashtext('${sessions}'))) ` +
      `ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED)) AND expires_at <= :now RETURNING 1) ` +
      `SELECT count(*) AS removed FROM removed`
  },
  sqlite: {
    ...common,
    greatest: "MAX",
    least: "MIN",
    same: "IS",
    removeExpired: (sessions) =>
      `DELETE FROM ${sessions} WHERE key IN (SELECT key FROM ${sessions} WHERE expires_at <= :now ` +
      `ORDER BY expires_at LIMIT :limit) AND expires_at <= :now RETURNING key`
  },
  // MySQL and MariaDB. An UPDATE assigns from left to right, and each assignment sees those before it.
  mysql: {
    greatest: "GREATEST",
    least: "LEAST",
    same: "<=>",
    key: "`key`",
    changed: "",
    // IGNORE would cut off what is too long, too, and an update of the row that is there cannot be told from an insert.
    unlessThere: "",
    raised: () => " ON DUPLICATE KEY UPDATE epoch = epoch + 1",
    // An UPDATE cannot ask its own table; its unique indexes refuse.
    unlessTaken: () => "",
    moves: true,
    // Told that it is equal, MariaDB reads a namespace from its beginning to come to a page in its middle.
    within: "namespace >= :namespace AND namespace <= :namespace",
    // Several processes at once share the work: each skips the rows that another has taken.
    removeExpired: (sessions) =>
      `DELETE expired FROM (SELECT \`key\` FROM ${sessions} WHERE expires_at <= :now ORDER BY expires_at ` +
      `LIMIT :limit FOR UPDATE SKIP LOCKED) AS due STRAIGHT_JOIN ${sessions} AS expired ` +
      `ON expired.\`key\` = due.\`key\` WHERE expired.expires_at <= :now`
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
  const { changed, greatest, key, least, moves, raised, removeExpired, same, unlessTaken, unlessThere, within } =
    syntaxes[dialect]
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
  const expectedAlive = `${key} = :key AND version = :expected AND ${alive}`

  const texts = {
    create:
      `INSERT INTO ${sessions} (${key}, ${columns}, namespace_epoch, subject_epoch) VALUES (:key, :namespace, :id, ` +
      `:schemaVersion, :subject, :version, :writeId, :createdAt, :authenticatedAt, :modifiedAt, :lastSeenAt, ` +
      `:expiresAt, :deadline, :lifetime, :data, ${epochOf(":namespace")}, ${epochOf(":namespace", ":subject")})` +
      `${unlessThere}${changed}`,
    load: `SELECT ${columns} FROM ${sessions} WHERE ${key} = :key AND ${alive}`,
    save: `UPDATE ${sessions} SET data = :data, schema_version = :schemaVersion, version = version + 1, ` +
      `write_id = :writeId, modified_at = ${greatest}(modified_at, :modifiedAt), ` +
      `last_seen_at = ${greatest}(last_seen_at, :lastSeenAt), expires_at = CASE WHEN lifetime ${same} :lifetime ` +
      `THEN ${greatest}(expires_at, :expiresAt) ELSE :expiresAt END, lifetime = :lifetime ` +
      `WHERE ${expectedAlive}${changed}`,
    touch: `UPDATE ${sessions} SET last_seen_at = ${greatest}(last_seen_at, :lastSeenAt), ` +
      `expires_at = ${greatest}(expires_at, ${least}(:expiresAt, COALESCE(deadline, :expiresAt))) ` +
      `WHERE ${key} = :key AND ${alive}${changed}`,
    rotate: `UPDATE ${sessions} SET ${key} = :newKey, id = :id, data = :data, schema_version = :schemaVersion, ` +
      `subject_epoch = CASE WHEN subject ${same} :subject THEN subject_epoch ELSE ` +
      `${epochOf(`${sessions}.namespace`, ":subject")} END, subject = :subject, version = version + 1, ` +
      `write_id = :writeId, created_at = :createdAt, authenticated_at = :authenticatedAt, modified_at = :modifiedAt, ` +
      `last_seen_at = :lastSeenAt, expires_at = :expiresAt, deadline = :deadline, lifetime = :lifetime ` +
      `WHERE ${expectedAlive} AND ${key} <> :newKey${unlessTaken(sessions)}${changed}`,
    exists: `SELECT ${key} FROM ${sessions} WHERE ${key} = :key AND ${alive}`,
    destroy: `DELETE FROM ${sessions} WHERE ${key} = :key`,
    removeExpired: removeExpired(sessions),
    count: `SELECT (SELECT count(*) FROM ${sessions} WHERE expires_at > :now) AS current_records, ` +
      `(SELECT count(*) FROM ${sessions} WHERE expires_at <= :now) AS expired_records`,
    list: `SELECT ${infoColumns} FROM ${sessions} WHERE namespace = :namespace AND subject = :subject AND ${alive} ` +
      `ORDER BY created_at, id`,
    find: `SELECT ${columns} FROM ${sessions} WHERE namespace = :namespace AND id = :id AND ${alive}`,
    scan: `SELECT ${columns}, ${key} FROM ${sessions} WHERE ${within} AND id > :after AND ${alive} ` +
      `ORDER BY namespace, id LIMIT :limit`,
    revoke: `DELETE FROM ${sessions} WHERE namespace = :namespace AND id = :id${changed}`,
    raiseEpoch: `INSERT INTO ${epochs} (namespace, kind, subject, epoch) VALUES (:namespace, :kind, :subject, 1)` +
      raised(epochs),
    spare: `UPDATE ${sessions} SET subject_epoch = subject_epoch + 1 WHERE namespace = :namespace AND id = :id ` +
      `AND subject = :subject AND subject_epoch = ${epochOf(":namespace", ":subject")} - 1`
  }

  type Name = keyof typeof texts
  const prepared = Object.fromEntries(
    Object.entries(texts).map(([name, text]) => [name, prepare(dialect, text)])
  ) as Record<Name, Prepared>
  const byId = `SELECT id FROM ${sessions} WHERE namespace = :namespace AND id = :id`
  return {
    ...prepared,
    /** The statements of the one transaction. */
    sparing: [
      // A save holds its row and then reads the epochs. A revocation goes the same way, or each would wait for the other.
      ...moves ? [prepare(dialect, `${byId} FOR UPDATE`)] : [],
      prepared.raiseEpoch,
      prepared.spare
    ],
    /** Those of requests. Each finds one record by its key, so that one plan serves it whatever it is told. */
    frequent: [
      prepared.create,
      prepared.destroy,
      prepared.exists,
      prepared.load,
      prepared.rotate,
      prepared.save,
      prepared.touch
    ],
    /** Finds what a revocation by id has passed by, where that can be. */
    passedBy: moves ? prepare(dialect, byId) : undefined
  }
}
