/**
 * Lazy decoding: fields of a session are decoded when they are read.
 *
 * A record that does not fit its schema is still detected on load, by a check that decodes nothing. If the check accepts a value,
 * the value is JSON and will decode. Otherwise only the decoder can decide: for transformations, declared types and invalid
 * values.
 */
import type * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as AST from "effect/SchemaAST"
import type { JsonRecord } from "../../Json.js"
import * as Done from "../done.js"
import { isHostileKey, maxFields } from "../json.js"

type Accepts = (value: unknown) => boolean

/** Check of the values of a schema. */
interface Check {
  readonly accepts: Accepts
  /** An accepted value decodes to itself. */
  readonly isIdentity: boolean
  /** An accepted value decodes and encodes to the same JSON. */
  readonly isPlain: boolean
}

/** Check of an encoded field. */
export interface FieldCheck {
  readonly accepts: Accepts
  /** An accepted value may be arbitrarily deep. */
  readonly isRecursive: boolean
  /** A primitive value that is accepted is its own decoding, and its own encoding. */
  readonly isPrimitive: (value: unknown) => boolean
  /** The encoding of an accepted value is a copy of it. */
  readonly isPlain: boolean
}

/** Compiles the schema of one field: a struct of nothing else, or a transformation of one, as `optionalWith` makes it. */
export const checkOf = (single: AST.AST): FieldCheck => {
  const known: Known = new Map()
  const found = fieldOf(single)
  if (found === undefined) return never
  const { accepts, isIdentity, isPlain } = compile(found.type, known)
  const isPassed = found.passes
  return {
    isPlain,
    // For undefined and null, a transformation may supply a default or another value.
    accepts: (value) => value !== undefined && (value !== null || isPassed === "plain") && accepts(value),
    isRecursive: [...known.keys()].some(AST.isSuspend),
    isPrimitive: (value) => isIdentity && value !== null && typeof value !== "object" && accepts(value)
  }
}

const never: FieldCheck = { accepts: () => false, isRecursive: false, isPrimitive: () => false, isPlain: false }

/** The checks that are compiled already, by schema. */
type Known = Map<AST.AST, Check>

const fieldOf = (single: AST.AST): { readonly type: AST.AST; readonly passes: "plain" | "present" } | undefined => {
  if (AST.isTypeLiteral(single)) {
    const [only] = single.propertySignatures
    return only === undefined ? undefined : { type: only.type, passes: "plain" }
  }
  if (!AST.isTransformation(single) || !AST.isTypeLiteral(single.from) || !passesFields(single)) return undefined
  const [only] = single.from.propertySignatures
  return only === undefined ? undefined : { type: only.type, passes: "present" }
}

/** Returns whether a transformation leaves the present, non-null fields of a struct unchanged. */
const passesFields = ({ transformation }: AST.Transformation): boolean =>
  AST.isTypeLiteralTransformation(transformation) &&
  transformation.propertySignatureTransformations.every(({ decode, encode }) => passes(decode) && passes(encode))

/** Returns whether a function is the identity, by a trial with a fresh object. */
const passes = (f: (value: Option.Option<unknown>) => Option.Option<unknown>): boolean => {
  const unknown = {}
  try {
    return Option.exists(f(Option.some(unknown)), (value) => value === unknown)
  } catch {
    return false
  }
}

const nothing: Check = { accepts: () => false, isIdentity: false, isPlain: false }

const exactly = (accepts: Accepts): Check => ({ accepts, isIdentity: true, isPlain: true })

const compile = (ast: AST.AST, known: Known): Check => {
  const before = known.get(ast)
  if (before !== undefined) return before
  // An inner occurrence of a recursive schema refers to the check that is being compiled.
  let made: Check = nothing
  known.set(ast, { accepts: (value) => made.accepts(value), isIdentity: false, isPlain: false })
  made = compileNew(ast, known)
  known.set(ast, made)
  return made
}

