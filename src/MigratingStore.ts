/**
 * Two stores as one, while sessions move from the old one to the new one: a change of engine that logs nobody out.
 *
 * A session is where it was until it is used, or until `copy` comes to it; then it moves, in steps that any process can
 * take further, and with the version it had: no update is lost, and what ends a session ends it wherever it is. While the
 * move lasts, both stores must be up, and a call costs one or two more round trips.
 *
 * Every process must know of both stores before the first session moves:
 *
 * 1. Deploy `{ phase: "prepare" }` everywhere. Nothing moves yet, and new sessions begin in the old store.
 * 2. Deploy `{ phase: "move" }` everywhere. Sessions that are used move; new ones begin in the new store.
 * 3. Move the rest: `effect-session copy`, or `MigratingStore.copy`.
 * 4. Deploy the new store alone. The old one can go.
 *
 * Until step 4 the way back is the same, with the two stores exchanged. What is half-way then arrives first where it was
 * going, and `copy` brings it home. No process of the one direction may run beside one of the other: stop them first.
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
import { isLeaving, markOf } from "./internal/migrating/marks.js"
import type { Place } from "./internal/migrating/mover.js"
import { Mover, patience } from "./internal/migrating/mover.js"
import { isCorrupt, isCorruptEntry } from "./internal/store/corrupt.js"
import { pages } from "./internal/store/pages.js"
import type { Capabilities, Corrupt, Located, Store, WriteOutcome } from "./SessionStore.js"
import { SessionStore, SessionStoreError } from "./SessionStore.js"
import type { StoreKey } from "./StoreKey.js"

/**
 * The options of {@link make} and {@link layer}.
 *
 * @since 0.5.0
 * @category models
 */
export interface MigratingStoreOptions {
  /** `"prepare"`: nothing moves, but what others have moved is found. `"move"`: sessions move when they are used. */
  readonly phase: "prepare" | "move"
}

/**
 * Makes a store of two.
 *
 * @since 0.5.0
 * @category constructors
 */
export const make = (from: Store, to: Store, { phase }: MigratingStoreOptions): Store => {
  const mover = new Mover(from, to, phase)
  const at = (side: Place["side"]) => side === "new" ? to : from

  /**
   * In the store that sessions come from, and then in the one that they go to: from then on no copy can come to count. But
   * first for those that were on their way in the other direction when the stores were exchanged: they come from there.
   */
  const everywhere = <A>(call: (store: Store) => Effect.Effect<A, SessionStoreError>) =>
    Effect.forEach([to, from, to], call)

  /** Writes where the session is, and looks for it again if it was no longer there. */
  const where = <A extends string>(
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
            // A move that began in between may have taken the times from before with it.
            : Effect.map(
              at(side).load(key, times.now, "fresh"),
              (found) => Option.exists(found, (record) => markOf(record)._tag === "Plain") ? outcome : "gone"
            ))
    )

  return {
    capabilities: together(from.capabilities, to.capabilities),
    create: (phase === "move" ? to : from).create,
    load: (key, now, reading) => Effect.map(mover.locate(key, now, reading), Option.map(({ record }) => record)),
    save: (key, record, options) =>
      where<WriteOutcome>(key, options.now, ({ side }) => at(side).save(key, record, options)),
    touch,
    rotate: (key, newKey, record, options) =>
      where<WriteOutcome>(key, options.now, ({ side }) => at(side).rotate(key, newKey, record, options)),
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
    revoke: (namespace, id) =>
      Effect.map(everywhere((store) => store.revoke(namespace, id)), (ended) => ended.includes(true)),
    revokeSubject: (namespace, subject, except) =>
      Effect.asVoid(everywhere((store) => store.revokeSubject(namespace, subject, except))),
    revokeAll: (namespace) => Effect.asVoid(everywhere((store) => store.revokeAll(namespace)))
  }
}

const together = (a: Capabilities, b: Capabilities): Capabilities => ({
  durableDestroy: a.durableDestroy && b.durableDestroy,
  remote: a.remote || b.remote,
  ...(a.colocated === undefined && b.colocated === undefined ? {} : {
    colocated: (key, newKey) => [a, b].every(({ colocated }) => colocated?.(key, newKey) !== false)
  })
})

/**
 * The same as a layer.
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
  /** Whose sessions: the namespace of a session tag. */
  readonly namespace: string
  /** How many are read at once. Default 500. */
  readonly batch?: number
  /** How many move at once. Default 16. */
  readonly concurrency?: number
}

/**
 * How far a copy has come.
 *
 * @since 0.5.0
 * @category models
 */
export interface CopyProgress {
  /** Sessions that live in the new store now. */
  readonly moved: number
  /** Sessions that ended before they could be moved. */
  readonly ended: number
  /** Sessions that stay where they are, because their record is damaged, in the one store or in the other. */
  readonly corrupt: ReadonlyArray<Corrupt>
}

/**
 * Moves all sessions of a namespace that are still in the old store, while it is in use. It may be stopped at any moment;
 * the next one goes on from there. Every process must be in the phase `"move"`.
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

  // What was on its way to the old store when all turned round: it arrives there, and is not in the way any more. What is
  // damaged there is met again below.
  const turned = Effect.gen(function*() {
    const marks: Array<readonly [StoreKey, number]> = []
    const arrived = ({ key }: Located, now: number) =>
      unlessCorrupt(Effect.zipRight(mover.arrive(key, now), Effect.sync(() => marks.push([key, now]))))
    yield* pages(to, namespace, batch, patience).pipe(
      Stream.runForEach(({ found, now }) =>
        Effect.forEach(found, (one) => isCorruptEntry(one) || !isLeaving(one) ? Effect.void : arrived(one, now), {
          concurrency,
          discard: true
        })
      )
    )
    if (marks.length === 0) return
    yield* Effect.sleep(patience)
    yield* Effect.forEach(marks, ([key, now]) => unlessCorrupt(mover.forget(key, now)), { concurrency, discard: true })
  })

  const settled = (one: Located | Corrupt, now: number): Effect.Effect<CopyProgress, SessionStoreError> =>
    isCorruptEntry(one)
      ? Effect.succeed({ ...nothing, corrupt: [one] })
      : mover.settle(one, now).pipe(
        Effect.map((lives): CopyProgress => lives ? { ...nothing, moved: 1 } : { ...nothing, ended: 1 }),
        Effect.catchIf(isCorrupt, (error) => Effect.succeed({ ...nothing, corrupt: [{ id: one.id, error }] }))
      )

  const moving = pages(from, namespace, batch).pipe(
    // The next page is read while this one is moved.
    Stream.buffer({ capacity: 1 }),
    Stream.mapEffect(({ found, now }) => Effect.forEach(found, (one) => settled(one, now), { concurrency })),
    Stream.scan(nothing, (before, page) => plus(before, page.reduce(plus, nothing))),
    Stream.drop(1)
  )
  return Stream.concat(Stream.execute(turned), moving)
}

const nothing: CopyProgress = { moved: 0, ended: 0, corrupt: [] }

const plus = (a: CopyProgress, b: CopyProgress): CopyProgress => ({
  moved: a.moved + b.moved,
  ended: a.ended + b.ended,
  corrupt: b.corrupt.length === 0 ? a.corrupt : [...a.corrupt, ...b.corrupt]
})

/** A record that is damaged is in no other's way. */
const unlessCorrupt = <A>(step: Effect.Effect<A, SessionStoreError>) =>
  Effect.catchIf(Effect.asVoid(step), isCorrupt, () => Effect.void)
