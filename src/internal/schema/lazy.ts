/**
 * Decodes the fields of a session when they are asked for.
 *
 * A record that does not fit its schema is still noticed when it is loaded, by a check that decodes nothing. If the check accepts a
 * JSON value, the value will decode. If it does not accept, only the decoder knows: so it is with transformations and declared
 * types, and with what does not fit.
 */
import * as Option from "effect/Option"
import * as AST from "effect/SchemaAST"
import { isRecord } from "../json.js"

type Accepts = (value: unknown) => boolean

/** The check of a schema's values. */
interface Check {
  readonly accepts: Accepts
  /** An accepted value decodes to itself. */
  readonly isIdentity: boolean
}

/** A field, checked by its name in the encoded record. */
export interface FieldCheck {
  readonly accepts: Accepts
  /** A primitive value that is accepted is its own decoding, and its own encoding. */
  readonly isPrimitive: (value: unknown) => boolean
}

/** Compiles the schema of one field: a struct of nothing else, or a transformation of one, as `optionalWith` makes it. */
export const checkOf = (single: AST.AST): FieldCheck => {
  const known = new Map<AST.AST, Check>()
  const found = fieldOf(single)
  if (found === undefined) return never
  const { accepts, isIdentity } = compile(found.type, known)
  const isPassed = found.passes
  return {
    // A transformation that gives a default, or maps null, has more to do there than to pass the value on.
    accepts: (value) => value !== undefined && (value !== null || isPassed === "plain") && accepts(value),
    isPrimitive: (value) => isIdentity && value !== null && typeof value !== "object" && accepts(value)
  }
}

const never: FieldCheck = { accepts: () => false, isPrimitive: () => false }

const fieldOf = (single: AST.AST): { readonly type: AST.AST; readonly passes: "plain" | "present" } | undefined => {
  if (AST.isTypeLiteral(single)) {
    const [only] = single.propertySignatures
    return only === undefined ? undefined : { type: only.type, passes: "plain" }
  }
  if (!AST.isTransformation(single) || !AST.isTypeLiteral(single.from) || !passesFields(single)) return undefined
  const [only] = single.from.propertySignatures
  return only === undefined ? undefined : { type: only.type, passes: "present" }
}

/** Whether the fields of a struct go through its transformation as they are, where they are present and not null. */
const passesFields = ({ transformation }: AST.Transformation): boolean =>
  AST.isTypeLiteralTransformation(transformation) &&
  transformation.propertySignatureTransformations.every(({ decode, encode }) => passes(decode) && passes(encode))

/** Whether a function gives back what it is given, by a trial with something that it cannot know. */
const passes = (f: (value: Option.Option<unknown>) => Option.Option<unknown>): boolean => {
  const unknown = {}
  try {
    return Option.exists(f(Option.some(unknown)), (value) => value === unknown)
  } catch {
    return false
  }
}

const nothing: Check = { accepts: () => false, isIdentity: false }

const exactly = (accepts: Accepts): Check => ({ accepts, isIdentity: true })

const compile = (ast: AST.AST, known: Map<AST.AST, Check>): Check => {
  const before = known.get(ast)
  if (before !== undefined) return before
  // Of a recursive schema, the inner occurrence is the one that is under way.
  let made: Check = nothing
  known.set(ast, { accepts: (value) => made.accepts(value), isIdentity: false })
  made = compileNew(ast, known)
  known.set(ast, made)
  return made
}

const compileNew = (ast: AST.AST, known: Map<AST.AST, Check>): Check => {
  switch (ast._tag) {
    case "StringKeyword":
      return exactly((value) => typeof value === "string")
    case "NumberKeyword":
      return exactly((value) => typeof value === "number")
    case "BooleanKeyword":
      return exactly((value) => typeof value === "boolean")
    case "Literal":
      return exactly((value) => value === ast.literal)
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
      // Opened when a value is checked, because a recursive schema has no end.
      let inner: Check | undefined
      return { accepts: (value) => (inner ??= compile(ast.f(), known)).accepts(value), isIdentity: false }
    }
    default:
      return nothing
  }
}

