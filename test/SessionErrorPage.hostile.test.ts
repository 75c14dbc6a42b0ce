/**
 * Visitor input in errors of the session: it is in their fields and never in their messages, and the documented error
 * page escapes it.
 */
import * as HttpRouter from "@effect/platform/HttpRouter"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { it } from "@effect/vitest"
import { Effect, Layer, Logger, LogLevel, Option, Schema } from "effect"
import { MemoryEngine, Merge, Session, SessionError, SessionErrorPage } from "effect-session"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import * as Path from "node:path"
import { assert, describe } from "vitest"
import * as Pages from "../examples/shop/pages.js"
import { header, live, open, type Pages as App, servers, Visitor } from "./support/frontEnds.js"
import { visit } from "./support/requestWithoutHttp.js"
import { apiServers } from "./support/shopApi.js"

const secret = "hunter2"
const script = `<script>alert("${secret}")</script>`

const Answers = Schema.Record({
  key: Schema.String,
  value: Schema.Struct({ points: Schema.Int, note: Schema.optional(Schema.Unknown) })
})
interface Node {
  readonly children: { readonly [name: string]: Node }
}
const Node: Schema.Schema<Node> = Schema.Struct({
  children: Schema.Record({ key: Schema.String, value: Schema.suspend(() => Node) })
})

class Survey extends Session.Tag<Survey>()("test/Survey", {
  schema: Schema.Struct({
    answers: Schema.optionalWith(Answers, { default: () => ({}) }),
    pages: Schema.optionalWith(Schema.Array(Answers), { default: () => [] }),
    byId: Schema.optional(Schema.ReadonlyMap({ key: Schema.String, value: Schema.Struct({ points: Schema.Int }) })),
    tree: Schema.optional(Node),
    any: Schema.optional(Schema.Unknown),
    size: Schema.optional(Schema.Literal("s", "m")),
    step: Schema.optionalWith(Schema.Number, { default: () => 0 })
  }),
  merge: { step: Merge.max }
}) {}

const points = (points: unknown) => ({ points }) as { readonly points: number }
const wrong = (value: unknown) => value as never

/** Hostile input of a handler, the place named in the message, and the full path. */
const hostile: ReadonlyArray<
  readonly [title: string, set: Effect.Effect<void, SessionError.SessionError, Survey>, place: string, field: string]
> = [
  ["a value", Survey.set("step", wrong(script)), "step", "step"],
  ["a literal", Survey.set("size", wrong(script)), "size", "size"],
  [
    "a key of a Record",
    Survey.set("answers", { [script]: points(1.5) }),
    "answers.*.points",
    `answers.${script}.points`
  ],
  ["a key that is a number", Survey.set("answers", { "4111": points(0.5) }), "answers.*.points", "answers.4111.points"],
  [
    "a missing field",
    Survey.set("answers", wrong({ [script]: {} })),
    "answers.*.points",
    `answers.${script}.points`
  ],
  [
    "a key inside an array",
    Survey.set("pages", [{}, { [secret]: points("x") }]),
    "pages.1.*.points",
    `pages.1.${secret}.points`
  ],
  [
    "a key at each level of a recursive schema",
    Survey.set("tree", { children: { [secret]: { children: { [script]: wrong(1) } } } }),
    "tree.children.*.children.*",
    `tree.children.${secret}.children.${script}`
  ],
  [
    "a value that JSON cannot hold",
    Survey.set("answers", { [script]: { points: 1, note: { [secret]: [Number.NaN] } } }),
    "answers.*.note.*.0",
    `answers.${script}.note.${secret}.0`
  ],
  ["a key of a value of any shape", Survey.set("any", { [script]: () => secret }), "any.*", `any.${script}`],
  [
    "a forbidden key",
    Survey.set("any", { [script]: JSON.parse(`{"__proto__":1}`) }),
    "any.*",
    `any.${script}`
  ],
  ["a value of a Map", Survey.set("byId", new Map([[script, points(1.5)]])), "byId.0.1.points", "byId.0.1.points"],
  ["an unknown field", Survey.patch(wrong({ [script]: secret })), "*", script],
  ["a subject", Survey.authenticate(`${script}\n`), "subject", "subject"]
]

