/**
 * A session's schema, prepared once: whole values are decoded, single fields encoded.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import type { Json, JsonRecord } from "../../Json.js"
import type { Any } from "../../SessionSchema.js"
import * as Done from "../done.js"
import { clone, copyOf, isRecord, problemOf, problemOfValue } from "../json.js"
import { isMutable, namesIn, problemOfEncoded, problemOfRoot } from "./ast.js"
import type { Field } from "./lazy.js"
import { checkOf, hasField, LazyValues } from "./lazy.js"

/**
 * The reason why a value does not fit the schema. Names the place and the expectation, never the value.
 */
export interface ValidationIssue {
  readonly _tag: "ValidationIssue"
  /** The whole path. It may hold keys of a Record, which a visitor may have chosen: keep it out of logs and messages. */
  readonly field: string
  /** A sentence made only of the schema and texts of this library. */
  readonly problem: string
  /**
   * The path with `*` for every part of `field` that is not a name of the schema. Absent if both are equal.
   */
  readonly place?: string
}

/**
 * The path of an issue in names of the schema only, for messages and logs.
 */
export const placeOf = ({ field, place }: ValidationIssue): string => place ?? field

/**
 * A schema, prepared.
 */
export interface SessionSchema<A> {
  /** The names of the fields, decoded side. */
  readonly keys: ReadonlyArray<keyof A & string>
  /**
   * The fields whose values can be changed in place, such as a `Map`, a `Date` or an instance of a class. Readonly structs and
   * arrays are not among them.
   */
  readonly mutable: ReadonlySet<keyof A & string>
  /** A field's name in the encoded record. */
  readonly encodedName: (key: keyof A & string) => string
  /**
   * Whether a session is an instance of a Class, which may have more than its fields.
   */
  readonly isClass: boolean
  readonly decode: (raw: JsonRecord) => Effect.Effect<A, ValidationIssue>
  /**
   * As `decode`, but fields that are certain to fit are decoded when they are read. `Object.hasOwn` does not see the fields of
   * such a value.
   */
  readonly open: (raw: JsonRecord) => Effect.Effect<A, ValidationIssue>
  /**
   * Opens the output of a codec without decoding it, or returns `undefined` if only the decoder knows whether it is JSON and fits.
   */
  readonly openIfCertain: (parsed: unknown) => A | undefined
  /** The encoding of one field of a value, or `undefined` where the encoded record has no such field. */
  readonly encodeField: (key: keyof A & string, value: A) => Effect.Effect<Json | undefined, ValidationIssue>
  /**
   * Copies one field of a value, by encoding and decoding: the copy shares no mutable part with it.
   */
  readonly copyField: <K extends keyof A & string>(key: K, value: A) => Effect.Effect<FieldCopy<A[K]>, ValidationIssue>
  /**
   * Copies a whole value, by encoding and decoding.
   */
  readonly copy: (value: A) => Effect.Effect<A, ValidationIssue>
  /**
   * Encodes a whole value.
   */
  readonly encode: (value: A) => Effect.Effect<JsonRecord, ValidationIssue>
}

/**
 * A copy of a field, and the encoding that it was made from.
 */
export interface FieldCopy<V> {
  readonly encoded: Json | undefined
  readonly value: V
}

