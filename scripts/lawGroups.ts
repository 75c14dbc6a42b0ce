/** The published laws in groups, and the stores and engines that they are run on, for the page `docs/laws.md`. */
import { endReasonLaws, engineLaws, storedEngineLaws } from "effect-session/testing"
import { cleanUpLaws } from "../src/internal/testing/cleanUpLaws.js"
import { clockLaws } from "../src/internal/testing/clockLaws.js"
import { createLaws } from "../src/internal/testing/createLaws.js"
import { dataLaws } from "../src/internal/testing/dataLaws.js"
import { directoryLaws } from "../src/internal/testing/directoryLaws.js"
import { possibleEndReasonLaws } from "../src/internal/testing/endReasonLaws.js"
import { limitLaws } from "../src/internal/testing/limitLaws.js"
import { modelLaws } from "../src/internal/testing/model.js"
import { ownRevocationLaws } from "../src/internal/testing/ownRevocationLaws.js"
import { personLaws } from "../src/internal/testing/personLaws.js"
import { raceLaws } from "../src/internal/testing/raceLaws.js"
import { removalLaws } from "../src/internal/testing/removalLaws.js"
import { revocationLaws } from "../src/internal/testing/revocationLaws.js"
import { rotateLaws } from "../src/internal/testing/rotateLaws.js"
import { saveLaws } from "../src/internal/testing/saveLaws.js"
import { secrecyLaws } from "../src/internal/testing/secrecyLaws.js"
import { serviceLaws } from "../src/internal/testing/serviceLaws.js"
import { touchLaws } from "../src/internal/testing/touchLaws.js"

export interface LawGroup {
  readonly title: string
  /** The promise of the group in plain words. */
  readonly meaning: string
  readonly laws: ReadonlyArray<{ readonly name: string }>
}

export const lawGroups: ReadonlyArray<LawGroup> = [
  {
    title: "Two requests at once",
    meaning:
      "Two complete requests, stopped before each call of the store and continued in every possible order: no update is lost, and " +
      "no ended session comes back.",
    laws: raceLaws
  },
  {
    title: "A store that fails",
    meaning:
      "Calls fail before or after they run, hang, lose their reply or run twice. A change that was answered with success is stored, and no " +
      "change is applied twice.",
    laws: serviceLaws
  },
  {
    title: "The session of a person",
    meaning: "Logins, step-ups, impersonation, devices and limits, as a handler uses them.",
    laws: personLaws
  },
  {
    title: "Cookie values",
    meaning: "An engine turns a cookie value into a record and back. A forged, changed or foreign value opens nothing.",
    laws: engineLaws
  },
  {
    title: "Engines over a store",
    meaning: "An engine over a store passes on what its store decides: conflicts, and the end of a session.",
    laws: storedEngineLaws
  },
  {
    title: "Create",
    meaning: "A new record is readable at once, and replaces no other one.",
    laws: createLaws
  },
  {
    title: "Save",
    meaning: "A save replaces the version that it names and no other. It never inserts a record.",
    laws: saveLaws
  },
  {
    title: "Touch",
    meaning: "A touch moves the times forward, and conflicts with nothing.",
    laws: touchLaws
  },
  {
    title: "Rotate",
    meaning: "A record moves to a new key in one step: the old and the new key are never valid together.",
    laws: rotateLaws
  },
  {
    title: "Destroy and expiry",
    meaning: "A session that was destroyed or has expired is absent for every operation, and stays absent.",
    laws: removalLaws
  },
  {
    title: "Find and list",
    meaning: "Sessions are found by id, by subject and by namespace, in complete pages.",
    laws: directoryLaws
  },
  {
    title: "Revoke",
    meaning: "A revocation ends all sessions that it names and no others, whatever happens at the same time.",
    laws: [...revocationLaws, ...ownRevocationLaws]
  },
  {
    title: "Limits of a subject",
    meaning: "A store that declares `limitsSubjects` counts the sessions of a subject in the step that writes.",
    laws: limitLaws
  },
  {
    title: "End reasons",
    meaning: "The reason why a session has ended is the true one, or absent. Some stores know it in every case.",
    laws: [...possibleEndReasonLaws, ...endReasonLaws]
  },
  {
    title: "Clean-up",
    meaning: "Deleting expired records keeps every record that is needed, and every revocation in effect.",
    laws: cleanUpLaws
  },
  {
    title: "Clocks",
    meaning: "A process whose clock is ahead deletes nothing and prolongs nothing.",
    laws: clockLaws
  },
  {
    title: "Data",
    meaning: "A store returns each record as it was written, byte for byte.",
    laws: dataLaws
  },
  {
    title: "Comparison with the store in memory",
    meaning: "Random sequences of commands have the same results as on `MemoryStore`, which is the specification.",
    laws: modelLaws
  },
  {
    title: "Secrets and hostile data",
    meaning: "A store receives no token, and hostile data does no harm.",
    laws: secrecyLaws
  }
]

export interface Subject {
  /** The modules that it is made of, as Markdown. */
  readonly madeOf: string
  /** Why some laws are not run on it. */
  readonly exceptions?: string
}

const cookie = "Its records are in no store, and nothing on the server ends them: see [its limits](cookies.md)."

const django =
  "Its records are in the table of a live Django and in no store: the keys are there in clear, and saves of Django have no condition. The " +
  "table has one namespace and no touches. Other tests stop two requests before each statement."

/** The stores and engines, by the name in the titles of the tests. */
export const subjects: Readonly<Record<string, Subject>> = {
  e1: { madeOf: "`CookieEngine`, XChaCha20-Poly1305", exceptions: cookie },
  f1: { madeOf: "`CookieEngine`, AES-256-GCM", exceptions: cookie },
  "with a ledger": {
    madeOf: "`CookieEngine.layerLedger`, ledger in memory",
    exceptions: "Its records are in the cookie, so the laws of the operations of a store do not apply."
  },
  "with a ledger in redis": {
    madeOf: "`CookieEngine.layerLedger`, ledger in Redis",
    exceptions: "The same, and the orders of two requests are run with the ledger in memory."
  },
  memory: { madeOf: "`MemoryStore`" },
  cache: { madeOf: "`CacheStore`" },
  file: { madeOf: "`FileStore`" },
  libsql: { madeOf: "`SqlStore` on libSQL, in a local file" },
  valkey: { madeOf: "`RedisStore` on Valkey" },
  sqlite: { madeOf: "`SqlStore` on SQLite" },
  postgres: { madeOf: "`SqlStore` on Postgres" },
  mariadb: { madeOf: "`SqlStore` on MariaDB" },
  redis: { madeOf: "`RedisStore` on one node" },
  "redis-cluster": { madeOf: "`RedisStore` on a Cluster" },
  "cached sqlite": { madeOf: "`TieredStore`: a cache in the process over SQLite" },
  "redis, postgres": { madeOf: "`TieredStore`: Redis over Postgres" },
  "sqlite to redis": {
    madeOf: "`MigratingStore`, with sessions that begin in the old store",
    exceptions:
      "Whether a new random key or id is taken in the old store is not checked while sessions move. A move leaves the same trace in " +
      "the old store as a logout, so not every end reason is known."
  },
  "django on postgres": { madeOf: "`DjangoEngine` on Postgres", exceptions: django },
  "django on mariadb": { madeOf: "`DjangoEngine` on MariaDB", exceptions: django },
  "django on sqlite": { madeOf: "`DjangoEngine` on SQLite", exceptions: django }
}
