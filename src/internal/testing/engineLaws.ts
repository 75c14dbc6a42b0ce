/**
 * Laws for every engine, and additional laws for engines over a store.
 */
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { YieldWrap } from "effect/Utils"
import { anyText, aRecord, hour, minute, namespace, start } from "../../Fixtures.js"
import type { Law } from "../../Law.js"
import { LawBroken } from "../../Law.js"
import type { BoundEngine, CookieValue, Opened, Write, Written } from "../../SessionEngine.js"
import { SessionEngine } from "../../SessionEngine.js"
import type { SessionRecord } from "../../SessionRecord.js"
import { equal, forAll, holds, range, together } from "./law.js"

const scope = { namespace, cookieName: "__Host-Http-laws" }

const law = (
  name: string,
  body: (engine: BoundEngine) => Generator<YieldWrap<Effect.Effect<unknown, unknown, SessionEngine>>, void, never>
): Law<SessionEngine> => ({
  name,
  law: Effect.flatMap(
    SessionEngine,
    ({ bind }) => Effect.flatMap(bind(scope), (engine) => Effect.gen(() => body(engine)))
  )
})

/** Performs a write and expects it to succeed. */
const written = (engine: BoundEngine, write: Write, now = start) =>
  Effect.flatMap(
    engine.write(write, now),
    (outcome) =>
      outcome._tag === "Written"
        ? Effect.succeed(outcome)
        : Effect.fail(new LawBroken({ message: `${write._tag}: expected Written but got ${outcome._tag}` }))
  )

const created = (engine: BoundEngine, fields: Partial<SessionRecord> = {}) =>
  written(engine, { _tag: "Create", record: aRecord(fields) })

const opened = (engine: BoundEngine, value: CookieValue, now = start): Effect.Effect<Opened | undefined, unknown> =>
  Effect.map(engine.open(value, now), Option.getOrUndefined)

/** Opens a value and returns the content of its record. */
const recordAt = (engine: BoundEngine, value: CookieValue, now = start) =>
  Effect.map(opened(engine, value, now), (found) => found === undefined ? undefined : content(found.record))

/** A record without the write id, which a cookie need not contain, and the version, which an engine may draw: it is only compared. */
const content = ({ version: _version, writeId: _writeId, ...record }: SessionRecord) => record

/** The record after a write that is made a minute later. */
const next = (record: SessionRecord, fields: Partial<SessionRecord> = {}): SessionRecord => ({
  ...record,
  data: `{"cart":["tea"]}`,
  version: record.version + 1,
  writeId: "next",
  modifiedAt: record.modifiedAt + minute,
  lastSeenAt: record.modifiedAt + minute,
  ...fields
})

/** Expects that a value opens the record, with the version that its write has returned. */
const opens = (
  engine: BoundEngine,
  { record: { version }, value }: Extract<Written, { readonly _tag: "Written" }>,
  record: SessionRecord
) =>
  Effect.flatMap(opened(engine, value, record.modifiedAt), (found) =>
    Effect.zipRight(
      equal("the record", found === undefined ? undefined : content(found.record), content(record)),
      equal("its version", found?.record.version, version)
    ))

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."