/**
 * Prepares a schema. The services that it requires are taken from `context`.
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
  const issueAt = (path: ReadonlyArray<PropertyKey>, problem: string): ValidationIssue => {
    const known = names ??= namesIn(schema.ast)
    const field = path.map(String).join(".")
    const place = path.map((part) => typeof part === "number" || known.has(String(part)) ? String(part) : "*").join(".")
    return { _tag: "ValidationIssue", field, problem, ...(place === field ? {} : { place }) }
  }
  const decodeWhole = ParseResult.decodeUnknown(whole, { onExcessProperty: "ignore" })

  const fields = new Map(
    Object.entries(schema.fields).map(([key, field]) => {
      const single = Schema.Struct({ [key]: field }) as unknown as Schema.Schema<Record<string, unknown>, JsonRecord>
      const encoded = Schema.encodedSchema(single).ast as AST.TypeLiteral
      const encode = ParseResult.encodeUnknown(single)
      const decode = ParseResult.decodeUnknown(single)
      return [key, {
        encodedName: String(encoded.propertySignatures[0]?.name ?? key),
        mutable: isMutable(single.ast),
        check: checkOf(single.ast),
        encode: (record: Readonly<Record<string, unknown>>) => Done.fromEither(provided(() => encode(record))),
        decode: (raw: Readonly<Record<string, unknown>>) => Done.fromEither(provided(() => decode(raw)))
      }] as const
    })
  )
  const keys = [...fields.keys()] as Array<keyof A & string>
  const encodedName = (key: keyof A & string) => fields.get(key)?.encodedName ?? key
  const mutable = new Set(keys.filter((key) => fields.get(key)?.mutable))

  const encodeField = (key: keyof A & string, value: A): Effect.Effect<Json | undefined, ValidationIssue> => {
    const field = fields.get(key)
    if (field === undefined) {
      return Exit.fail<ValidationIssue>({
        _tag: "ValidationIssue",
        field: key,
        problem: "the session has no such field",
        // Probably a typing error of the application. A key that is not an identifier may come from a visitor.
        ...(/^[A-Za-z_$][\w$]{0,31}$/.test(key) ? {} : { place: "*" })
      })
    }
    const { check, encode, encodedName } = field
    const decoded: unknown = value[key]
    if (check.isPrimitive(decoded)) return Exit.succeed(decoded as Json)
    // Check the bounds before the schema's check walks the value. Copy, because the handler may change the value later.
    if (check.isPlain && problemOf(decoded, 1) === undefined && check.accepts(decoded)) {
      return Exit.succeed(copyOf(decoded as Json))
    }
    const problem = problemOfValue(decoded)
    if (problem !== undefined) return Exit.fail(issueAt([key, ...problem.path], problem.message))
    return Done.matchEffect(encode(hasField(value, key) ? { [key]: decoded } : {}), {
      onFailure: (issue) => Exit.fail(issueOf(issue, [key], issueAt)),
      onSuccess: (record) => {
        const encoded: unknown = isRecord(record) ? record[encodedName] : undefined
        if (encoded === undefined) return Exit.succeed(undefined)
        const problem = problemOf(encoded, 1)
        return problem === undefined
          ? Exit.succeed(encoded as Json)
          : Exit.fail(issueAt([key, ...problem.path], problem.message))
      }
    })
  }

  const copyField = <K extends keyof A & string>(key: K, value: A): Effect.Effect<FieldCopy<A[K]>, ValidationIssue> =>
    Done.flatMap(encodeField(key, value), (encoding): Effect.Effect<FieldCopy<A[K]>, ValidationIssue> => {
      const field = fields.get(key)
      if (encoding === undefined || field === undefined) return Exit.succeed({ encoded: encoding, value: value[key] })
      const { decode, encodedName } = field
      // Some schemas encode and decode to the same object.
      const encoded = clone(encoding)
      return Done.map(
        Done.mapError(decode({ [encodedName]: clone(encoding) }), (issue) => issueOf(issue, [key], issueAt)),
        (decoded) => ({ encoded, value: decoded[key] as A[K] })
      )
    })

  /** Copies default values: a default may be one object that is shared by all sessions. */
  const ownDefaults = (raw: JsonRecord, value: A): Effect.Effect<void> =>
    Effect.forEach(mutable, (key) =>
      raw[encodedName(key)] === undefined && value[key] !== undefined
        ? Effect.match(copyField(key, value), {
          onFailure: () => undefined,
          onSuccess: (copy) => void (value[key] = copy.value)
        })
        : Effect.void, { discard: true })

  const decode = (raw: JsonRecord): Effect.Effect<A, ValidationIssue> => {
    const decoded = Effect.mapError(provided(() => decodeWhole(raw)), (issue) => issueOf(issue, [], issueAt))
    return mutable.size === 0 ? decoded : Effect.tap(decoded, (value) => ownDefaults(raw, value))
  }

  const decodeField = (key: string, raw: JsonRecord): Effect.Effect<Field, ValidationIssue> => {
    const { decode, encodedName } = fields.get(key) ?? unknownField(key)
    return Done.map(
      Done.mapError(
        decode(Object.hasOwn(raw, encodedName) ? { [encodedName]: raw[encodedName] } : {}),
        (issue) => issueOf(issue, [key], issueAt)
      ),
      (decoded) => ({ present: Object.hasOwn(decoded, key), value: decoded[key] })
    )
  }

  const isClass = AST.isDeclaration(AST.typeAST(schema.ast))
  // Not lazy: the constructor of a class needs all fields, and mutable fields must be copied for each reader.
  const lazy = isClass || mutable.size > 0 ? undefined : new LazyValues<A>(
    Array.from(fields, ([key, { check, encodedName }]) => ({ key, check, encodedName })),
    (key, raw) => certain(decodeField(key, raw))
  )

  const encode = (value: A): Effect.Effect<JsonRecord, ValidationIssue> =>
    Effect.map(
      Effect.forEach(keys, (key) =>
        Effect.map(encodeField(key, value), (encoded) => [encodedName(key), encoded] as const)),
      (encoded) =>
        Object.fromEntries(encoded.filter((field): field is readonly [string, Json] => field[1] !== undefined))
    )

  return {
    keys,
    mutable,
    isClass,
    encodedName,
    decode,
    open: lazy === undefined ? decode : (raw) => lazy.open(raw, (key) => decodeField(key, raw)),
    openIfCertain: lazy === undefined ? () => undefined : lazy.ifCertain,
    encodeField,
    copyField,
    copy: (value) => Effect.flatMap(encode(value), (raw) => decode(clone(raw))),
    encode
  }
}

