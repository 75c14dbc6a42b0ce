/**
 * Analysis of the AST of a session's schema, when a layer is built.
 */
import * as Option from "effect/Option"
import * as AST from "effect/SchemaAST"
import { isHostileKey } from "../json.js"

/**
 * Returns whether a decoded value can be changed in place without a cast. Classes count as mutable, except those of Effect. The
 * type side of a recursive schema may unfold to ever new nodes: then it counts as mutable, which is always safe.
 */
export const isMutable = (root: AST.AST): boolean => {
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

/** The names of all fields of a schema, on both sides of its transformations. */
export const namesIn = (root: AST.AST): ReadonlySet<string> => {
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
        // The decoded side of a recursive schema makes a new suspension each time that one is opened, without end.
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

/**
 * Explains why a schema cannot be a session's, or returns `undefined`. A session is written field by field, so rules between
 * fields are impossible.
 */
export const problemOfRoot = (ast: AST.AST): string | undefined => {
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

export const problemOfEncoded = (root: AST.AST): string | undefined => {
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

const mayBeUndefined = (ast: AST.AST): boolean =>
  AST.isUndefinedKeyword(ast) || (AST.isUnion(ast) && ast.types.some(mayBeUndefined))

const first = (checks: ReadonlyArray<() => string | undefined>): string | undefined => {
  for (const check of checks) {
    const problem = check()
    if (problem !== undefined) return problem
  }
  return undefined
}
