/**
 * The SQL that creates and migrates the tables of a SQL store.
 */

/** The same as `SqlMigrations.Dialect`, which cannot refer to this internal module. */
export type Dialect = "mysql" | "pg" | "sqlite"

/** The names of a store's tables. */
export interface Tables {
  /** The prefix of the names of indexes, which Postgres accepts without a schema only. */
  readonly prefix: string
  /** The schema, quoted. */
  readonly schema: string | undefined
  readonly sessions: string
  readonly epochs: string
  /** The reasons why sessions have ended. */
  readonly ends: string
  readonly migrations: string
}

/** Adds the prefix and the quoted schema to the name of a table. */
const qualified = (prefix: string, schema: string | undefined) => (name: string): string =>
  `${schema === undefined ? "" : `${schema}.`}${prefix}${name}`

export const tablesOf = (prefix: string, schema?: string): Tables => {
  const quoted = schema === undefined ? undefined : `"${schema}"`
  const named = qualified(prefix, quoted)
  return {
    prefix,
    schema: quoted,
    sessions: named("sessions"),
    epochs: named("session_epochs"),
    ends: named("session_ends"),
    migrations: named("session_migrations")
  }
}

/** The statements of each migration, in order. */
export const migrations = (
  dialect: Dialect,
  tables: Tables
): ReadonlyArray<readonly [name: string, statements: ReadonlyArray<string>]> => [
  ["0001_sessions", sessions[dialect](tables)]
]

// Keys, ids, namespaces and subjects are compared byte by byte, independent of the locale of the database: names that differ in case or in
// a trailing space are different.
const standard =
  (text: string, bigint: string, unlessPartitioned: (sessions: string, statement: string) => string) =>
  ({ ends, epochs, prefix, sessions }: Tables): ReadonlyArray<string> => {
    const index = `${prefix}sessions`
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
  attributes text,
  namespace_epoch ${bigint} NOT NULL,
  subject_epoch ${bigint} NOT NULL
)`,
      unlessPartitioned(sessions, `CREATE UNIQUE INDEX IF NOT EXISTS ${index}_by_id ON ${sessions} (namespace, id)`),
      `CREATE INDEX IF NOT EXISTS ${index}_by_subject ON ${sessions} (namespace, subject) WHERE subject IS NOT NULL`,
      `CREATE INDEX IF NOT EXISTS ${index}_by_expiry ON ${sessions} (expires_at)`,
      `CREATE TABLE IF NOT EXISTS ${epochs} (
  namespace ${text} NOT NULL,
  kind ${text} NOT NULL,
  subject ${text} NOT NULL,
  epoch ${bigint} NOT NULL,
  PRIMARY KEY (namespace, kind, subject)
)`,
      `CREATE TABLE IF NOT EXISTS ${ends} (
  key ${text} NOT NULL PRIMARY KEY,
  reason ${text} NOT NULL,
  expires_at ${bigint} NOT NULL
)`,
      `CREATE INDEX IF NOT EXISTS ${prefix}session_ends_by_expiry ON ${ends} (expires_at)`
    ]
  }

/**
 * The maximum length of a namespace or a subject in MySQL, in bytes: 255 characters of any kind. The columns are binary, because text is
 * compared without trailing spaces, and the collations that respect them have different names in MySQL and MariaDB.
 */
export const mysqlNameBytes = 1020

// InnoDB explicitly: the default engine of the server may have no transactions.
const mysql = ({ ends, epochs, sessions }: Tables): ReadonlyArray<string> => {
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
  attributes longtext,
  namespace_epoch bigint NOT NULL,
  subject_epoch bigint NOT NULL,
  UNIQUE INDEX ${sessions}_by_id (namespace, id),
  INDEX ${sessions}_by_subject (namespace, subject),
  INDEX ${sessions}_by_expiry (expires_at)
) ${options}`,
    `CREATE TABLE IF NOT EXISTS ${epochs} (
  namespace ${name} NOT NULL,
  kind varbinary(7) NOT NULL,
  subject ${name} NOT NULL,
  epoch bigint NOT NULL,
  PRIMARY KEY (namespace, kind, subject)
) ${options}`,
    `CREATE TABLE IF NOT EXISTS ${ends} (
  \`key\` varbinary(43) NOT NULL PRIMARY KEY,
  reason varbinary(16) NOT NULL,
  expires_at bigint NOT NULL,
  INDEX ${ends}_by_expiry (expires_at)
) ${options}`
  ]
}

const sessions: Record<Dialect, (tables: Tables) => ReadonlyArray<string>> = {
  mysql,
  // Postgres rejects this index on a partitioned table, even if an index of that name exists.
  pg: standard(
    `text COLLATE "C"`,
    "bigint",
    (sessions, statement) =>
      `DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_partitioned_table WHERE partrelid = '${sessions}'::regclass) ` +
      `THEN ${statement}; END IF; END $$`
  ),
  sqlite: standard("text", "integer", (_, statement) => statement)
}

