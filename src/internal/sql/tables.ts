/**
 * The tables of a SQL store, as plain SQL.
 */
import type { Dialect } from "./statements.js"

/** One list of statements per migration, in order. */
export const migrations = (
  dialect: Dialect,
  prefix: string
): ReadonlyArray<readonly [name: string, statements: ReadonlyArray<string>]> => [
  ["0001_sessions", sessions[dialect](prefix)]
]

// Keys, ids, namespaces and subjects are compared byte by byte, whatever the locale of the database: two that differ in
// case, or in a blank at the end, are two.
const standard = (text: string, bigint: string) => (prefix: string): ReadonlyArray<string> => {
  const sessions = `${prefix}sessions`
  return [
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
  ]
}

/**
 * The length of a namespace or a subject in MySQL, in bytes: 255 characters of any kind. Text there is compared without
 * the blanks at its end, and the collations that heed them have other names in MySQL than in MariaDB; bytes have none.
 */
export const mysqlNameBytes = 1020

// InnoDB by name: another engine has no transactions.
const mysql = (prefix: string): ReadonlyArray<string> => {
  const sessions = `${prefix}sessions`
  const options = "ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
  const name = `varbinary(${mysqlNameBytes})`
  return [
    `CREATE TABLE IF NOT EXISTS ${sessions} (
  \`key\` varbinary(43) NOT NULL PRIMARY KEY,
  namespace ${name} NOT NULL,
  id varbinary(22) NOT NULL,
  data longtext NOT NULL,
  schema_version integer NOT NULL,
  subject ${name},
  version bigint NOT NULL,
  write_id longtext NOT NULL,
  created_at bigint NOT NULL,
  authenticated_at bigint,
  modified_at bigint NOT NULL,
  last_seen_at bigint NOT NULL,
  expires_at bigint NOT NULL,
  deadline bigint,
  lifetime longtext,
  namespace_epoch bigint NOT NULL,
  subject_epoch bigint NOT NULL,
  UNIQUE INDEX ${sessions}_by_id (namespace, id),
  INDEX ${sessions}_by_subject (namespace, subject),
  INDEX ${sessions}_by_expiry (expires_at)
) ${options}`,
    `CREATE TABLE IF NOT EXISTS ${prefix}session_epochs (
  namespace ${name} NOT NULL,
  kind varbinary(7) NOT NULL,
  subject ${name} NOT NULL,
  epoch bigint NOT NULL,
  PRIMARY KEY (namespace, kind, subject)
) ${options}`
  ]
}

const sessions: Record<Dialect, (prefix: string) => ReadonlyArray<string>> = {
  mysql,
  pg: standard(`text COLLATE "C"`, "bigint"),
  sqlite: standard("text", "integer")
}
