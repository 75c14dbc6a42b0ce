/**
 * A session's schema, prepared once: whole values are decoded, single fields encoded.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import { clone, isHostileKey, isRecord, problemOf, problemOfValue } from "./internal/json.js"
import type { Json, JsonRecord } from "./Json.js"

/**
 * A schema that can describe a session: a Struct, or a Class of one. A union lives inside a field.
 *
 * @since 0.1.0
 * @category models
 */
export type Any =
  & StructOrClass<
    "A session's schema is a Struct or a Class of one: put a union, a filter or a transformation into one of its fields"
  >
  & Schema.Schema.All

/**
 * A schema with fields. The compiler prints the sentence where there are none.
 *
 * @since 0.6.0
 * @category models
 */
export interface StructOrClass<_Sentence extends string> {
  readonly fields: Schema.Struct.Fields
}

/**
 * A schema of what visitors may read in their own cookie: see {@link readable}.
 *
 * @since 0.5.0
 * @category models
 */
export interface Readable {
  readonly "~effect-session/Readable": true
}

/**
 * Says that visitors may read what a session of this schema holds. `CookieEngine.layerSigned`, whose cookies are signed and
 * not sealed, compiles for no other.
 *
 * @since 0.5.0
 * @category annotations
 */
export const readable = <S extends Any>(schema: S): S & Readable =>
  Object.assign(schema, { "~effect-session/Readable": true as const })

/**
 * Why a value does not fit. Names the place and what was expected, never the value.
 *
 * @since 0.1.0
 * @category models
 */
export interface Misfit {
  readonly _tag: "Misfit"
  /** The whole path. It may hold keys of a Record, which a visitor may have chosen: not for logs and messages. */
  readonly field: string
  /** Made of the schema and of sentences of this library only. */
  readonly problem: string
  /**
   * The path in words of the schema only: what is in `field` and no name of the schema is `*`. Absent if both are the same.
   *
   * @since 0.6.0
   */
  readonly place?: string
}

/**
 * The path of a misfit in words of the schema only, for messages and logs.
 *
 * @since 0.6.0
 * @category validation
 */
export const placeOf = ({ field, place }: Misfit): string => place ?? field

/**
 * A schema, prepared.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionSchema<A> {
  /** The names of the fields, decoded side. */
  readonly keys: ReadonlyArray<keyof A & string>
  /**
   * The fields whose values may be changed in place, as a `Map`, a `Date` or an instance of a class may. What the schema
   * declares readonly is not among them.
   *
   * @since 0.6.0
   */
  readonly mutable: ReadonlySet<keyof A & string>
  /** A field's name in the encoded record. */
  readonly encodedName: (key: keyof A & string) => string
  /**
   * Whether a session is an instance of a Class, which may hold more than its fields.
   *
   * @since 0.6.0
   */
  readonly isClass: boolean
  readonly decode: (raw: JsonRecord) => Effect.Effect<A, Misfit>
  /** The encoding of one field of a value, or `undefined` where the encoded record has no such field. */
  readonly encodeField: (key: keyof A & string, value: A) => Effect.Effect<Json | undefined, Misfit>
  /**
   * Encodes one field of a value and decodes it again: a copy that shares nothing with it that could be changed in place.
   *
   * @since 0.6.0
   */
  readonly copyField: <K extends keyof A & string>(key: K, value: A) => Effect.Effect<FieldCopy<A[K]>, Misfit>
  /**
   * Encodes a whole value and decodes it again.
   *
   * @since 0.6.0
   */
  readonly copy: (value: A) => Effect.Effect<A, Misfit>
  /**
   * Encodes a whole value.
   *
   * @since 0.6.0
   */
  readonly encode: (value: A) => Effect.Effect<JsonRecord, Misfit>
}

/**
 * A copy of a field, and the encoding that it was made from.
 *
 * @since 0.6.0
 * @category models
 */
export interface FieldCopy<V> {
  readonly encoded: Json | undefined
  readonly value: V
}

