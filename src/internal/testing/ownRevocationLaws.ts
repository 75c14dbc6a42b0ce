/**
 * `revoke` with a subject: a person ends a session of their own, and no other one.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Stored } from "../../Fixtures.js"
import { freshId, freshKey, isAlive, isDead, isKeyDead, namespace, start, stored } from "../../Fixtures.js"
import type { Law } from "../../Law.js"
import type { Store } from "../../SessionStore.js"
import { intercepted } from "../store/intercepted.js"
import type { Scene } from "./interleave.js"
import { everyOrder } from "./interleave.js"
import { equal, law, range, together } from "./law.js"

/** Revokes the session of "ann" as `revoker`, while its record is rotated to "bob", with the same id or a new one. */
const scene = (
  store: Store,
  revoker: "ann" | "bob",
  keepsId: boolean
): Effect.Effect<Scene<unknown>, unknown> =>
  Effect.gen(function*() {
    const before = yield* stored(store)
    const after: Stored = {
      key: freshKey(),
      record: { ...before.record, id: keepsId ? before.record.id : freshId(), subject: "bob", version: 2 }
    }
    let owner: "ann" | "bob" | undefined = "ann"
    return {
      requests: [
        (suspendCall) => {
          const { load, rotate } = intercepted(store, suspendCall)
          return Effect.flatMap(load(before.key, start), (found) =>
            Option.isNone(found)
              ? equal("a session that is not found was revoked", owner, undefined)
              : Effect.flatMap(
                rotate(before.key, after.key, after.record, { expectedVersion: 1, now: start }),
                (outcome) => {
                  const expected = owner === undefined ? "gone" : "saved"
                  if (owner !== undefined) owner = "bob"
                  return equal("rotate", outcome, expected)
                }
              ))
        },
        (suspendCall) =>
          Effect.flatMap(
            intercepted(store, suspendCall).revoke(namespace, before.record.id, revoker),
            (revoked) => {
              const expected = owner === revoker && (owner === "ann" || keepsId)
              if (expected) owner = undefined
              return equal(`revoke by ${revoker}`, revoked, expected)
            }
          )
      ],
      check: Effect.suspend(() =>
        owner === "bob"
          ? Effect.all([isAlive(store, after, start), isKeyDead(store, before, start)])
          : Effect.all([isDead(store, after, start), isDead(store, before, start)])
      )
    }
  })

export const ownRevocationLaws: ReadonlyArray<Law> = [
  law(
    "`revoke` with a subject ends a session of that subject, alive or not, and changes no other one",
    function*(store) {
      const revoked = yield* stored(store)
      yield* store.revokeSubject(namespace, "ann")
      const own = yield* stored(store)
      const others = yield* Effect.forEach(
        [{}, { subject: "bob" }, { subject: "Ann" }, { subject: undefined, authenticatedAt: undefined }],
        (fields) => stored(store, fields)
      )
      for (const another of others.slice(1)) {
        const { id, subject } = another.record
        for (const one of ["ann", "bob", "Ann", "", "an_", "%"].filter((one) => one !== subject)) {
          yield* equal(`"${one}" revokes a session of "${subject}"`, yield* store.revoke(namespace, id, one), false)
        }
        yield* isAlive(store, another, start)
      }
      yield* equal("an unknown id", yield* store.revoke(namespace, freshId(), "ann"), false)
      yield* equal("another namespace", yield* store.revoke("another", own.record.id, "ann"), false)
      yield* isAlive(store, own, start)
      yield* equal("of another, not alive", yield* store.revoke(namespace, revoked.record.id, "bob"), false)
      for (const one of [own, revoked]) {
        yield* equal("its own", yield* store.revoke(namespace, one.record.id, "ann"), true)
        yield* isDead(store, one, start)
        yield* equal("again", yield* store.revoke(namespace, one.record.id, "ann"), false)
      }
      yield* Effect.forEach(others, (one) => isAlive(store, one, start))
    }
  ),

  law(
    "`revoke` with a subject and a login as another subject end the session only for its owner, in every order of their store calls",
    function*(store) {
      for (const keepsId of [true, false]) {
        yield* everyOrder(scene(store, "ann", keepsId))
        yield* everyOrder(scene(store, "bob", keepsId))
      }
    }
  ),

  law("`revoke` with a subject and a concurrent login as another subject: exactly one succeeds", function*(store) {
    for (const i of range(10)) {
      const before = yield* stored(store)
      const after: Stored = { key: freshKey(), record: { ...before.record, subject: "bob", version: 2 } }
      const calls = [
        store.revoke(namespace, before.record.id, "ann"),
        store.rotate(before.key, after.key, after.record, { expectedVersion: 1, now: start })
      ]
      const outcomes = yield* together<boolean | string | object, unknown>(i % 2 === 0 ? calls : calls.reverse())
      const revoked = outcomes.includes(true)
      yield* equal("rotate", outcomes.find((outcome) => typeof outcome !== "boolean"), revoked ? "gone" : "saved")
      yield* revoked ? isDead(store, after, start) : isAlive(store, after, start)
    }
  })
]
