/**
 * A store over an old and a new store, which moves sessions from the old one to the new one: a change of engine that logs no user out.
 *
 * A session stays in the old store until it is used or `copy` reaches it. Then it moves, with its version, in steps that any process can
 * continue: no update is lost, and a logout or revocation ends the session in either store. During the migration both stores must be
 * available, and a call costs one or two more round trips.
 *
 * Every process must use both stores before the first session moves:
 *
 * 1. Deploy `{ phase: "prepare" }` everywhere. No session moves, and new sessions are created in the old store.
 * 2. Deploy `{ phase: "move" }` everywhere. Sessions move when they are used; new ones are created in the new store.
 * 3. Move the rest: `effect-session copy`, or `MigratingStore.copy`.
 * 4. Deploy the new store alone. The old store is no longer needed.
 *
 * A session tag with `maxPerSubject` cannot use it: a limit cannot be enforced over two stores in one atomic step. A logout is not reported
 * as the reason why a session ended, because a move leaves the same trace in the old store.
 *
 * Until step 4 the migration can be reversed by exchanging the two stores. A session that is moving then first completes its old direction,
 * and `copy` moves it back. Processes of the two directions must not run at the same time: stop the old ones first.
 *
 * @since 0.5.0
 */
import type * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { layerConfig as layerConfigOf } from "./internal/layerConfig.js"
import { movedDirectory } from "./internal/migrating/directory.js"
import { isSourceMarker, markerOf } from "./internal/migrating/markers.js"
import type { Place } from "./internal/migrating/mover.js"
import { graceMillis, Mover } from "./internal/migrating/mover.js"
import { isCorrupt, isCorruptEntry } from "./internal/store/corrupt.js"
import { pages } from "./internal/store/pages.js"
import type { Capabilities, Corrupt, Evicted, Located, RotateOutcome, Store, WriteOutcome } from "./SessionStore.js"
import { SessionStore, SessionStoreError } from "./SessionStore.js"
import type { StoreKey } from "./StoreKey.js"

/**
 * The options of {@link make} and {@link layer}.
 *
 * @since 0.5.0
 * @category models
 */
export interface MigratingStoreOptions {
  /** `"prepare"`: no session moves, but sessions that other processes have moved are found. `"move"`: sessions move when they are used. */
  readonly phase: "prepare" | "move"
}

/**
 * Makes a store that moves sessions from one store to another.
 *
 * @since 0.5.0
 * @category constructors
 */