const unionOf = (members: ReadonlyArray<Check>): Check => ({
  accepts: (value) => members.some(({ accepts }) => accepts(value)),
  isIdentity: members.every(({ isIdentity }) => isIdentity)
})

const tupleOf = (ast: AST.TupleType, known: Map<AST.AST, Check>): Check => {
  const elements = ast.elements.map(({ type }) => compile(type, known))
  const [rest, ...trailing] = ast.rest.map(({ type }) => compile(type, known))
  if (trailing.length > 0) return nothing
  const required = ast.elements.filter(({ isOptional }) => !isOptional).length
  return {
    accepts: (value) => {
      if (!Array.isArray(value) || value.length < required) return false
      for (let i = 0; i < value.length; i++) {
        const check = elements[i] ?? rest
        if (check === undefined || !check.accepts(value[i])) return false
      }
      return true
    },
    isIdentity: [...elements, ...rest === undefined ? [] : [rest]].every(({ isIdentity }) => isIdentity)
  }
}

/** A struct is no identity: its decoder drops the fields that it does not know. */
const structOf = (ast: AST.TypeLiteral, known: Map<AST.AST, Check>, isTransformed = false): Check => {
  const fields: Array<{ readonly name: string; readonly isOptional: boolean; readonly accepts: Accepts }> = []
  for (const { isOptional, name, type } of ast.propertySignatures) {
    if (typeof name !== "string") return nothing
    fields.push({ name, isOptional: isOptional && !isTransformed, accepts: compile(type, known).accepts })
  }
  const [index, ...others] = ast.indexSignatures
  if (others.length > 0 || (index !== undefined && !AST.isStringKeyword(index.parameter))) return nothing
  const ofIndex = index === undefined ? undefined : compile(index.type, known).accepts
  return {
    accepts: (value) => {
      if (!isRecord(value)) return false
      for (const { accepts, isOptional, name } of fields) {
        if (Object.hasOwn(value, name)) {
          const inside = value[name]
          if ((isTransformed && inside === null) || !accepts(inside)) return false
        } else if (!isOptional) return false
      }
      if (ofIndex !== undefined) {
        for (const key of Object.keys(value)) if (!ofIndex(value[key])) return false
      }
      return true
    },
    isIdentity: false
  }
}

// ---- values

/** A field's content, or its absence. */
export interface Field {
  readonly present: boolean
  readonly value?: unknown
}

/** A value of which fields are decoded at the first look. A subclass has an accessor for each field of its schema. */
abstract class Lazy {
  readonly #known: Map<string, Field>
  readonly #decode: (key: string) => Field

  constructor(decode: (key: string) => Field, known: Map<string, Field>) {
    this.#decode = decode
    this.#known = known
  }

  field(key: string): Field {
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const field = this.#decode(key)
    this.#known.set(key, field)
    return field
  }

  with(key: string, field: Field): Lazy {
    return this.make(this.#decode, new Map(this.#known).set(key, field))
  }

  protected abstract make(decode: (key: string) => Field, known: Map<string, Field>): Lazy
}

/** Makes lazy values with these fields. `known`: those that are decoded already. */
export const lazyOf = <A extends object>(
  keys: ReadonlyArray<string>
): (decode: (key: string) => Field, known: Map<string, Field>) => A => {
  class Value extends Lazy {
    protected override make(decode: (key: string) => Field, known: Map<string, Field>): Lazy {
      return new Value(decode, known)
    }
  }
  for (const key of keys) {
    Object.defineProperty(Value.prototype, key, {
      get(this: Value) {
        return this.field(key).value
      }
    })
  }
  // The accessors have just been defined: it has the fields of the schema.
  return (decode, known) => new Value(decode, known) as object as A
}

/** Whether a value has a field. */
export const hasField = (value: object, key: string): boolean =>
  value instanceof Lazy ? value.field(key).present : Object.hasOwn(value, key)

/** A copy with one field changed; an instance of a class stays one. */
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
