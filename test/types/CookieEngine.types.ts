/**
 * Operations that a session in its cookie does not support do not compile. Checked by the compiler, never run.
 */
import { Effect, Layer, Schema, Stream } from "effect"
import { MemoryStore, ReadOnce, Session, SessionReaper } from "effect-session"
import * as CookieEngine from "effect-session/CookieEngine"
import * as Keyring from "effect-session/Keyring"
import type { SessionDirectory } from "effect-session/SessionDirectory"
import type { SessionEngine } from "effect-session/SessionEngine"
import type { SessionId } from "effect-session/SessionId"
import type { SessionRevocation } from "effect-session/SessionRevocation"
import { expectTypeOf } from "vitest"

class App extends Session.Tag<App>()("types/Cookie", {
  schema: Schema.Struct({ user: Schema.optional(Schema.String), notice: ReadOnce.field(Schema.String) })
}) {}

const keys = Keyring.layer([])
const service = App.service

type Missing<E> = E extends Effect.Effect<unknown, unknown, infer R> ? R : never

const sealed = App.layer.pipe(Layer.provideMerge(CookieEngine.layer), Layer.provide(keys))
const withLedger = App.layer.pipe(
  Layer.provideMerge(CookieEngine.layerLedger),
  Layer.provide(keys),
  Layer.provide(MemoryStore.layer)
)

// ---- lists require a ledger; streams and read-once values a directory, which no cookie engine provides
const listed = Effect.flatMap(service, ({ list }) => list("ann"))
const streamed = Effect.flatMap(service, ({ all: sessions }) => Stream.runCollect(sessions))
const taken = App.take("notice")

const onSealed = [
  listed.pipe(Effect.provide(sealed)),
  streamed.pipe(Effect.provide(sealed))
] as const
expectTypeOf<Missing<typeof onSealed[number]>>().toEqualTypeOf<SessionDirectory | SessionRevocation>()
expectTypeOf<Missing<typeof taken>>().toEqualTypeOf<App | SessionDirectory>()
// A ledger lists the sessions of a subject.
Effect.runPromise(listed.pipe(Effect.provide(withLedger)))
const onLedger = streamed.pipe(Effect.provide(withLedger))
expectTypeOf<Missing<typeof onLedger>>().toEqualTypeOf<SessionDirectory>()
// @ts-expect-error no directory
Effect.runPromise(onLedger)

// ---- revocation requires a ledger
const revoked = Effect.flatMap(service, ({ revokeSubject }) => revokeSubject("ann"))
const withoutLedger = revoked.pipe(Effect.provide(sealed))
expectTypeOf<Missing<typeof withoutLedger>>().toEqualTypeOf<SessionRevocation>()
// @ts-expect-error no ledger
Effect.runPromise(withoutLedger)
Effect.runPromise(revoked.pipe(Effect.provide(withLedger)))

// ---- without a ledger there is no maintenance
const reaped = SessionReaper.layer.pipe(Layer.provide(CookieEngine.layer), Layer.provide(keys))
// @ts-expect-error no maintenance
Effect.runPromise(Effect.scoped(Layer.build(reaped)))

// ---- the sessions of a person require a ledger, too
class Limited extends Session.Tag<Limited>()("test/Limited", { schema: Schema.Struct({}), maxPerSubject: 3 }) {}
expectTypeOf<Layer.Layer.Context<typeof Limited.layer>>().toEqualTypeOf<SessionEngine | SessionRevocation>()
const limited = Limited.layer.pipe(Layer.provide(CookieEngine.layer), Layer.provide(keys))
expectTypeOf<Layer.Layer.Context<typeof limited>>().toEqualTypeOf<SessionRevocation>()

declare const id: SessionId
const own = [
  Effect.flatMap(service, ({ own }) => own("ann")),
  Effect.flatMap(service, ({ revokeOwn }) => revokeOwn("ann", id)),
  App.revokeOthers
] as const
const ownOnSealed = Effect.provide(own[0], sealed)
expectTypeOf<Missing<typeof ownOnSealed>>().toEqualTypeOf<SessionRevocation>()
const revokedOnSealed = Effect.provide(own[1], sealed)
expectTypeOf<Missing<typeof revokedOnSealed>>().toEqualTypeOf<SessionRevocation>()
expectTypeOf<Missing<typeof own[2]>>().toEqualTypeOf<App | SessionRevocation>()
Effect.runPromise(Effect.provide(own[0], withLedger))