export const make = (from: Store, to: Store, { phase }: MigratingStoreOptions): Store => {
  const mover = new Mover(from, to, phase)
  const at = (side: Place["side"]) => side === "new" ? to : from
  /** The store of new sessions, and the other one. */
  const [first, second] = phase === "move" ? [to, from] : [from, to]

  /**
   * Runs a call in the old store and then in the new one, so that no moved copy becomes valid afterwards. It runs in the new store before
   * that, too, for the sessions of a reversed migration, which move from there.
   */
  const everywhere = <A>(call: (store: Store) => Effect.Effect<A, SessionStoreError>) =>
    Effect.forEach([to, from, to], call)

  /** Runs a write in the store that has the session; locates the session again if it moves meanwhile. */
  const where = <A extends string | Evicted>(
    key: StoreKey,
    now: number,
    write: (place: Place) => Effect.Effect<A | "gone", SessionStoreError>,
    tries = 5
  ): Effect.Effect<A | "gone", SessionStoreError> =>
    Effect.flatMap(mover.locate(key, now, "fresh"), (place) => {
      if (Option.isNone(place)) return Effect.succeed("gone")
      return Effect.flatMap(write(place.value), (outcome) =>
        outcome !== "gone"
          ? Effect.succeed(outcome)
          : tries > 1
          ? where(key, now, write, tries - 1)
          : Effect.fail(new SessionStoreError({ operation: "move", reason: "unavailable" })))
    })

  const touch: Store["touch"] = (key, times) =>
    where<"touched">(
      key,
      times.now,
      ({ side }) =>
        Effect.flatMap(at(side).touch(key, times), (outcome) =>
          outcome === "gone"
            ? Effect.succeed(outcome)
            // A concurrent move may have copied the times from before the touch.
            : Effect.map(
              at(side).load(key, times.now, "fresh"),
              (found) => Option.exists(found, (record) => markerOf(record)._tag === "Plain") ? outcome : "gone"
            ))
    )

  return {
    capabilities: together(from.capabilities, to.capabilities),
    // A limit is ignored here and in `rotate`: a store would enforce it among its own sessions only. See `together`.
    create: (key, record, now) => first.create(key, record, now),
    load: (key, now, reading) => Effect.map(mover.locate(key, now, reading), Option.map(({ record }) => record)),
    save: (key, record, options) =>
      where<WriteOutcome>(key, options.now, ({ side }) => at(side).save(key, record, options)),
    touch,
    rotate: (key, newKey, record, { expectedVersion, now }) =>
      where<RotateOutcome>(key, now, ({ side }) => at(side).rotate(key, newKey, record, { expectedVersion, now })),
    destroy: (key) => mover.end(key),
    removeExpired: ({ now, limit }) =>
      Effect.flatMap(to.removeExpired({ now, limit }), (removed) =>
        removed >= limit
          ? Effect.succeed(removed)
          : Effect.map(from.removeExpired({ now, limit: limit - removed }), (more) => removed + more)),
    count: (now) =>
      Effect.zipWith(from.count(now), to.count(now), (a, b) => ({
        current: a.current + b.current,
        expired: a.expired + b.expired
      })),
    ...movedDirectory(from, to),
    revoke: (namespace, id, subject) =>
      Effect.map(everywhere((store) => store.revoke(namespace, id, subject)), (ended) => ended.includes(true)),
    revokeSubject: (namespace, subject, except) =>
      Effect.asVoid(everywhere((store) => store.revokeSubject(namespace, subject, except))),
    revokeAll: (namespace) => Effect.asVoid(everywhere((store) => store.revokeAll(namespace))),
    endReason: (key, now) => mover.endReason(key, now, [first, second])
  }
}

/** Never `limitsSubjects`: a subject may have sessions in both stores, and no write counts them in one atomic step. */
const together = (a: Capabilities, b: Capabilities): Capabilities => ({
  durableDestroy: a.durableDestroy && b.durableDestroy,
  remote: a.remote || b.remote,
  ...(a.colocated === undefined && b.colocated === undefined ? {} : {
    colocated: (key, newKey) => [a, b].every(({ colocated }) => colocated?.(key, newKey) !== false)
  })
})

/**
 * A store that moves sessions from one store to another.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { StoredEngine } from "effect-session"
 * import * as MigratingStore from "effect-session/MigratingStore"
 * import * as RedisStore from "effect-session/RedisStore"
 * import * as SqlStore from "effect-session/SqlStore"
 *
 * export const engine = StoredEngine.layer.pipe(
 *   Layer.provide(MigratingStore.layer(SqlStore.layer, RedisStore.layer, { phase: "move" }))
 * )
 * ```
 *
 * @since 0.5.0
 * @category layers
 */
export const layer = <E1, R1, E2, R2>(
  from: Layer.Layer<SessionStore, E1, R1>,
  to: Layer.Layer<SessionStore, E2, R2>,
  options: MigratingStoreOptions
): Layer.Layer<SessionStore, E1 | E2, R1 | R2> =>
  Layer.scoped(
    SessionStore,
    Effect.map(
      Effect.all([Layer.build(from), Layer.build(to)]),
      ([from, to]) => make(Context.get(from, SessionStore), Context.get(to, SessionStore), options)
    )
  )

/**
 * A migrating store with options from the configuration. Fails with a `ConfigError` if one is missing or invalid.
 *
 * @since 0.6.0
 * @category layers
 */