/**
 * Prepares a schema. The services that it requires are taken from `context`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <A extends object>(schema: Any, context: Context.Context<never>): SessionSchema<A> => {
  // A session's schema is a Struct or a Class of one: its type is an object, its encoding a record.
  const whole = schema as unknown as Schema.Schema<A, JsonRecord>
  /** A schema that needs no service gives its result at once, as an `Either`; others run with the context. */
  const provided = <B>(run: () => Effect.Effect<B, ParseResult.ParseIssue>): Effect.Effect<B, Issue> => {
    try {
      const result = run()
      return Either.isEither(result) ? result : Effect.catchSomeDefect(
        Effect.mapInputContext(result, (outer: Context.Context<never>) => Context.merge(outer, context)),
        (defect) => isOverflow(defect) ? Option.some(Effect.fail(tooDeep)) : Option.none()
      )
    } catch (defect) {
      if (isOverflow(defect)) return Effect.fail(tooDeep)
      throw defect
    }
  }
  let names: ReadonlySet<string> | undefined
  const misfitAt = (path: ReadonlyArray<PropertyKey>, problem: string): Misfit => {
    const known = names ??= namesIn(schema.ast)
    const field = path.map(String).join(".")
    const place = path.map((part) => typeof part === "number" || known.has(String(part)) ? String(part) : "*").join(".")
    return { _tag: "Misfit", field, problem, ...(place === field ? {} : { place }) }
  }
  const decodeWhole = ParseResult.decodeUnknown(whole, { onExcessProperty: "ignore" })

  const fields = new Map(
    Object.entries(schema.fields).map(([key, field]) => {
      const single = Schema.Struct({ [key]: field }) as unknown as Schema.Schema<Record<string, unknown>, JsonRecord>
      const encoded = Schema.encodedSchema(single).ast as AST.TypeLiteral
      return [key, {
        encodedName: String(encoded.propertySignatures[0]?.name ?? key),
        mutable: isMutable(single.ast),
        encode: ParseResult.encodeUnknown(single),
        decode: ParseResult.decodeUnknown(single)
      }] as const
    })
  )
  const keys = [...fields.keys()] as Array<keyof A & string>
  const encodedName = (key: keyof A & string) => fields.get(key)?.encodedName ?? key
  const mutable = new Set(keys.filter((key) => fields.get(key)?.mutable))

  const encodeField = (key: keyof A & string, value: A): Effect.Effect<Json | undefined, Misfit> => {
    const field = fields.get(key)
    if (field === undefined) {
      return Effect.fail<Misfit>({
        _tag: "Misfit",
        field: key,
        problem: "the session has no such field",
        // Most likely a name that the application misspelt. What does not look like a name may come from a visitor.
        ...(/^[A-Za-z_$][\w$]{0,31}$/.test(key) ? {} : { place: "*" })
      })
    }
    const { encode, encodedName } = field
    const problem = problemOfValue(value[key])
    if (problem !== undefined) return Effect.fail(misfitAt([key, ...problem.path], problem.message))
    const alone = Object.hasOwn(value, key) ? { [key]: value[key] } : {}
    return Effect.matchEffect(provided(() => encode(alone)), {
      onFailure: (issue) => Effect.fail(misfitOf(issue, [key], misfitAt)),
      onSuccess: (record) => {
        const encoded: unknown = isRecord(record) ? record[encodedName] : undefined
        if (encoded === undefined) return Effect.succeed(undefined)
        const problem = problemOf(encoded, 1)
        return problem === undefined
          ? Effect.succeed(encoded as Json)
          : Effect.fail(misfitAt([key, ...problem.path], problem.message))
      }
    })
  }

  const copyField = <K extends keyof A & string>(key: K, value: A): Effect.Effect<FieldCopy<A[K]>, Misfit> =>
    Effect.flatMap(encodeField(key, value), (encoding): Effect.Effect<FieldCopy<A[K]>, Misfit> => {
      const field = fields.get(key)
      if (encoding === undefined || field === undefined) return Effect.succeed({ encoded: encoding, value: value[key] })
      const { decode, encodedName } = field
      // Some schemas encode and decode to the very object that they are given.
      const encoded = clone(encoding)
      return Effect.mapBoth(provided(() => decode({ [encodedName]: clone(encoding) })), {
        onFailure: (issue) => misfitOf(issue, [key], misfitAt),
        onSuccess: (decoded) => ({ encoded, value: decoded[key] as A[K] })
      })
    })

  /** A default may be one object that its function gives to all. */
  const ownDefaults = (raw: JsonRecord, value: A): Effect.Effect<void> =>
    Effect.forEach(mutable, (key) =>
      raw[encodedName(key)] === undefined && value[key] !== undefined
        ? Effect.match(copyField(key, value), {
          onFailure: () => undefined,
          onSuccess: (copy) => void (value[key] = copy.value)
        })
        : Effect.void, { discard: true })

  const decode = (raw: JsonRecord): Effect.Effect<A, Misfit> => {
    const decoded = Effect.mapError(provided(() => decodeWhole(raw)), (issue) => misfitOf(issue, [], misfitAt))
    return mutable.size === 0 ? decoded : Effect.tap(decoded, (value) => ownDefaults(raw, value))
  }

  const encode = (value: A): Effect.Effect<JsonRecord, Misfit> =>
    Effect.map(
      Effect.forEach(keys, (key) =>
        Effect.map(encodeField(key, value), (encoded) => [encodedName(key), encoded] as const)),
      (encoded) =>
        Object.fromEntries(encoded.filter((field): field is readonly [string, Json] => field[1] !== undefined))
    )

  return {
    keys,
    mutable,
    isClass: AST.isDeclaration(AST.typeAST(schema.ast)),
    encodedName,
    decode,
    encodeField,
    copyField,
    copy: (value) => Effect.flatMap(encode(value), (raw) => decode(clone(raw))),
    encode
  }
}