describe("an error of the session", () => {
  for (const [title, set, place, field] of hostile) {
    it.effect(`${title}: the message names the place without input, and the full path is in a field`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(visit(Survey, set))
        if (error._tag !== "SessionInvalid") return assert.fail(error._tag)
        assert.deepStrictEqual([error.field, error.place ?? error.field], [field, place])
        assert.include(error.message, `at "${place}": `)
        for (const text of [error.message, String(error), error.stack ?? "", error.problem]) {
          assert.notMatch(text, /hunter2|<script|4111/)
        }
      }).pipe(Effect.provide(Layer.provide(Survey.layer, MemoryEngine.layer))))
  }

  it.effect("a conflict by a value that became invalid names the place without input", () =>
    Effect.gen(function*() {
      const { cookie } = yield* visit(Survey, Survey.set("step", 1))
      const { error } = yield* visit(
        Survey,
        Effect.gen(function*() {
          // Valid for the data that this request has read, and invalid for the data that the other one writes.
          yield* Survey.update("answers", (answers) => ({ [script]: points(Object.keys(answers).length / 2) }))
          yield* visit(Survey, Survey.set("answers", { a: points(1) }), cookie)
        }),
        cookie
      )
      assert.deepStrictEqual([error?._tag, error?._tag === "SessionConflict" && error.what], [
        "SessionConflict",
        "answers.*.points"
      ])
      assert.notMatch(String(error), /hunter2|<script/)
    }).pipe(Effect.provide(Layer.provide(Survey.layer, MemoryEngine.layer))))

  it.effect("the warning about stored data that no longer fits contains no key of the data", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const { cookie } = yield* visit(Survey, Survey.set("any", { [script]: secret }))
      class Later extends Session.Tag<Later>()("test/Survey", {
        schema: Schema.Struct({ any: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.Int })) })
      }) {}
      const engine = yield* Effect.context<Layer.Layer.Success<typeof MemoryEngine.layer>>()
      const read = yield* visit(Later, Later.value, cookie).pipe(
        Effect.provide(Layer.provide(Later.layer, Layer.succeedContext(engine))),
        Effect.provide(
          Logger.replace(Logger.defaultLogger, Logger.map(Logger.logfmtLogger, (line) => lines.push(line)))
        ),
        Logger.withMinimumLogLevel(LogLevel.All)
      )
      assert.deepStrictEqual(read.result, {})
      assert.strictEqual(lines.length, 1)
      assert.include(lines[0], "any.*")
      assert.notMatch(lines[0] ?? "", /hunter2|<script/)
    }).pipe(Effect.provide(Layer.provideMerge(Survey.layer, MemoryEngine.layer))))
})

/** Every error, with hostile text in every field that may hold input. */
const session = "test/Visitor"
const errors: ReadonlyArray<SessionError.SessionError> = [
  new SessionError.SessionUnavailable({ session, reason: "store", retryAfter: 5 }),
  new SessionError.SessionUnavailable({ session, reason: "busy", retryAfter: 5 }),
  new SessionError.SessionUnavailable({ session, reason: "data", retryAfter: 5 }),
  new SessionError.SessionUnavailable({ session, reason: "readOnly", retryAfter: 5 }),
  new SessionError.SessionInvalid({ session, field: script, place: script, problem: script }),
  new SessionError.SessionConflict({ session, what: script }),
  new SessionError.SessionGone({ session }),
  new SessionError.SessionCommitted({ session }),
  new SessionError.SessionInTransaction({ session }),
  new SessionError.SessionCrossSite({ session }),
  new SessionError.SessionTooLarge({ session, fields: [{ name: script, length: 4096 }] })
]
const statuses = [503, 503, 503, 503, 400, 409, 409, 500, 500, 403, 413]

type Page = Layer.Layer<SessionErrorPage.SessionErrorPage>

