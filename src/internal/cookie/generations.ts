/**
 * Decides which cookies of one session are accepted. Every cookie that is sent is a generation with its own number. The browser
 * acknowledges a generation by presenting it. All functions are pure.
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

/** A generation, and the end of the grace period for concurrent requests that present it. */
const Older = Schema.Struct({ generation: Schema.Number, until: Schema.Number })

/** The names of the fields are part of the stored format. */
const Model = Schema.parseJson(Schema.Struct({
  /** The latest generation. */
  current: Schema.Number,
  /** The previous generation, kept until the browser has presented the current one. */
  base: Schema.optional(Older),
  /** Older generations in their grace period. */
  fading: Schema.Array(Older)
}))

export type Generations = Schema.Schema.Type<typeof Model>

/**
 * The rights of a generation.
 *
 * - `current`: read and write.
 * - `grace`: read, for requests that were sent concurrently with the one that made a newer generation.
 * - `previous`: read and write, because the current generation is unacknowledged after the grace period.
 * - `rejected`: nothing.
 */
export type Standing = "current" | "grace" | "previous" | "rejected"

/** The grace period in milliseconds for requests that were sent concurrently with one that saved. */
export const grace = 10_000

/** Generations in their grace period that are kept. A client that saves more often sends its requests one after another. */
const maxGrace = 8

export const standing = ({ base, current, fading }: Generations, generation: number, now: number): Standing =>
  generation === current
    ? "current"
    : generation === base?.generation
    ? now > base.until ? "previous" : "grace"
    : fading.some((older) => older.generation === generation && now <= older.until)
    ? "grace"
    : "rejected"

/** A new session, or a rotation: only `current` is accepted. */
export const only = (current: number): Generations => ({ current, fading: [] })

/**
 * Adds a generation, made by a request that presented `from`. If `from` is the previous generation, the unacknowledged one is rejected
 * from now on.
 */
export const advance = (before: Generations, from: number, current: number, now: number): Generations => ({
  current,
  base: { generation: from, until: now + grace },
  fading: (from === before.current ? acknowledge(before, now) : before).fading.filter(({ until }) => now <= until)
})

/** Acknowledges the current generation. */
export const acknowledge = ({ base, current, fading }: Generations, now: number): Generations => ({
  current,
  fading: base === undefined
    ? fading
    : [{ generation: base.generation, until: now + grace }, ...fading].slice(0, maxGrace)
})

export const encode: (self: Generations) => string = Schema.encodeSync(Model)

const decodeEither = Schema.decodeUnknownEither(Model)

export const decode = (text: string): Option.Option<Generations> => Either.getRight(decodeEither(text))
