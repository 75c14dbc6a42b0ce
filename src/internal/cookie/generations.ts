/**
 * Which cookies of one session are good. Each that is sent is a generation with a number of its own, and the server knows
 * that one has arrived when it comes back. All of it is pure.
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

/** A number, and the end of the time in which requests that were sent with it may still be on their way. */
const Older = Schema.Struct({ generation: Schema.Number, until: Schema.Number })

const Model = Schema.parseJson(Schema.Struct({
  /** The latest one. */
  current: Schema.Number,
  /** The one that the browser held before, as long as the current one has not come back: it may be all that it has. */
  base: Schema.optional(Older),
  /** Those before a generation that has come back. */
  fading: Schema.Array(Older)
}))

export type Generations = Schema.Schema.Type<typeof Model>

/**
 * What a generation is good for.
 *
 * - `current`: reading and writing.
 * - `older`: reading, for requests that were sent together with the one that made a newer one.
 * - `stranded`: reading and writing, because the newer one never came back.
 * - `refused`: nothing.
 */
export type Standing = "current" | "older" | "stranded" | "refused"

/** How long requests that were sent together with one that saved may be on their way, in milliseconds. */
export const grace = 10_000

/** More are not kept: who saves that fast has requests in the order in which they are sent. */
const mostFading = 8

export const standing = ({ base, current, fading }: Generations, generation: number, now: number): Standing =>
  generation === current
    ? "current"
    : generation === base?.generation
    ? now > base.until ? "stranded" : "older"
    : fading.some((older) => older.generation === generation && now <= older.until)
    ? "older"
    : "refused"

/** A session that begins, or whose older cookies are all to be refused at once. */
export const only = (current: number): Generations => ({ current, fading: [] })

/** A new generation, made by a request that presented `from`. What `from` was stranded by is refused for good. */
export const advance = (before: Generations, from: number, current: number, now: number): Generations => ({
  current,
  base: { generation: from, until: now + grace },
  fading: (from === before.current ? confirm(before, now) : before).fading.filter(({ until }) => now <= until)
})

/** The current generation has come back. */
export const confirm = ({ base, current, fading }: Generations, now: number): Generations => ({
  current,
  fading: base === undefined
    ? fading
    : [{ generation: base.generation, until: now + grace }, ...fading].slice(0, mostFading)
})

export const encode: (self: Generations) => string = Schema.encodeSync(Model)

const decodeEither = Schema.decodeUnknownEither(Model)

export const decode = (text: string): Option.Option<Generations> => Either.getRight(decodeEither(text))