/** The documented error page, loaded as a program. */
const documented = ["docs/http.md", "src/SessionErrorPage.ts"].map((source) => {
  const text = readFileSync(source, "utf8").replaceAll(/^ \* ?/gm, "")
  const example = [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(([, code = ""]) => code)
    .filter((code) => code.includes("SessionErrorPage.layer"))
  assert.strictEqual(example.length, 1, source)
  const file = Path.resolve(".data/doc-examples", `${source.replaceAll(/\W/g, "-")}.ts`)
  mkdirSync(Path.dirname(file), { recursive: true })
  writeFileSync(file, example.join(""))
  return { source, load: Effect.promise((): Promise<{ readonly pages: Page }> => import(/* @vite-ignore */ file)) }
})

const failing: App = HttpRouter.empty.pipe(
  HttpRouter.get(
    "/fails/:at",
    Effect.flatMap(
      HttpRouter.params,
      ({ at }): Effect.Effect<HttpServerResponse.HttpServerResponse, SessionError.SessionError> =>
        Option.match(Option.fromNullable(errors[Number(at)]), {
          onNone: () => Effect.dieMessage("no such error"),
          onSome: Effect.fail
        })
    )
  )
)

describe("the documented error page", () => {
  for (const { load, source } of documented) {
    for (const { name, prefix, sends, serve } of servers) {
      live(
        `${source}, ${name}: no error puts a visitor's text into HTML, and each has its own status`,
        Effect.gen(function*() {
          const { pages } = yield* load
          const site = yield* open(serve(failing).pipe(Layer.provide(pages)))
          for (const [at, error] of errors.entries()) {
            const answer = yield* site.visit(`${prefix}/fails/${at}`)
            assert.strictEqual(answer.status, statuses[at])
            // With HttpServer.serve, an error of the handler has already become a JSON response.
            assert.match(header(answer, "content-type"), sends ? /^application\/json/ : /^text\/html/)
            if (sends) continue
            assert.notMatch(answer.body, /<script|<\/script|"/, error._tag)
            assert.match(answer.body, /^<h1>Sorry<\/h1><p>[^<>]{20,}<\/p>$/)
          }
        })
      )
    }
  }
})

describe("the shop's pages", () => {
  it("escape the message that they show", () => {
    const { body } = Pages.problem(409, script, script)
    if (body._tag !== "Uint8Array") return assert.fail(body._tag)
    assert.notMatch(new TextDecoder().decode(body.body), /<script>alert|"hunter2"/)
  })
})

describe("without an error page", () => {
  for (const { name, prefix, serve } of servers) {
    live(
      `${name}: an error is JSON, never HTML, and its message contains no input`,
      Effect.gen(function*() {
        const site = yield* open(
          serve(HttpRouter.empty.pipe(
            HttpRouter.get(
              "/invalid",
              Effect.as(
                Visitor.set("answers", { [script]: secret as unknown as number }),
                undefined as unknown as HttpServerResponse.HttpServerResponse
              )
            )
          ))
        )
        const answer = yield* site.visit(`${prefix}/invalid`)
        assert.match(header(answer, "content-type"), /^application\/json/)
        assert.deepStrictEqual([answer.status, JSON.parse(answer.body)], [400, {
          _tag: "SessionInvalid",
          session,
          field: `answers.${script}`,
          place: "answers.*",
          problem: "expected number",
          message: `The value does not fit the session at "answers.*": expected number`
        }])
      })
    )
  }

  for (const [name, serve] of apiServers) {
    live(
      `${name}: a client gets the same message, and the full path in a field`,
      Effect.gen(function*() {
        const site = yield* open(serve())
        const answer = yield* site.visit("/answer", undefined, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ [script]: secret })
        })
        const error = yield* Schema.decodeUnknown(Schema.parseJson(SessionError.SessionError))(answer.body)
        assert.deepStrictEqual([answer.status, error._tag === "SessionInvalid" && error.field], [
          400,
          `answers.${script}`
        ])
        assert.strictEqual(error.message, `The value does not fit the session at "answers.*": expected number`)
      })
    )
  }
})
