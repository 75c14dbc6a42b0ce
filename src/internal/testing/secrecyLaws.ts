/**
 * A service passes no token to its store, in any encoding, and only data that it can read back exactly.
 */
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { Law } from "../../Law.js"
import { LawBroken } from "../../Law.js"
import type { CookieValue } from "../../SessionEngine.js"
import { SessionInvalid } from "../../SessionError.js"
import type { Store } from "../../SessionStore.js"
import * as SessionToken from "../../SessionToken.js"
import * as Tokens from "../crypto/sessionToken.js"
import { intercepted } from "../store/intercepted.js"
import { equal, holds, law } from "./law.js"
import { Account, answer, serviceOn, storedEngine } from "./service.js"

/** All strings in a value, at any depth, with bytes as strings. */
const textsIn = (value: unknown): ReadonlyArray<string> =>
  typeof value === "string"
    ? [value]
    : Redacted.isRedacted(value)
    ? textsIn(Redacted.value(value))
    : value instanceof Uint8Array
    ? [String.fromCharCode(...value), value.join()]
    : typeof value === "object" && value !== null
    ? Object.entries(value).flatMap(([name, field]) => [name, ...textsIn(field)])
    : []

/** All encodings from which the cookie could be recovered. */
const encodingsOf = (cookie: CookieValue): ReadonlyArray<string> => {
  const bytes = Tokens.unsafeBytes(Option.getOrThrow(SessionToken.parse(Redacted.value(cookie))))
  return [
    Redacted.value(cookie),
    Encoding.encodeBase64Url(bytes),
    Encoding.encodeBase64(bytes),
    Encoding.encodeHex(bytes),
    Encoding.encodeHex(bytes).toUpperCase(),
    ...textsIn(bytes)
  ]
}

const cookieOf = (cookie: CookieValue | undefined) =>
  cookie === undefined
    ? Effect.fail(new LawBroken({ message: "expected a cookie but got none" }))
    : Effect.succeed(cookie)

/** Expects a set to be rejected with `SessionInvalid` and change nothing, or to store the value exactly. */
const storedOrRejected = (store: Store, name: string, text: string) =>
  Effect.gen(function*() {
    const service = yield* serviceOn(storedEngine, store, "1 minute")
    const { cookie } = yield* answer(service, undefined, Account.set("count", 1))
    let rejection: unknown
    const value: unknown = JSON.parse(text)
    const set = Effect.tapError(
      Account.set("anything", value),
      (error) => Effect.sync(() => rejection = error)
    )
    const { done } = yield* answer(service, cookie, set)
    const session = yield* Effect.flatMap(cookieOf(cookie), service.open)
    const found = yield* Effect.flatMap(session, (session) => session.get("anything"))
    if (done) return yield* holds(`${name}: stored exactly`, JSON.stringify(found) === text)
    yield* holds(`${name}: rejected with SessionInvalid`, rejection instanceof SessionInvalid)
    yield* equal(`${name}: the stored value`, found, undefined)
  })

const nested = (levels: number) => `${"[".repeat(levels)}${"]".repeat(levels)}`
const fields = (count: number) =>
  JSON.stringify(Object.fromEntries(Array.from({ length: count }, (_, i) => [`f${i}`, i])))

/** JSON that an attacker may send, or that an older version of the application has stored. */
const hostile: ReadonlyArray<readonly [name: string, text: string]> = [
  ["__proto__", `{"__proto__":{"admin":true}}`],
  ["nested __proto__", `{"a":[{"__proto__":{"admin":true}}]}`],
  ["constructor", `{"constructor":{"prototype":{"admin":true}}}`],
  ["method names", `{"toString":1,"valueOf":2,"hasOwnProperty":3,"then":4,"toJSON":5,"length":6}`],
  ["column names", `{"id":"x","version":99,"subject":"root","data":"{}","key":null}`],
  [
    "confusable names",
    JSON.stringify({ "": 1, "\u0000": 2, "\ud800": 3, "a.b": 4, "$set": 5, "e\u0301": 6, "\u00e9": 7 })
  ],
  ["50 levels", nested(50)],
  ["5,000 levels", nested(5000)],
  ["4,000 fields", fields(4000)],
  ["10,000 fields", fields(10_000)]
]

export const secrecyLaws: ReadonlyArray<Law> = [
  law(
    "no token, in any encoding, is passed to the store: a copy of the store contains no usable credential",
    function*(store) {
      const given: Array<string> = []
      const recording = intercepted(store, (operation, call, args) => {
        given.push(operation, ...textsIn(args))
        return call
      })
      const service = yield* serviceOn(storedEngine, recording, "1 minute")
      const first = yield* cookieOf((yield* answer(service, undefined, Account.set("count", 1))).cookie)
      yield* answer(service, first, Account.update("count", (n) => n + 1))
      const rotated = yield* cookieOf((yield* answer(service, first, Account.authenticate("ann"))).cookie)
      yield* answer(service, first, Account.get("count"))
      const again = yield* cookieOf((yield* answer(service, rotated, Account.rotate)).cookie)
      yield* answer(service, again, Account.get("count"))
      yield* service.exists(again)
      yield* answer(service, again, Account.destroy)
      for (const operation of ["create", "load", "save", "rotate", "touch", "destroy"]) {
        yield* holds(`${operation} was recorded`, given.includes(operation))
      }
      for (const [index, token] of [first, rotated, again].entries()) {
        for (const encoding of encodingsOf(token)) {
          yield* holds(`no argument contains token ${index + 1}`, !given.some((text) => text.includes(encoding)))
        }
      }
      yield* equal("the number of tokens", new Set([first, rotated, again].map(Redacted.value)).size, 3)
    }
  ),

  ...hostile.map(([name, text]) =>
    law(`hostile data is rejected with \`SessionInvalid\` or stored exactly: ${name}`, function*(store) {
      yield* storedOrRejected(store, name, text)
      yield* holds("no prototype was changed", !("admin" in {}))
    })
  )
]
