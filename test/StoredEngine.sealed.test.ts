/**
 * `seal: "token"` against an attacker who can write to the database.
 */
import { SqlClient } from "@effect/sql/SqlClient"
import { it } from "@effect/vitest"
import { Effect, Option, Redacted } from "effect"
import { SessionToken } from "effect-session"
import { day, hour, start } from "effect-session/Fixtures"
import type { BoundEngine, CookieValue } from "effect-session/SessionEngine"
import { SessionStore } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import { xchacha20Poly1305 } from "../src/internal/crypto/cipher.js"
import { encodeBase64Url, hkdfSha256, lengthPrefixed, randomBytes } from "../src/internal/crypto/primitives.js"
import * as Tokens from "../src/internal/crypto/sessionToken.js"
import { engineOf, namespace, next, record, written } from "./support/engines.js"
import { freshPrefix, sqliteClient, sqlStore } from "./support/localStores.js"
import { postgresClient } from "./support/serverClients.js"

const clients = [["sqlite", () => sqliteClient], ["postgres", () => postgresClient()]] as const

const sessionOf = (engine: BoundEngine) =>
  written(engine, { _tag: "Create", record: record({ subject: "ann", authenticatedAt: start, data: `{"cart":1}` }) })

/** Seals data as 0.5.0 did: bound to the version only. */
const sealedBefore = (value: CookieValue, version: number, data: string) => {
  const token = Option.getOrThrow(SessionToken.parse(Redacted.value(value)))
  const info = lengthPrefixed("effect-session", "t1", "rest", namespace)
  const key = hkdfSha256(Tokens.unsafeBytes(token), new Uint8Array(0), info)
  const nonce = randomBytes(24)
  const sealed = xchacha20Poly1305(key).seal(nonce, lengthPrefixed("t1.", String(version)), Buffer.from(data))
  return `t1.${encodeBase64Url(Buffer.concat([nonce, sealed]))}`
}

/** An `UPDATE` for each authenticated column. */
const edits = [
  ["subject", "'admin'"],
  ["subject", "NULL"],
  ["id", "'AAAAAAAAAAAAAAAAAAAAAA'"],
  ["namespace", "'another'"],
  ["version", "version + 1"],
  ["schema_version", "schema_version + 1"],
  ["created_at", "created_at + 1"],
  ["authenticated_at", "authenticated_at + 1"],
  ["authenticated_at", "NULL"],
  ["deadline", `deadline + ${365 * day}`],
  ["deadline", "NULL"],
  ["attributes", "'{}'"],
  ["data", "'{}'"],
  ["data", "'t1.'"],
  ["data", "'t1.AgAA'"]
] as const

for (const [name, client] of clients) {
  describe(`seal: "token" on ${name}`, () => {
    /** Runs a test with a sealed session and a function that edits its row. */
    const withRow = <A, E>(
      body: (world: {
        readonly engine: BoundEngine
        readonly session: Effect.Effect.Success<ReturnType<typeof sessionOf>>
        readonly update: (set: string) => Effect.Effect<unknown, unknown>
      }) => Effect.Effect<A, E>
    ) => {
      const prefix = freshPrefix()
      return Effect.gen(function*() {
        const engine = yield* engineOf(yield* SessionStore, { seal: "token", timeout: "20 seconds" })
        const session = yield* sessionOf(engine)
        const sql = yield* SqlClient
        return yield* body({ engine, session, update: (set) => sql.unsafe(`UPDATE ${prefix}sessions SET ${set}`) })
      }).pipe(Effect.provide(sqlStore<unknown>(client(), prefix)))
    }

    for (const [column, value] of edits) {
      it.live(`a row whose ${column} was set to ${value} is corrupt and is not opened`, () =>
        withRow(({ engine, session, update }) =>
          Effect.gen(function*() {
            yield* update(`${column} = ${value}`)
            const error = yield* Effect.flip(engine.open(session.value, start))
            assert.deepStrictEqual([error.operation, error.reason], ["load", "corrupt"])
          })
        ))
    }

    it.live("a row opens after a save, a touch and a rotation, each of which seals it again", () =>
      withRow(({ engine, session: { record: first, value }, update }) =>
        Effect.gen(function*() {
          const saved = next(first)
          yield* written(engine, { _tag: "Save", value, record: saved, expectedVersion: 1 })
          const touched = { ...saved, lastSeenAt: start + 1, expiry: { ...saved.expiry, at: saved.expiry.at + 1 } }
          yield* written(engine, { _tag: "Touch", value, record: touched })
          assert.deepStrictEqual(Option.getOrThrow(yield* engine.open(value, start)).record, touched)
          const rotated = { ...touched, version: 3, subject: "bob", authenticatedAt: start + 2, writeId: "third" }
          const moved = yield* written(engine, { _tag: "Rotate", value, record: rotated, expectedVersion: 2 })
          assert.deepStrictEqual(Option.getOrThrow(yield* engine.open(moved.value, start)).record, rotated)
          yield* update("subject = 'ann'")
          assert.strictEqual((yield* Effect.flip(engine.open(moved.value, start))).reason, "corrupt")
        })
      ))

    it.live("an expiry edited beyond the deadline does not keep the session alive", () =>
      withRow(({ engine, session: { value }, update }) =>
        Effect.gen(function*() {
          yield* update(`expires_at = ${start + 365 * day}`)
          assert.isTrue(Option.isSome(yield* engine.open(value, start + day - 1)))
          assert.isTrue(Option.isNone(yield* engine.open(value, start + day)))
        })
      ))

    it.live("a row sealed by 0.5.0 is absent, whatever its subject", () =>
      withRow(({ engine, session: { value }, update }) =>
        Effect.gen(function*() {
          yield* update(`data = '${sealedBefore(value, 1, "{}")}'`)
          assert.isTrue(Option.isNone(yield* engine.open(value, start + hour / 2)))
          yield* update("subject = 'admin'")
          assert.isTrue(Option.isNone(yield* engine.open(value, start + hour / 2)))
          // Another version than it was sealed for: the seal does not match.
          yield* update("version = 2")
          assert.strictEqual((yield* Effect.flip(engine.open(value, start))).reason, "corrupt")
        })
      ))
  })
}
