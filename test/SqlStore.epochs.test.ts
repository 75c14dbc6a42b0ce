/**
 * Deletion of the epochs of subjects without sessions, which revives no revoked session.
 */
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Effect } from "effect"
import { freshKey, hour, isAlive, isDead, namespace, start, stored } from "effect-session/Fixtures"
import { SessionStore } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import { range } from "./support/concurrency.js"
import { freshPrefix, sqliteClient, sqlStore } from "./support/localStores.js"
import { mysqlClient, ofMariadb, postgresClient } from "./support/serverClients.js"

const databases = [
  ["sqlite", () => sqliteClient],
  ["postgres", () => postgresClient()],
  ...ofMariadb(["mariadb", () => mysqlClient()] as const)
] as const

for (const [name, client] of databases) {
  describe(name, () => {
    const scene = (prefix: string) =>
      Effect.gen(function*() {
        const sql = yield* SqlClient
        const run = (statement: string) => sql.unsafe<Readonly<Record<string, unknown>>>(statement)
        const epochs = `${prefix}session_epochs`
        return {
          run,
          epochs,
          store: yield* SessionStore,
          sessions: `${prefix}sessions`,
          subjects: Effect.map(
            run(`SELECT subject FROM ${epochs} WHERE kind = 'subject' ORDER BY subject`),
            (rows) => rows.map(({ subject }) => String(subject))
          ),
          /** Makes every revocation older by this number of milliseconds. */
          age: (millis: number) => run(`UPDATE ${epochs} SET epoch = epoch - ${millis}`)
        }
      })
    type Scene = Effect.Effect.Success<ReturnType<typeof scene>>
    const onTables = <E>(body: (scene: Scene) => Effect.Effect<void, E>) => {
      const prefix = freshPrefix()
      return Effect.flatMap(scene(prefix), body).pipe(Effect.provide(sqlStore<unknown>(client(), prefix)))
    }

    it.live("epochs of subjects without sessions are deleted an hour after the revocation, others are kept", () =>
      onTables(({ age, store, subjects }) =>
        Effect.gen(function*() {
          const ann = yield* stored(store, { subject: "ann" })
          yield* stored(store, { subject: "bob", expiry: { at: start, deadline: undefined, lifetime: undefined } })
          for (const subject of ["ann", "bob", "carl"]) yield* store.revokeSubject(namespace, subject)
          yield* store.revokeAll(namespace)
          yield* age(hour - 60_000)
          assert.strictEqual(yield* store.removeExpired({ now: start, limit: 100 }), 1)
          assert.deepStrictEqual(yield* subjects, ["ann", "bob", "carl"])
          yield* age(2 * 60_000)
          assert.strictEqual(yield* store.removeExpired({ now: start, limit: 100 }), 0)
          assert.deepStrictEqual(yield* subjects, ["ann"])
          yield* isDead(store, ann, start)
          yield* store.destroy(ann.key)
          yield* store.removeExpired({ now: start, limit: 100 })
          assert.deepStrictEqual(yield* subjects, [])
        })
      ))

    it.live("a call examines a bounded number of epochs, and the next call continues", () =>
      onTables(({ epochs, run, store, subjects }) =>
        Effect.gen(function*() {
          const spread = (from: number) =>
            range(1000).map((i) => `('${namespace}', 'subject', 's${String(from + i).padStart(6, "0")}', 1)`).join(", ")
          for (const i of range(6)) {
            yield* run(`INSERT INTO ${epochs} (namespace, kind, subject, epoch) VALUES ${spread(1000 * i)}`)
          }
          yield* store.removeExpired({ now: start, limit: 100 })
          assert.lengthOf(yield* subjects, 1000)
          yield* store.removeExpired({ now: start, limit: 100 })
          assert.lengthOf(yield* subjects, 0)
        })
      ))

    it.live("a later revocation ends sessions whose write began before or after the deletion", () =>
      onTables(({ age, run, sessions, store, subjects }) =>
        Effect.gen(function*() {
          // A slow write reads the epoch; below, its row is stored as if the epochs had been deleted in between.
          yield* store.revokeSubject(namespace, "ann")
          const slow = yield* stored(store, { subject: "ann" })
          const [row] = yield* run(`SELECT subject_epoch FROM ${sessions}`)
          const noted = Number(row?.["subject_epoch"])
          assert.isAbove(noted, start)
          yield* store.destroy(slow.key)
          yield* age(2 * hour)
          yield* store.removeExpired({ now: start, limit: 100 })
          assert.deepStrictEqual(yield* subjects, [])
          const late = yield* stored(store, { subject: "ann" })
          yield* run(`UPDATE ${sessions} SET subject_epoch = ${noted - 2 * hour}`)
          const since = yield* stored(store, { subject: "ann" })
          yield* isAlive(store, late, start)
          yield* isAlive(store, since, start)
          yield* store.revokeSubject(namespace, "ann", since.record.id)
          yield* isDead(store, late, start)
          yield* isAlive(store, since, start)
          yield* store.revokeSubject(namespace, "ann")
          yield* isDead(store, since, start)
        })
      ))

    it.live("revocations by an older version of the library, which add one to the epoch, are effective", () =>
      onTables(({ epochs, run, store }) =>
        Effect.gen(function*() {
          const one = yield* stored(store, { subject: "ann" })
          yield* run(
            `INSERT INTO ${epochs} (namespace, kind, subject, epoch) VALUES ('${namespace}', 'subject', 'ann', 1)`
          )
          yield* isDead(store, one, start)
          const two = yield* stored(store, { subject: "ann" }, freshKey())
          yield* isAlive(store, two, start)
          yield* store.revokeSubject(namespace, "ann", two.record.id)
          yield* isAlive(store, two, start)
          yield* run(`UPDATE ${epochs} SET epoch = epoch + 1`)
          yield* isDead(store, two, start)
        })
      ))
  })
}