export const layerConfig = <E1, R1, E2, R2>(
  from: Layer.Layer<SessionStore, E1, R1>,
  to: Layer.Layer<SessionStore, E2, R2>,
  options: Config.Config.Wrap<MigratingStoreOptions>
): Layer.Layer<SessionStore, E1 | E2 | ConfigError, R1 | R2> =>
  layerConfigOf(options, (options) => layer(from, to, options))

/**
 * The options of {@link copy}.
 *
 * @since 0.5.0
 * @category models
 */
export interface CopyOptions {
  /** The namespace of the session tag. */
  readonly namespace: string
  /** The number of sessions of one page. Default 500. */
  readonly batch?: number
  /** The number of sessions that move concurrently. Default 16. */
  readonly concurrency?: number
}

/**
 * The progress of a {@link copy}.
 *
 * @since 0.5.0
 * @category models
 */
export interface CopyProgress {
  /** The number of sessions that are now in the new store. */
  readonly moved: number
  /** The number of sessions that ended before they could be moved. */
  readonly ended: number
  /** The sessions that were not moved, because their record is corrupt in one of the stores. */
  readonly corrupt: ReadonlyArray<Corrupt>
}

/**
 * Moves all sessions of a namespace that are still in the old store, while both are in use. It can be interrupted at any time, and the next run
 * continues. Every process must be in the phase `"move"`.
 *
 * @since 0.5.0
 * @category moving
 */
export const copy = (
  from: Store,
  to: Store,
  { batch = 500, concurrency = 16, namespace }: CopyOptions
): Stream.Stream<CopyProgress, SessionStoreError> => {
  const mover = new Mover(from, to, "move")

  // A reversed migration first completes the moves of the old direction. The stream below reports corrupt records.
  const reversed = Effect.gen(function*() {
    const marks: Array<readonly [StoreKey, number]> = []
    const arrived = ({ key }: Located, now: number) =>
      unlessCorrupt(Effect.zipRight(mover.completeReversed(key, now), Effect.sync(() => marks.push([key, now]))))
    yield* pages(to, namespace, batch, graceMillis).pipe(
      Stream.runForEach(({ found, now }) =>
        Effect.forEach(found, (one) => isCorruptEntry(one) || !isSourceMarker(one) ? Effect.void : arrived(one, now), {
          concurrency,
          discard: true
        })
      )
    )
    if (marks.length === 0) return
    yield* Effect.sleep(graceMillis)
    yield* Effect.forEach(marks, ([key, now]) => unlessCorrupt(mover.removeMarker(key, now)), {
      concurrency,
      discard: true
    })
  })

  const moved = (one: Located | Corrupt, now: number): Effect.Effect<CopyProgress, SessionStoreError> =>
    isCorruptEntry(one)
      ? Effect.succeed({ ...nothing, corrupt: [one] })
      : mover.migrate(one, now).pipe(
        Effect.map((lives): CopyProgress => lives ? { ...nothing, moved: 1 } : { ...nothing, ended: 1 }),
        Effect.catchIf(isCorrupt, (error) => Effect.succeed({ ...nothing, corrupt: [{ id: one.id, error }] }))
      )

  const moving = pages(from, namespace, batch).pipe(
    // The next page is read while this one moves.
    Stream.buffer({ capacity: 1 }),
    Stream.mapEffect(({ found, now }) => Effect.forEach(found, (one) => moved(one, now), { concurrency })),
    Stream.scan(nothing, (before, page) => plus(before, page.reduce(plus, nothing))),
    Stream.drop(1)
  )
  return Stream.concat(Stream.execute(reversed), moving)
}

const nothing: CopyProgress = { moved: 0, ended: 0, corrupt: [] }

const plus = (a: CopyProgress, b: CopyProgress): CopyProgress => ({
  moved: a.moved + b.moved,
  ended: a.ended + b.ended,
  corrupt: b.corrupt.length === 0 ? a.corrupt : [...a.corrupt, ...b.corrupt]
})

/** Ignores a corrupt record, so that the others move. */
const unlessCorrupt = <A>(step: Effect.Effect<A, SessionStoreError>) =>
  Effect.catchIf(Effect.asVoid(step), isCorrupt, () => Effect.void)