/** Returns a field that the check has accepted. Throws only if the decoder of the schema contradicts the check. */
const certain = (field: Effect.Effect<Field, ValidationIssue>): Field => {
  if (Done.isDone(field) && Exit.isSuccess(field)) return field.value
  throw new TypeError("A field of a session passed the check of its schema but could not be decoded.")
}

const unknownField = (key: string): never => {
  throw new TypeError(`The session has no field ${JSON.stringify(key)}.`)
}

/** An issue of a schema, or a stack overflow: where a class or a text hides a recursion, the depth cannot be checked before. */
type Issue = ParseResult.ParseIssue | typeof tooDeep

const tooDeep = { _tag: "TooDeep" } as const

const isOverflow = (defect: unknown): boolean => defect instanceof RangeError && defect.message.includes("call stack")

/**
 * Explains in one sentence why a schema cannot be encoded to JSON, or returns `undefined`. Checked when a layer is built, so that
 * no request fails by it.
 */
export const validate = (schema: Any): string | undefined => problemOfRoot(schema.ast) ?? problemOfEncoded(schema.ast)

/** Returns the first issue. Its text never contains the value, which may be secret. */
const issueOf = (
  issue: Issue,
  root: ReadonlyArray<PropertyKey>,
  issueAt: (path: ReadonlyArray<PropertyKey>, problem: string) => ValidationIssue
): ValidationIssue => {
  const path: Array<PropertyKey> = []
  const issueHere = (problem: string): ValidationIssue => issueAt(path.length === 0 ? root : path, problem)
  let current = issue
  while (true) {
    switch (current._tag) {
      case "TooDeep":
        return issueHere("nested too deeply")
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
        if (first === undefined) return issueHere(`expected ${String(current.ast)}`)
        current = first
        continue
      }
      case "Refinement":
      case "Transformation":
        if (current.kind === "Predicate") {
          return issueHere(`expected ${String(current.ast)}`)
        }
        current = current.issue
        continue
      case "Missing":
        return issueHere("it is missing")
      case "Unexpected":
        return issueHere("it was not expected")
      default:
        return issueHere(`expected ${String(current.ast)}`)
    }
  }
}
