/**
 * JSON texts and a worker of Django for the tests of the formats.
 */
import { Effect, Exit, Redacted, Scope } from "effect"
import * as fc from "fast-check"
import { createHmac, hash } from "node:crypto"
import { afterAll, beforeAll } from "vitest"
import * as Members from "../../src/internal/django/members.js"
import * as Signing from "../../src/internal/django/signing.js"
import * as Ids from "../../src/internal/domain/id.js"
import type { Lifetime } from "../../src/Lifetime.js"
import type { SessionRecord } from "../../src/SessionRecord.js"
import * as Django from "./servers/django.js"

/** The default secret and salt of the Django of the tests. */
export const salt = Signing.salts.sessionStore
export const signer = Signing.make({ secretKey: Redacted.make(Django.secretKey), fallbacks: [] }, salt)

/** Starts a worker for the tests of a file, and ends it after them. */
export const sharedWorker = (): <A>(
  use: (django: Django.Worker) => Effect.Effect<A, Django.DjangoError>
) => Promise<A> => {
  const scope = Effect.runSync(Scope.make())
  let worker: Django.Worker
  beforeAll(async () => {
    worker = await Effect.runPromise(Scope.extend(Django.worker(), scope))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  return (use) => Effect.runPromise(use(worker))
}

/** Signs any text as Django's `Signer` does, by functions of Node alone. */
export const signedText = (value: string, secret: string = Django.secretKey, saltOf: string = salt): string =>
  `${value}:${
    createHmac("sha256", hash("sha256", `${saltOf}signer${secret}`, "buffer")).update(value).digest("base64url")
  }`

/** The JSON of a signed text, as its members have it; `null` if it is rejected or no object. */
export const jsonOf = (text: string, by: Signing.Signer = signer): Effect.Effect<string | null> =>
  Effect.map(by.verify(text), (verified) => {
    const members = verified._tag === "Verified" ? Members.split(verified.json) : undefined
    return members === undefined ? null : Members.join(members)
  })

const characters = fc.oneof(
  fc.constantFrom(
    ..."\"\\/{}[],: \u007F\u0000\b\t\n\f\r\u001F\u0080\u00A0é\u2028\uD800\uDFFF\uFEFF\uFFFF",
    "😀",
    "\\u0041"
  ),
  fc.integer({ min: 0, max: 0xFFFF }).map((code) => String.fromCharCode(code)),
  fc.string({ maxLength: 4 })
)

/** Any text, also with lone surrogates; some compress well. */
export const anyText: fc.Arbitrary<string> = fc.oneof(
  { weight: 5, arbitrary: fc.array(characters, { maxLength: 8 }).map((parts) => parts.join("")) },
  { weight: 1, arbitrary: fc.tuple(characters, fc.integer({ min: 1, max: 400 })).map(([text, n]) => text.repeat(n)) }
)

export const anyName: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(
    "",
    "a",
    "0",
    "1",
    "10",
    "-1",
    "__proto__",
    "constructor",
    "toString",
    "_auth_user_id",
    "NaN",
    "a\"b\\c"
  ),
  anyText
)

/** A number as Python writes or reads it. */
const numbers = fc.oneof(
  fc.constantFrom(
    ..."0 -0 1 1.0 -0.0 1e16 1e-07 1e-7 1E+2 NaN Infinity -Infinity 5e-324 1.7976931348623157e+308 9007199254740993"
      .split(" ")
  ),
  fc.bigInt({ min: -(10n ** 60n), max: 10n ** 60n }).map(String),
  fc.double().map((number) => Number.isFinite(number) ? JSON.stringify(number) : "NaN")
)

const space = fc.constantFrom("", "", "", " ", "\n", "\t \r")

/** The text of an object of members, of which several can have the same name. */
const objectOf = (member: fc.Arbitrary<string>, maxLength: number) =>
  fc.array(fc.tuple(space, anyName, space, member, space), { maxLength }).map((members) =>
    `{${members.map(([a, name, b, value, c]) => `${a}${JSON.stringify(name)}${b}:${a}${value}${c}`).join(",")}}`
  )

const values = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    fc.constantFrom("null", "true", "false"),
    numbers,
    anyText.map((text) => JSON.stringify(text)),
    fc.array(tie("value"), { maxLength: 4 }).map((items) => `[${items.join(",")}]`),
    objectOf(tie("value"), 4)
  )
})).value

/** A JSON object as a text that Python can read, with spaces and duplicate names. */
export const pythonJson: fc.Arbitrary<string> = objectOf(values, 6)

/** The record of an anonymous session. `now` in milliseconds since the epoch. */
export const recordWith = (
  { lifetime, now }: { readonly now: number; readonly lifetime: Lifetime | undefined }
): SessionRecord => ({
  namespace: "test",
  id: Ids.fromBytes(new Uint8Array(16)),
  data: "{}",
  schemaVersion: 1,
  subject: undefined,
  version: 0,
  writeId: "",
  createdAt: now,
  authenticatedAt: undefined,
  modifiedAt: now,
  lastSeenAt: now,
  expiry: { at: now, deadline: undefined, lifetime },
  attributes: undefined
})