/**
 * Partitions the table of sessions of Postgres by the hash of the key, in one transaction. It is idempotent: it does nothing if the table
 * has that number of partitions already. A unique index of a partitioned table must include the partition key, so a trigger writes the ids
 * to a separate table, whose primary key keeps them unique. The new tables belong to the owner of the table that they replace.
 *
 * It fails if the transaction uses one snapshot for all of its statements: that snapshot is taken before the table is locked, so the copy
 * would lack sessions that were committed while it waited for the lock.
 */
export const partitioning = ({ prefix, schema, sessions }: Tables, partitions: number): string => {
  const named = qualified(prefix, schema)
  const ids = named("session_ids")
  const next = named("sessions_next")
  const note = named("session_note_id")
  const index = `${prefix}sessions`
  const part = (i: number) => named(`sessions_${partitions}_${i}`)
  const granted = (table: string) =>
    `FOR granted IN SELECT privilege_type AS privilege, ` +
    `CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS grantee ` +
    `FROM pg_class, aclexplode(relacl) WHERE oid = '${sessions}'::regclass AND relowner <> grantee LOOP
    EXECUTE format('GRANT %s ON ${table} TO %s', granted.privilege, granted.grantee);
  END LOOP;`
  return `DO $partitions$
DECLARE
  granted record;
  made text;
  owner text;
BEGIN
  IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
    RAISE EXCEPTION 'the isolation level % would lose sessions that are written meanwhile',
      upper(current_setting('transaction_isolation'))
      USING ERRCODE = 'active_sql_transaction',
        HINT = 'Partition the table in a transaction of its own with the isolation level READ COMMITTED.';
  END IF;
  LOCK TABLE ${sessions} IN ACCESS EXCLUSIVE MODE;
  IF (SELECT count(*) FROM pg_inherits WHERE inhparent = '${sessions}'::regclass) = ${partitions} THEN RETURN; END IF;
  owner := (SELECT relowner::regrole::text FROM pg_class WHERE oid = '${sessions}'::regclass);
  CREATE TABLE ${next} (LIKE ${sessions} INCLUDING STORAGE) PARTITION BY HASH (key);
  ${
    Array.from({ length: partitions }, (_, i) =>
      `CREATE TABLE ${part(i)} PARTITION OF ${next} FOR VALUES WITH (MODULUS ${partitions}, REMAINDER ${i});`).join(
        "\n  "
      )
  }
  INSERT INTO ${next} SELECT * FROM ${sessions};
  CREATE TABLE IF NOT EXISTS ${ids} (
    namespace text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    PRIMARY KEY (namespace, id)
  );
  TRUNCATE ${ids};
  INSERT INTO ${ids} SELECT namespace, id FROM ${sessions};
  ${granted(next)}
  ${granted(ids)}
  DROP TABLE ${sessions};
  ALTER TABLE ${next} RENAME TO ${prefix}sessions;
  ALTER TABLE ${sessions} ADD CONSTRAINT ${index}_pkey PRIMARY KEY (key);
  CREATE INDEX ${index}_by_id ON ${sessions} (namespace, id);
  CREATE INDEX ${index}_by_subject ON ${sessions} (namespace, subject) WHERE subject IS NOT NULL;
  CREATE INDEX ${index}_by_expiry ON ${sessions} (expires_at);
  -- With the schema of the ids: a session whose search_path does not lead there may write by the name of the schema.
  EXECUTE format($function$CREATE OR REPLACE FUNCTION ${note}() RETURNS trigger LANGUAGE plpgsql AS $note$
  BEGIN
    IF TG_OP = 'TRUNCATE' THEN TRUNCATE %1$s; RETURN NULL; END IF;
    IF TG_OP = 'UPDATE' AND OLD.id = NEW.id AND OLD.namespace = NEW.namespace THEN RETURN NULL; END IF;
    IF TG_OP <> 'INSERT' THEN DELETE FROM %1$s WHERE namespace = OLD.namespace AND id = OLD.id; END IF;
    IF TG_OP <> 'DELETE' THEN INSERT INTO %1$s VALUES (NEW.namespace, NEW.id); END IF;
    RETURN NULL;
  END $note$$function$, (
    SELECT format('%s.%I', relnamespace::regnamespace, relname) FROM pg_class WHERE oid = '${ids}'::regclass
  ));
  CREATE TRIGGER ${prefix}session_note_id AFTER INSERT OR UPDATE OF namespace, id OR DELETE ON ${sessions}
    FOR EACH ROW EXECUTE FUNCTION ${note}();
  CREATE TRIGGER ${prefix}session_forget_ids AFTER TRUNCATE ON ${sessions}
    FOR EACH STATEMENT EXECUTE FUNCTION ${note}();
  IF owner <> quote_ident(current_user) THEN
    FOR made IN SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = '${sessions}'::regclass
      UNION ALL VALUES ('${sessions}'), ('${ids}') LOOP
      EXECUTE format('ALTER TABLE %s OWNER TO %s', made, owner);
    END LOOP;
    EXECUTE format('ALTER FUNCTION ${note}() OWNER TO %s', owner);
  END IF;
END $partitions$`
}
