/**
 * What a session inside its cookie cannot do does not compile. Checked by the compiler, never run.
 */
import { Effect, Layer, Schema, Stream } from "effect"
import { MemoryStore, ReadOnce, Session, SessionReaper } from "effect-session"
import * as CookieEngine from "effect-session/CookieEngine"
import * as Keyring from "effect-session/Keyring"
import type { SessionDirectory } from "effect-session/SessionDirectory"
import type { SessionRevocation } from "effect-session/SessionRevocation"
import { expectTypeOf } from "vitest"

class App extends Session.Tag<App>()("types/Cookie", {
  schema: Schema.Struct({ user: Schema.optional(Schema.String), notice: ReadOnce.field(Schema.String) })
}) {}

const keys = Keyring.layer([])
const service = App.service

type Missing<E> = E extends Effect.Effect<unknown, unknown, infer R> ? R : never

const sealed = App.layer.pipe(Layer.provideMerge(CookieEngine.layer), Layer.provide(keys))
const revocable = App.layer.pipe(
  Layer.provideMerge(CookieEngine.layerLedger),
  Layer.provide(keys),
  Layer.provide(MemoryStore.layer)
)

// ---- lists, streams and what is read once want a directory, which no cookie engine provides
const listed = Effect.flatMap(service, ({ list }) => list("ann"))
const streamed = Effect.flatMap(service, ({ all: sessions }) => Stream.runCollect(sessions))
const taken = App.take("notice")

const onSealed = [
  listed.pipe(Effect.provide(sealed)),
  streamed.pipe(Effect.provide(sealed))
] as const
expectTypeOf<Missing<typeof onSealed[number]>>().toEqualTypeOf<SessionDirectory>()
expectTypeOf<Missing<typeof taken>>().toEqualTypeOf<App | SessionDirectory>()
const onRevocable = listed.pipe(Effect.provide(revocable))
expectTypeOf<Missing<typeof onRevocable>>().toEqualTypeOf<SessionDirectory>()
// @ts-expect-error no directory
Effect.runPromise(onRevocable)

// ---- revocation wants a ledger
const revoked = Effect.flatMap(service, ({ revokeSubject }) => revokeSubject("ann"))
const withoutLedger = revoked.pipe(Effect.provide(sealed))
expectTypeOf<Missing<typeof withoutLedger>>().toEqualTypeOf<SessionRevocation>()
// @ts-expect-error no ledger
Effect.runPromise(withoutLedger)
Effect.runPromise(revoked.pipe(Effect.provide(revocable)))

// ---- there is nothing to clean up
const reaped = SessionReaper.layer.pipe(Layer.provide(CookieEngine.layer), Layer.provide(keys))
// @ts-expect-error no maintenance
Effect.runPromise(Effect.scoped(Layer.build(reaped)))