const compileNew = (ast: AST.AST, known: Known): Check => {
  switch (ast._tag) {
    case "UndefinedKeyword":
      // The type of an optional field includes undefined, which is not JSON.
      return exactly(() => false)
    case "StringKeyword":
      return exactly((value) => typeof value === "string")
    case "NumberKeyword":
      return exactly(Number.isFinite)
    case "BooleanKeyword":
      return exactly((value) => typeof value === "boolean")
    case "Literal":
      return typeof ast.literal === "bigint" ? nothing : exactly((value) => value === ast.literal)
    case "Union":
      return unionOf(ast.types.map((type) => compile(type, known)))
    case "TupleType":
      return tupleOf(ast, known)
    case "TypeLiteral":
      return structOf(ast, known)
    case "Refinement": {
      const from = compile(ast.from, known)
      return from.isIdentity
        ? exactly((value) => from.accepts(value) && Option.isNone(ast.filter(value, AST.defaultParseOption, ast)))
        : nothing
    }
    case "Transformation":
      return AST.isTypeLiteral(ast.from) && passesFields(ast) ? structOf(ast.from, known, true) : nothing
    case "Suspend": {
      // Compiled when a value is checked, because a recursive schema has no end.
      let inner: Check | undefined
      return {
        accepts: (value) => (inner ??= compile(ast.f(), known)).accepts(value),
        isIdentity: false,
        isPlain: false
      }
    }
    default:
      return nothing
  }
}

const unionOf = (members: ReadonlyArray<Check>): Check => ({
  accepts: (value) => members.some(({ accepts }) => accepts(value)),
  isIdentity: members.every(({ isIdentity }) => isIdentity),
  // If two structs accept a value, the decoder may choose another one than the check.
  isPlain: members.every(({ isIdentity }) => isIdentity)
})

const tupleOf = (ast: AST.TupleType, known: Known): Check => {
  const elements = ast.elements.map(({ type }) => compile(type, known))
  const [rest, ...trailing] = ast.rest.map(({ type }) => compile(type, known))
  if (trailing.length > 0) return nothing
  const required = ast.elements.filter(({ isOptional }) => !isOptional).length
  const all = rest === undefined ? elements : [...elements, rest]
  return {
    accepts: (value) => {
      if (!Array.isArray(value) || value.length < required) return false
      for (let i = 0; i < value.length; i++) {
        const check = elements[i] ?? rest
        if (check === undefined || !check.accepts(value[i])) return false
      }
      return true
    },
    isIdentity: all.every(({ isIdentity }) => isIdentity),
    isPlain: all.every(({ isPlain }) => isPlain)
  }
}

/**
 * A struct is never an identity, because its decoder makes another object. Values with unknown fields are left to the decoder.
 */
const structOf = (ast: AST.TypeLiteral, known: Known, isTransformed = false): Check => {
  const fields: Array<
    { readonly name: string; readonly isOptional: boolean; readonly accepts: Accepts; readonly isPlain: boolean }
  > = []
  for (const { isOptional, name, type } of ast.propertySignatures) {
    if (typeof name !== "string" || isHostileKey(name)) return nothing
    const { accepts, isPlain } = compile(type, known)
    fields.push({ name, isOptional: isOptional && !isTransformed, accepts, isPlain })
  }
  const [index, ...others] = ast.indexSignatures
  if (others.length > 0 || (index !== undefined && !AST.isStringKeyword(index.parameter))) return nothing
  const indexed = index === undefined ? undefined : compile(index.type, known)
  const ofIndex = indexed?.accepts
  return {
    isPlain: !isTransformed && indexed?.isPlain !== false && fields.every(({ isPlain }) => isPlain),
    accepts: (value) => {
      if (!isPlainRecord(value)) return false
      let others = 0
      for (const { accepts, isOptional, name } of fields) {
        if (Object.hasOwn(value, name)) {
          const inside = value[name]
          if ((isTransformed && inside === null) || !accepts(inside)) return false
          others--
        } else if (!isOptional) return false
      }
      for (const key in value) {
        others++
        if (ofIndex !== undefined && (isHostileKey(key) || !ofIndex(value[key]))) return false
      }
      return ofIndex === undefined ? others === 0 : others <= maxFields
    },
    isIdentity: false
  }
}

