/**
 * Every error and every warning of the library refers to its entry of `docs/troubleshooting.md`, and every entry is in use.
 */
import { HttpServerRespondable } from "@effect/platform"
import { Effect, Redacted } from "effect"
import { Csrf, SessionError, SessionStore } from "effect-session"
import { readdirSync, readFileSync } from "node:fs"
import { assert, describe, it } from "vitest"
import { explained, sentenceOf } from "../src/internal/cli/database.js"

const page = readFileSync("docs/troubleshooting.md", "utf8")
const prose = page.replaceAll(/^```[\s\S]*?^```/gm, "")

/** The entries of the page: headings of one word. */
const entries = [...prose.matchAll(/^### (\S+)$/gm)].map(([, id = ""]) => id)

const list = "src/internal/help.ts"
const ids = [...readFileSync(list, "utf8").matchAll(/^ {2}\| "([^"]+)"$/gm)].map(([, id = ""]) => id)

/** The modules of the library without their comments. */
const sources = readdirSync("src", { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => {
    const path = `src/${file.replaceAll("\\", "/")}`
    return { path, code: readFileSync(path, "utf8").replaceAll(/\/\*\*[\s\S]*?\*\//g, "") }
  })

/** The places of a call whose arguments do not begin as required. */
const callsWithout = (call: RegExp, required: RegExp): ReadonlyArray<string> =>
  sources.flatMap(({ code, path }) =>
    [...code.matchAll(call)].flatMap(({ 0: text, index }) => {
      const [line = ""] = code.slice(index + text.length).trimStart().split("\n", 1)
      return required.test(line) ? [] : [`${path}: ${line}`]
    })
  )

describe("docs/troubleshooting.md", () => {
  it("has one entry for each id, and no other entries", () => {
    assert.isAbove(ids.length, 60)
    assert.deepStrictEqual([...entries].sort(), [...ids].sort())
  })

  it("every id is used by the library", () => {
    const tags = /^(?:Session|Csrf)[A-Z]/
    const others = sources.filter(({ path }) => path !== list).map(({ code }) => code).join("\n")
    assert.deepStrictEqual(ids.filter((id) => !others.includes(`"${id}"`)), [])
    assert.deepStrictEqual(
      ids.filter((id) => tags.test(id)).sort(),
      [...SessionError.SessionError.members.map(({ _tag }) => _tag), "CsrfRejected"].sort()
    )
  })

  it("quotes every sentence that the compiler prints for an invalid program", () => {
    const tests = readFileSync("test/compileErrors.test.ts", "utf8")
    const sentences = [...tests.matchAll(/^const \w+ =\s+"([^"]+)"$/gm)].map(([, sentence = ""]) => sentence)
    assert.isAbove(sentences.length, 6)
    assert.deepStrictEqual(sentences.filter((sentence) => !page.includes(sentence)), [])
  })

  it("begins with ten mistakes, each with the wrong and the right code", () => {
    const [, section = ""] = page.split(/^## The ten mistakes of newcomers$/m)
    const mistakes = section.split(/^## /m)[0]?.split(/^### /m).slice(1) ?? []
    assert.lengthOf(mistakes, 10)
    for (const mistake of mistakes) {
      const [title = ""] = mistake.split("\n", 1)
      assert.match(mistake, /^Wrong:\n\n```/m, title)
      assert.match(mistake, /^Right:\n\n```/m, title)
    }
  })
})

describe("every", () => {
  it("warning and error in the log ends with a reference", () => {
    assert.deepStrictEqual(callsWithout(/Effect\.log(?:Warning|Error|Fatal)\(/g, /^withHelp\(/), [
      // The message of a `SessionStoreError` has its reference already.
      "src/internal/cookie/ledger.ts: error.message, causeOf(error)), touched))"
    ])
  })

  it("defect of a wrong program ends with a reference", () => {
    assert.deepStrictEqual(callsWithout(/Effect\.dieMessage\(/g, /^withHelp\(/), [
      // A law that is written wrongly, not an application.
      "src/internal/testing/interleave.ts: \"the store calls of a scene must be the same in each run\")"
    ])
  })

  it("invalid configuration is reported by the function that requires an id", () => {
    const makers = sources.filter(({ code }) => code.includes("new SessionConfigError("))
    assert.deepStrictEqual(makers.map(({ path }) => path), ["src/internal/configError.ts"])
  })

  it("invalid environment variable is reported with a reference", () => {
    assert.deepStrictEqual(callsWithout(/ConfigError\.InvalidData\((?:\[\w*\]), /g, /^withHelp\(/), [])
  })

  it("failure of the command line is made by the function that requires an id", () => {
    const others = sources.filter(({ code, path }) =>
      path !== "src/internal/cli/database.ts" && code.includes("new CliFailure(")
    )
    // The user has answered no.
    assert.deepStrictEqual(others.map(({ path }) => path), ["src/internal/cli/sessions.ts"])
    assert.lengthOf(others[0]?.code.match(/new CliFailure\(/g) ?? [], 1)
  })

  it("failure of the command line has one reference, also if the store's error has one already", () => {
    const url = Redacted.make("redis://127.0.0.1:1")
    for (const reason of ["timeout", "size"] as const) {
      const error = new SessionStore.SessionStoreError({ operation: "count", reason })
      const sentence = sentenceOf(Effect.runSync(Effect.flip(explained(url)(Effect.fail(error)))))
      assert.lengthOf(sentence.match(/\(help: /g) ?? [], 1, sentence)
      assert.match(sentence, /\(help: (?:store-timeout|record-too-large)\)$/)
    }
  })

  it("error of a store ends with a reference", () => {
    for (const reason of ["unavailable", "timeout", "corrupt", "transaction", "size", "clock"] as const) {
      const { message } = new SessionStore.SessionStoreError({ operation: "load", reason })
      assert.include(ids, /\(help: (\S+)\)$/.exec(message)?.[1], message)
    }
  })
})

describe("the response to a visitor has no reference", () => {
  const session = "app/Session"
  const errors = [
    new SessionError.SessionUnavailable({ session, reason: "store", retryAfter: 5 }),
    new SessionError.SessionInvalid({ session, field: "user", problem: "expected string" }),
    new SessionError.SessionConflict({ session, what: "user" }),
    new SessionError.SessionGone({ session }),
    new SessionError.SessionCommitted({ session }),
    new SessionError.SessionInTransaction({ session }),
    new SessionError.SessionCrossSite({ session }),
    new SessionError.SessionTooLarge({ session, fields: [] }),
    new SessionError.SessionLimitReached({ session, max: 5 }),
    new SessionError.SessionNotFresh({ session, reason: "age" }),
    new Csrf.CsrfRejected({ reason: "token" })
  ]
  for (const error of errors) {
    it(error._tag, async () => {
      const { body } = await Effect.runPromise(HttpServerRespondable.toResponse(error))
      if (body._tag !== "Uint8Array") return assert.fail(body._tag)
      const text = new TextDecoder().decode(body.body)
      assert.strictEqual(JSON.parse(text).message, error.message)
      assert.notInclude(text, "help")
    })
  }
})