/** Laws for every engine. */
export const engineLaws: ReadonlyArray<Law<SessionEngine>> = [
  law("`open` returns the record that was written with the cookie value", function*(engine) {
    const record = aRecord()
    yield* opens(engine, yield* written(engine, { _tag: "Create", record }), record)
  }),

  law(
    "a cookie value fits into a cookie: at most 4,096 bytes with its name, from a safe alphabet",
    function*(engine) {
      const { value } = yield* created(engine)
      const text = Redacted.value(value)
      yield* holds("the alphabet", /^[A-Za-z0-9._-]+$/.test(text))
      yield* holds("the length", text.length + scope.cookieName.length <= 4096)
    }
  ),

  law("a cookie value is redacted in JSON and string output", function*(engine) {
    const outcome = yield* created(engine)
    const found = yield* opened(engine, outcome.value)
    const secret = Redacted.value(outcome.value)
    yield* holds(
      "the value is not in JSON or string output",
      ![outcome, found].some((shown) => `${JSON.stringify(shown)}${String(shown?.value)}`.includes(secret))
    )
  }),

  law("two sessions never share a cookie value, even with equal data", function*(engine) {
    const all = yield* together(range(50).map(() => created(engine)))
    yield* equal("distinct values", new Set(all.map(({ value }) => Redacted.value(value))).size, 50)
  }),

  law("`open` of a forged cookie value returns nothing and does not fail", function*(engine) {
    const forged = FastCheck.oneof(
      FastCheck.string({ maxLength: 200 }),
      FastCheck.array(FastCheck.constantFrom(...alphabet), { maxLength: 200 }).map((letters) => letters.join("")),
      FastCheck.constantFrom("r1.", "e1.", "f1.", "h1.").chain((kind) =>
        FastCheck.array(FastCheck.constantFrom(...alphabet), { minLength: 20, maxLength: 120 }).map((letters) =>
          kind + letters.join("")
        )
      )
    )
    yield* forAll(
      forged,
      (text) => Effect.flatMap(opened(engine, Redacted.make(text)), (found) => equal("opened", found, undefined)),
      200
    )
  }),

  law("`open` of a cookie value with one character changed, added or removed returns nothing", function*(engine) {
    const { value } = yield* created(engine, { data: `{"a":1}` })
    const text = Redacted.value(value)
    const changed = [...text].flatMap((letter, index) => [
      `${text.slice(0, index)}${letter === "A" ? "B" : "A"}${text.slice(index + 1)}`,
      `${text.slice(0, index)}${text.slice(index + 1)}`,
      `${text.slice(0, index)}${letter}${text.slice(index)}`
    ])
    yield* Effect.forEach(
      changed,
      (text) => Effect.flatMap(opened(engine, Redacted.make(text)), (found) => equal("opened", found, undefined)),
      { discard: true }
    )
  }),

  law("`open` of a cookie value of another namespace returns nothing", function*(engine) {
    const { value } = yield* created(engine)
    const { bind } = yield* SessionEngine
    const other = yield* bind({ ...scope, namespace: "others" })
    yield* equal("opened", yield* opened(other, value), undefined)
  }),

  law("after a save, `open` of its cookie value returns the saved record", function*(engine) {
    const first = yield* created(engine)
    const record = next(first.record)
    const { value, record: { version } } = first
    const save: Write = { _tag: "Save", value, record, expectedVersion: version }
    yield* opens(engine, yield* written(engine, save, record.modifiedAt), record)
  }),

  law("after a rotation, `open` of a new cookie value returns the record", function*(engine) {
    const first = yield* created(engine)
    const record = next(first.record, { subject: "bob", authenticatedAt: start + minute })
    const { value, record: { version } } = first
    const rotation: Write = { _tag: "Rotate", value, record, expectedVersion: version }
    const rotated = yield* written(engine, rotation, record.modifiedAt)
    yield* holds("another value", Redacted.value(rotated.value) !== Redacted.value(value))
    yield* opens(engine, rotated, record)
  }),

  law("a touch moves the times and changes nothing else", function*(engine) {
    const first = yield* created(engine)
    const record = {
      ...first.record,
      lastSeenAt: start + minute,
      expiry: { ...first.record.expiry, at: start + hour + minute }
    }
    const touched = yield* written(engine, { _tag: "Touch", value: first.value, record })
    yield* equal("the record", yield* recordAt(engine, touched.value), content(record))
  }),

  law("`open` of an expired session returns nothing, from the exact time of expiry", function*(engine) {
    const { record, value } = yield* created(engine)
    yield* equal("before", yield* recordAt(engine, value, record.expiry.at - 1), content(record))
    yield* equal("at the time of expiry", yield* recordAt(engine, value, record.expiry.at), undefined)
    yield* equal("long after", yield* recordAt(engine, value, record.expiry.at * 2), undefined)
  }),

  law("any text in the data is preserved", function*(engine) {
    yield* forAll(
      anyText.map((text) => JSON.stringify({ text })),
      (data) =>
        Effect.flatMap(
          created(engine, { data }),
          ({ value }) => Effect.flatMap(recordAt(engine, value), (record) => equal("the data", record?.data, data))
        )
    )
  }),

  law("`destroy` of an unknown cookie value succeeds", function*(engine) {
    yield* engine.destroy(Redacted.make("nothing"))
    yield* engine.destroy(Redacted.make(`r1.${"A".repeat(43)}`))
  })
]

/** Laws for engines over a store, which compare the version of the stored record. */
export const storedEngineLaws: ReadonlyArray<Law<SessionEngine>> = [
  law("a save with another expected version is a conflict and changes nothing", function*(engine) {
    const { record, value } = yield* created(engine)
    const outcome = yield* engine.write(
      { _tag: "Save", value, record: next(record), expectedVersion: record.version + 1 },
      start
    )
    yield* equal("the outcome", outcome, { _tag: "Conflict" })
    yield* equal("the record", yield* recordAt(engine, value), content(record))
  }),

  law("of concurrent saves with one expected version exactly one is written", function*(engine) {
    const { record, value } = yield* created(engine)
    const outcomes = yield* together(
      range(8).map((i) =>
        engine.write({
          _tag: "Save",
          value,
          record: next(record, { data: `{"i":${i}}`, writeId: `${i}` }),
          expectedVersion: record.version
        }, start)
      )
    )
    yield* equal("how many were written", outcomes.filter(({ _tag }) => _tag === "Written").length, 1)
  }),

  law("a rotation invalidates the previous cookie value", function*(engine) {
    const { record, value } = yield* created(engine)
    yield* written(engine, { _tag: "Rotate", value, record: next(record), expectedVersion: record.version })
    yield* equal("the old value", yield* opened(engine, value), undefined)
  }),

  law("`destroy` is final: later saves, rotations and touches do not bring the session back", function*(engine) {
    const { record, value } = yield* created(engine)
    yield* engine.destroy(value)
    const writes = yield* Effect.forEach(
      ["Save", "Rotate", "Touch"] as const,
      (_tag) => engine.write({ _tag, value, record: next(record), expectedVersion: record.version }, start)
    )
    yield* equal("the writes", writes, [{ _tag: "Gone" }, { _tag: "Gone" }, { _tag: "Gone" }])
    yield* equal("the value", yield* opened(engine, value), undefined)
  }),

  law("a save of an expired session returns `Gone`", function*(engine) {
    const { record, value } = yield* created(engine)
    const late = record.expiry.at
    const outcome = yield* engine.write(
      {
        _tag: "Save",
        value,
        record: next(record, { expiry: { ...record.expiry, at: late + hour } }),
        expectedVersion: record.version
      },
      late
    )
    yield* equal("the outcome", outcome, { _tag: "Gone" })
  })
]