/** What a schema says, or the stack: where a class or a text hides a recursion, only the stack knows how deep it is. */
type Issue = ParseResult.ParseIssue | typeof tooDeep

const tooDeep = { _tag: "TooDeep" } as const

const isOverflow = (defect: unknown): boolean => defect instanceof RangeError && defect.message.includes("call stack")

/**
 * Whether a decoded value may be changed in place without a cast. Of a class nobody knows, but for those of Effect. The type
 * side of a recursive schema may unfold to ever new nodes: then it counts as mutable, which is never wrong.
 */
const isMutable = (root: AST.AST): boolean => {
  const seen = new Set<AST.AST>()
  const visit = (ast: AST.AST): boolean => {
    if (seen.has(ast)) return false
    if (seen.size === 1000) return true
    seen.add(ast)
    switch (ast._tag) {
      case "AnyKeyword":
      case "UnknownKeyword":
      case "ObjectKeyword":
        return true
      case "Declaration":
        return !isImmutableClass(ast) || ast.typeParameters.some(visit)
      case "TypeLiteral":
        return ast.propertySignatures.length + ast.indexSignatures.length === 0 ||
          [...ast.propertySignatures, ...ast.indexSignatures].some(({ isReadonly, type }) => !isReadonly || visit(type))
      case "TupleType":
        return !ast.isReadonly || [...ast.elements, ...ast.rest].some(({ type }) => visit(type))
      case "Union":
        return ast.types.some(visit)
      case "Refinement":
        return visit(ast.from)
      case "Transformation":
        return visit(ast.to)
      case "Suspend":
        return visit(ast.f())
      default:
        return false
    }
  }
  return visit(root)
}

const isImmutableClass = (ast: AST.Declaration): boolean =>
  Option.exists(AST.getTypeConstructorAnnotation(ast), ({ _tag }) => _tag.startsWith("effect/")) ||
  Option.contains(AST.getIdentifierAnnotation(ast), "ReadOnce")

/**
 * Says where a schema encodes to something that JSON cannot hold, or `undefined`. Checked when a layer is built, so that
 * no request is the first to find out.
 *
 * @since 0.1.0
 * @category validation
 */
export const problemOfSchema = (schema: Any): string | undefined =>
  problemOfRoot(schema.ast) ?? problemOfEncoded(schema.ast)

/** A session is written field by field, so its schema must be no more than its fields. */
const problemOfRoot = (ast: AST.AST): string | undefined => {
  switch (ast._tag) {
    case "TypeLiteral":
      return ast.indexSignatures.length === 0
        ? undefined
        : "A session's schema cannot be open to any key; put a Record into one of its fields."
    case "Transformation":
      return ast.transformation._tag === "TypeLiteralTransformation" || AST.isDeclaration(ast.to)
        ? problemOfRoot(ast.from)
        : "A session's schema cannot be transformed as a whole; transform its fields."
    default:
      return "A session's schema must be a Struct or a Class of one, without a rule between its fields; " +
        "put fields that belong together into one field, and the rule there."
  }
}