const isPlainRecord = (value: unknown): value is JsonRecord => {
  if (typeof value !== "object" || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

// ---- values

/** A field's content, or its absence. */
export interface Field {
  readonly present: boolean
  readonly value?: unknown
}

/** A field of a lazily decoded value. */
export interface LazyField {
  readonly key: string
  readonly encodedName: string
  readonly check: FieldCheck
}

type Decode = (key: string, raw: JsonRecord) => Field

/** A value whose fields are decoded when they are first read. A subclass has an accessor for each field of its schema. */
abstract class Lazy {
  readonly #raw: JsonRecord
  /** The fields that are decoded already. */
  #known: Map<string, Field> | undefined

  constructor(raw: JsonRecord, known: Map<string, Field> | undefined) {
    this.#raw = raw
    this.#known = known
  }

  field(key: string): Field {
    const known = this.#known?.get(key)
    if (known !== undefined) return known
    const field = this.decode(key, this.#raw)
    this.#known ??= new Map()
    this.#known.set(key, field)
    return field
  }

  /** The content of a field. Primitive content that needs no decoding is not cached. */
  content({ check, encodedName, key }: LazyField): unknown {
    const known = this.#known?.get(key)
    if (known !== undefined) return known.value
    const encoded = this.#raw[encodedName]
    return check.isPrimitive(encoded) ? encoded : this.field(key).value
  }

  with(key: string, field: Field): Lazy {
    return this.make(this.#raw, new Map(this.#known).set(key, field))
  }

  protected abstract decode(key: string, raw: JsonRecord): Field
  protected abstract make(raw: JsonRecord, known: Map<string, Field>): Lazy
}

/** Lazily decoded values of one schema. */
export class LazyValues<A extends object> {
  readonly #fields: ReadonlyArray<LazyField>
  readonly #make: (raw: JsonRecord, known: Map<string, Field> | undefined) => A
  /** The fields whose absence the decoder has accepted. */
  readonly #fitsWithout = new Set<string>()

  constructor(fields: ReadonlyArray<LazyField>, decode: Decode) {
    this.#fields = fields
    class Value extends Lazy {
      protected override decode(key: string, raw: JsonRecord): Field {
        return decode(key, raw)
      }
      protected override make(raw: JsonRecord, known: Map<string, Field>): Lazy {
        return new Value(raw, known)
      }
    }
    for (const field of fields) {
      Object.defineProperty(Value.prototype, field.key, {
        get(this: Value) {
          return this.content(field)
        }
      })
    }
    // Safe: the accessors above give it the fields of the schema.
    this.#make = (raw, known) => new Value(raw, known) as object as A
  }

  /** Makes a value without decoding. `undefined` if there are unknown fields, or if only the decoder knows whether the input fits. */
  readonly ifCertain = (parsed: unknown): A | undefined => {
    if (!isPlainRecord(parsed)) return undefined
    let others = 0
    for (const { check, encodedName, key } of this.#fields) {
      if (Object.hasOwn(parsed, encodedName)) {
        if (check.isRecursive || !check.accepts(parsed[encodedName])) return undefined
        others--
      } else if (!this.#fitsWithout.has(key)) return undefined
    }
    for (const _ in parsed) others++
    return others === 0 ? this.#make(parsed, undefined) : undefined
  }

  /** Makes a value of a JSON record. Fields that the check does not accept are decoded now, by `decode`. */
  open<E>(
    raw: JsonRecord,
    decode: (key: string) => Effect.Effect<Field, E>
  ): Effect.Effect<A, E> {
    const known = new Map<string, Field>()
    const uncertain = this.#fields.filter(({ check, encodedName, key }) =>
      raw[encodedName] === undefined ? !this.#fitsWithout.has(key) : !check.accepts(raw[encodedName])
    )
    return Done.map(
      Done.reduce(uncertain, known, (known, { encodedName, key }) =>
        Done.map(decode(key), (field) => {
          if (!Object.hasOwn(raw, encodedName)) this.#fitsWithout.add(key)
          return known.set(key, field)
        })),
      () => this.#make(raw, known)
    )
  }
}

/** Returns whether a value has a field. */
export const hasField = (value: object, key: string): boolean =>
  value instanceof Lazy ? value.field(key).present : Object.hasOwn(value, key)

/** Returns a copy with one field changed. A copy of a class instance is an instance of the class. */
export const withField = <A extends object>(value: A, key: keyof A & string, field: Field): A => {
  if (value instanceof Lazy) return value.with(key, field) as object as A
  const copy: A = Object.assign(Object.create(Object.getPrototypeOf(value)), value)
  if (field.present) Object.defineProperty(copy, key, { ...descriptor, value: field.value })
  else delete copy[key]
  return copy
}

const descriptor = { enumerable: true, configurable: true, writable: true }

/** The value as a plain object with all of its fields. */
export const wholeOf = <A extends object>(value: A, keys: ReadonlyArray<keyof A & string>): A => {
  if (!(value instanceof Lazy)) return value
  const whole = {}
  for (const key of keys) {
    const field = value.field(key)
    if (field.present) Object.defineProperty(whole, key, { ...descriptor, value: field.value })
  }
  return whole as A
}
