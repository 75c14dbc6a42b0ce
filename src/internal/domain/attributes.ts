/**
 * The attributes of a session: what belongs to the session itself and not to the application's data. Every store keeps them as JSON text
 * beside the data, so that lists can show them without loading it.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Json } from "../../Json.js"
import { problemOf } from "../json.js"

/** A proof of identity after the login: a step-up. Times are milliseconds since the epoch. */
export interface Elevation {
  readonly at: number
  readonly methods: ReadonlyArray<string>
  readonly level: number
}

/** Absent members have no property in the text. Members of later versions of the library are kept as they are. */
export interface Attributes {
  /** The methods of the login, such as `pwd` or `otp`. */
  readonly methods?: ReadonlyArray<string>
  /** The strength of the login: a non-negative integer. */
  readonly level?: number
  /** Whether the visitor has asked to be remembered by the browser. */
  readonly remembered?: boolean
  readonly elevated?: Elevation
  /** The subject that the session's own subject acts for. */
  readonly impersonating?: string
  /** The context as the tag's schema encodes it. */
  readonly context?: Json
  /** Random text that changes with every rotation, for engines whose cookie value changes with every write. */
  readonly rotation?: string
}

/** The attributes of an anonymous session. */
export const none: Attributes = {}

const Level = Schema.NonNegativeInt
const Methods = Schema.Array(Schema.String)

const Model = Schema.Struct({
  methods: Schema.optionalWith(Methods, { exact: true }),
  level: Schema.optionalWith(Level, { exact: true }),
  remembered: Schema.optionalWith(Schema.Boolean, { exact: true }),
  elevated: Schema.optionalWith(Schema.Struct({ at: Schema.Int, methods: Methods, level: Level }), { exact: true }),
  impersonating: Schema.optionalWith(Schema.String, { exact: true }),
  rotation: Schema.optionalWith(Schema.String, { exact: true })
})

/** `__proto__` would become the prototype of the attributes, whose members are not checked. */
const Text = Schema.parseJson().pipe(Schema.filter((value) => problemOf(value) === undefined), Schema.compose(Model))

const decodeOption = Schema.decodeUnknownOption(Text, { onExcessProperty: "preserve" })

/** Decodes the text of a record. `None`: it is not the text of attributes. */
export const decode = (text: string | undefined): Option.Option<Attributes> =>
  text === undefined ? Option.some(none) : decodeOption(text)

/** Encodes attributes; `undefined` if there are none. */
export const encode = (attributes: Attributes): string | undefined =>
  Object.keys(attributes).length === 0 ? undefined : JSON.stringify(attributes)

/** The claims of a login or a step-up. */
export interface Claims {
  readonly methods: ReadonlyArray<string>
  readonly level: number
}

/** Returns why methods or a level are invalid; `undefined` if they are valid. */
export const validateClaims = ({ level, methods }: Claims): string | undefined =>
  !(Number.isSafeInteger(level) && level >= 0)
    ? "the level is a whole number, 0 or more"
    : methods.length > 16 || methods.some((method) => !methodPattern.test(method))
    ? "a method is a text of 1 to 64 visible ASCII characters, and a session has at most 16"
    : undefined

const methodPattern = /^[\x21-\x7E]{1,64}$/

/** The maximum length of the encoded context, in characters: lists load it for each session. */
export const maxContextLength = 2048

/** A proof of identity: the login or a step-up. Times are milliseconds since the epoch. */
interface Proof extends Claims {
  readonly at: number
}

/** The proofs of identity of a session, the login first. `authenticatedAt`: the time of the login; absent for an anonymous session. */
const proofsOf = (attributes: Attributes, authenticatedAt: number | undefined): ReadonlyArray<Proof> => [
  ...authenticatedAt === undefined
    ? []
    : [{ at: authenticatedAt, methods: attributes.methods ?? [], level: attributes.level ?? 1 }],
  ...attributes.elevated === undefined ? [] : [attributes.elevated]
]

/** Sums up the login and the step-up: the latest time, all methods, the highest level. */
export const authentication = (
  attributes: Attributes,
  authenticatedAt: number | undefined
): { readonly at: number | undefined; readonly methods: ReadonlyArray<string>; readonly level: number } => {
  const proofs = proofsOf(attributes, authenticatedAt)
  return {
    at: proofs.length === 0 ? undefined : Math.max(...proofs.map(({ at }) => at)),
    methods: [...new Set(proofs.flatMap(({ methods }) => methods))],
    level: Math.max(0, ...proofs.map(({ level }) => level))
  }
}

/** The requirements of `requireFresh`. `within` in milliseconds. */
export interface Requirements {
  readonly within: number | undefined
  readonly methods: ReadonlyArray<string>
  readonly level: number
  readonly allowRemembered: boolean
  readonly allowImpersonating: boolean
}

/** A requirement that is not met, by the names of `SessionNotFresh.reason`. */
export type Unmet = "anonymous" | "age" | "methods" | "level" | "remembered" | "impersonating"

/**
 * Returns the first requirement that the session does not meet at `now`, in milliseconds since the epoch; `undefined` if it meets all. Only
 * proofs that are fresh enough count: an old login with a strong method does not strengthen a new one with a weak method.
 */
export const unmet = (
  attributes: Attributes,
  authenticatedAt: number | undefined,
  required: Requirements,
  now: number
): Unmet | undefined => {
  const proofs = proofsOf(attributes, authenticatedAt)
  if (proofs.length === 0) return "anonymous"
  if (attributes.impersonating !== undefined && !required.allowImpersonating) return "impersonating"
  const isRemembered = attributes.remembered === true && !required.allowRemembered
  const counting = isRemembered ? proofs.slice(1) : proofs
  if (counting.length === 0) return "remembered"
  const { within } = required
  const fresh = within === undefined ? counting : counting.filter(({ at }) => now - at <= within)
  if (fresh.length === 0) return "age"
  if (!required.methods.every((method) => fresh.some(({ methods }) => methods.includes(method)))) return "methods"
  return fresh.some(({ level }) => level >= required.level) ? undefined : "level"
}