const problemOfEncoded = (root: AST.AST): string | undefined => {
  const seen = new Set<AST.AST>()
  const refuse = (what: string, path: string) =>
    `The session's schema must encode to JSON, and ${what} at ${path || "its root"} does not. ` +
    "Use a schema that encodes it as text, a number or a struct."
  const visit = (ast: AST.AST, path: string): string | undefined => {
    if (seen.has(ast)) return undefined
    seen.add(ast)
    switch (ast._tag) {
      case "BigIntKeyword":
      case "SymbolKeyword":
      case "UniqueSymbol":
      case "Declaration":
        return refuse(String(ast), path)
      case "Literal":
        return typeof ast.literal === "bigint" ? refuse(String(ast), path) : undefined
      case "TypeLiteral":
        return first([
          ...ast.propertySignatures.map(({ name, type }) => () =>
            typeof name === "symbol" || isHostileKey(String(name))
              ? refuse(`a field named ${String(name)}`, path || `.${String(name)}`)
              : visit(type, `${path}.${String(name)}`)
          ),
          ...ast.indexSignatures.map(({ parameter, type }) => () =>
            AST.isSymbolKeyword(parameter) ? refuse("a record with symbols for keys", path) : visit(type, `${path}[]`)
          )
        ])
      case "TupleType":
        return first(
          [...ast.elements, ...ast.rest].map(({ type }) => () =>
            mayBeUndefined(type) ? refuse("undefined", `${path}[]`) : visit(type, `${path}[]`)
          )
        )
      case "Union":
        return first(ast.types.map((type) => () => visit(type, path)))
      case "Refinement":
      case "Transformation":
        return visit(ast.from, path)
      case "Suspend":
        return visit(ast.f(), path)
      default:
        return undefined
    }
  }
  return visit(root, "")
}

/** The names of all fields that a schema speaks of, on either side of its transformations. */
const namesIn = (root: AST.AST): ReadonlySet<string> => {
  const names = new Set<string>()
  const seen = new Set<AST.AST>()
  const pending: Array<readonly [ast: AST.AST, suspensions: number]> = [[root, Number.POSITIVE_INFINITY]]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const [ast, suspensions] = next
    if (seen.has(ast)) continue
    seen.add(ast)
    const push = (...asts: ReadonlyArray<AST.AST>) => pending.push(...asts.map((ast) => [ast, suspensions] as const))
    switch (ast._tag) {
      case "TypeLiteral":
        for (const { name, type } of ast.propertySignatures) {
          names.add(String(name))
          push(type)
        }
        push(...ast.indexSignatures.map(({ type }) => type))
        break
      case "TupleType":
        push(...[...ast.elements, ...ast.rest].map(({ type }) => type))
        break
      case "Union":
        push(...ast.types)
        break
      case "Declaration":
        push(...ast.typeParameters)
        break
      case "Refinement":
        push(ast.from)
        break
      case "Transformation":
        // The decoded side of a recursive schema makes a new suspension each time that one is opened: it has no end.
        pending.push([ast.to, Math.min(suspensions, 2)])
        push(ast.from)
        break
      case "Suspend":
        if (suspensions > 0) pending.push([ast.f(), suspensions - 1])
        break
    }
  }
  return names
}

const mayBeUndefined = (ast: AST.AST): boolean =>
  AST.isUndefinedKeyword(ast) || (AST.isUnion(ast) && ast.types.some(mayBeUndefined))

const first = (checks: ReadonlyArray<() => string | undefined>): string | undefined => {
  for (const check of checks) {
    const problem = check()
    if (problem !== undefined) return problem
  }
  return undefined
}

/** The first thing that is wrong, in words that never contain the value: it may be a secret of the user's. */
const misfitOf = (
  issue: Issue,
  root: ReadonlyArray<PropertyKey>,
  misfitAt: (path: ReadonlyArray<PropertyKey>, problem: string) => Misfit
): Misfit => {
  const path: Array<PropertyKey> = []
  const misfit = (problem: string): Misfit => misfitAt(path.length === 0 ? root : path, problem)
  let current = issue
  while (true) {
    switch (current._tag) {
      case "TooDeep":
        return misfit("nested too deeply")
      case "Pointer": {
        const parts: ReadonlyArray<PropertyKey> = Array.isArray(current.path)
          ? current.path
          : [current.path as PropertyKey]
        path.push(...parts)
        current = current.issue
        continue
      }
      case "Composite": {
        const first: ParseResult.ParseIssue | undefined = Array.isArray(current.issues)
          ? current.issues[0]
          : current.issues as ParseResult.ParseIssue
        if (first === undefined) return misfit(`expected ${String(current.ast)}`)
        current = first
        continue
      }
      case "Refinement":
      case "Transformation":
        if (current.kind === "Predicate") {
          return misfit(`expected ${String(current.ast)}`)
        }
        current = current.issue
        continue
      case "Missing":
        return misfit("it is missing")
      case "Unexpected":
        return misfit("it was not expected")
      default:
        return misfit(`expected ${String(current.ast)}`)
    }
  }
}
