import { it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schema } from "effect"
import { MemoryStore, Session, StoredEngine } from "effect-session"
import { isAlive, start, stored } from "effect-session/Fixtures"
import * as Keyring from "effect-session/Keyring"
import * as MigratingStore from "effect-session/MigratingStore"
import * as SealedStore from "effect-session/SealedStore"
import { SessionStore } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { assert } from "vitest"
import { visit } from "./support/requestWithoutHttp.js"

const keyOf = (id: string, seed: number): Keyring.Key => ({
  id,
  secret: Redacted.make(
    Buffer.from(Array.from({ length: 32 }, (_, i) => (seed * 43 + i * 89 + i * i * 11) % 256)).toString("base64url")
  )
})

class Cart extends Session.Tag<Cart>()("test/SealedMove", {
  schema: Schema.Struct({ items: Schema.optionalWith(Schema.Number, { default: () => 0 }) })
}) {}
it.scoped("sealed data is moved, updated and rotated during a migration", () =>
  Effect.gen(function*() {
    const a = MemoryStore.make(), b = MemoryStore.make()
    const server = (store: Store) =>
      Effect.map(
        Layer.build(
          Cart.layer.pipe(
            Layer.provide(StoredEngine.layerWith({ seal: "token" })),
            Layer.provide(Layer.succeed(SessionStore, store))
          )
        ),
        (context) => <A, E>(handler: Effect.Effect<A, E, Cart>, cookie?: string) =>
          Effect.provide(visit(Cart, handler, cookie), context)
      )
    const old = yield* server(a), moving = yield* server(MigratingStore.make(a, b, { phase: "move" }))
    const { cookie } = yield* old(Effect.zipRight(Cart.authenticate("ann"), Cart.set("items", 1)))
    const r = yield* moving(
      Effect.gen(function*() {
        yield* Cart.update("items", (n) => n + 1)
        yield* Cart.save
        yield* Cart.rotate
        yield* Cart.update("items", (n) => n + 1)
      }),
      cookie
    )
    assert.isUndefined(r.error)
    assert.strictEqual((yield* moving(Cart.get("items"), r.cookie)).result, 3)
    assert.strictEqual((yield* moving(Cart.get("items"), cookie)).result, 0)
  }))

for (const where of ["above both", "below, in the old", "below, in the new"] as const) {
  it.live(`sealed ${where} store: a session that was moved can be unsealed`, () =>
    Effect.gen(function*() {
      const [a, b] = [MemoryStore.make(), MemoryStore.make()]
      const [from, to] = where === "below, in the old"
        ? [yield* SealedStore.make(a), b]
        : where === "below, in the new"
        ? [a, yield* SealedStore.make(b)]
        : [a, b]
      const sealed = (store: Store) => where === "above both" ? SealedStore.make(store) : Effect.succeed(store)
      const one = yield* stored(yield* sealed(from))
      const moving = yield* sealed(MigratingStore.make(from, to, { phase: "move" }))
      yield* isAlive(moving, one, start)
      yield* isAlive(yield* sealed(to), one, start)
      assert.strictEqual(
        yield* moving.save(one.key, { ...one.record, data: `"new"` }, { expectedVersion: 1, now: start }),
        "saved"
      )
    }).pipe(Effect.provide(Keyring.layer([keyOf("k1", 5)]))))
}
