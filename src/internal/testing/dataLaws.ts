/**
 * Contents: data, subject and write id are opaque and are returned unchanged.
 */
import * as Effect from "effect/Effect"
import { anyRecord, anyText, day, freshKey, hour, isAlive, loaded, minute, start, stored } from "../../Fixtures.js"
import type { Law } from "../../Law.js"
import type { SessionRecord } from "../../SessionRecord.js"
import { equal, forAll, law } from "./law.js"

/** Texts that `jsonb` columns, normalizing encoders and incorrect escaping change. */
const texts: ReadonlyArray<readonly [name: string, data: string]> = [
  ["empty text", ""],
  ["an escaped U+0000", JSON.stringify({ name: "a\u0000b" })],
  ["escaped lone surrogates", JSON.stringify(["\ud800", "\udfff", "\udc00\ud800"])],
  ["characters outside the basic multilingual plane", JSON.stringify("\u{1f600}\u{10ffff}\u{20000}")],
  ["a byte order mark", "\ufeff{}"],
  ["line separators and control characters", `"\u2028\u2029\u0001\u001f\u007f\u0085"`],
  ["composed and decomposed letters", `["\u00e9","e\u0301"]`],
  ["whitespace, field order and duplicate fields", ` { "b" : 1, "a" : 2 , "a" : 3 } \r\n`],
  ["number literals", `[1.0, 1e2, 100, -0, 12345678901234567890, 0.1e-7]`],
  ["quotes and backslashes", JSON.stringify(`'";\\ -- $1 :key ? %s \${x}`)],
  ["100 kilobytes of ASCII", JSON.stringify("x".repeat(100_000))],
  ["100 kilobytes of three-byte characters", JSON.stringify("\u6f22".repeat(34_000))],
  ["100 kilobytes of escapes", JSON.stringify("\u0000".repeat(17_000))],
  ["invalid JSON", "{not json"]
]

const lifetimes: ReadonlyArray<SessionRecord["expiry"]["lifetime"]> = [
  undefined,
  { _tag: "Inactivity", millis: 20 * minute },
  { _tag: "Until", at: start + 2 * hour },
  { _tag: "Browser" }
]

export const dataLaws: ReadonlyArray<Law> = [
  law("any record is returned as it was created", function*(store) {
    yield* forAll(anyRecord, (record) =>
      Effect.gen(function*() {
        const key = freshKey()
        yield* equal("create", yield* store.create(key, record, start), "created")
        yield* isAlive(store, { key, record }, start)
      }), 100)
  }),

  ...texts.map(([name, data]) =>
    law(`\`create\`, \`save\` and \`rotate\` preserve data byte for byte: ${name}`, function*(store) {
      const created = yield* stored(store, { data })
      yield* isAlive(store, created, start)

      const { key, record } = yield* stored(store)
      yield* equal("save", yield* store.save(key, { ...record, data }, { expectedVersion: 1, now: start }), "saved")
      yield* isAlive(store, { key, record: { ...record, data, version: 2 } }, start)

      const rotated = { key: freshKey(), record: { ...record, data: `${data} `, version: 3 } }
      yield* equal(
        "rotate",
        yield* store.rotate(key, rotated.key, rotated.record, { expectedVersion: 2, now: start }),
        "saved"
      )
      yield* isAlive(store, rotated, start)
    })
  ),

  law("`save` preserves any string inside JSON text", function*(store) {
    const { key, record } = yield* stored(store)
    yield* forAll(anyText, (text) =>
      Effect.gen(function*() {
        const { version } = yield* loaded(store, key, start)
        const data = JSON.stringify({ text, [text]: 1 })
        yield* equal(
          "save",
          yield* store.save(key, { ...record, data }, { expectedVersion: version, now: start }),
          "saved"
        )
        yield* equal("data", (yield* loaded(store, key, start)).data, data)
      }), 100)
  }),

  law("`create`, `save` and `rotate` preserve every kind of lifetime", function*(store) {
    for (const lifetime of lifetimes) {
      const created = yield* stored(store, { expiry: { at: start + hour, deadline: start + day, lifetime } })
      yield* isAlive(store, created, start)

      const { key, record } = yield* stored(store)
      const expiry = { ...record.expiry, at: start + 2 * hour, lifetime }
      const saved = { key, record: { ...record, expiry, version: 2 } }
      yield* equal("save", yield* store.save(key, saved.record, { expectedVersion: 1, now: start }), "saved")
      yield* isAlive(store, saved, start)

      const rotated = { key: freshKey(), record: { ...record, expiry, version: 3 } }
      yield* equal(
        "rotate",
        yield* store.rotate(key, rotated.key, rotated.record, { expectedVersion: 2, now: start }),
        "saved"
      )
      yield* isAlive(store, rotated, start)
    }
  }),

  law("absent fields stay absent, including the deadline", function*(store) {
    const one = yield* stored(store, {
      subject: undefined,
      authenticatedAt: undefined,
      expiry: { at: start + hour, deadline: undefined, lifetime: undefined }
    })
    yield* isAlive(store, one, start)
    const record: SessionRecord = {
      ...one.record,
      subject: "ann",
      authenticatedAt: start,
      attributes: "{}",
      version: 2,
      expiry: { at: start + hour, deadline: start + day, lifetime: { _tag: "Browser" } }
    }
    const there = { key: freshKey(), record }
    yield* equal("rotate", yield* store.rotate(one.key, there.key, record, { expectedVersion: 1, now: start }), "saved")
    yield* isAlive(store, there, start)
    const back = { key: freshKey(), record: { ...one.record, version: 3 } }
    yield* equal(
      "rotate back",
      yield* store.rotate(there.key, back.key, back.record, { expectedVersion: 2, now: start }),
      "saved"
    )
    yield* isAlive(store, back, start)
  })
]
