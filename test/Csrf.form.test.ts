/** The token in a field of a form, whose body the handler reads afterwards, by any reader of the platform. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Multipart from "@effect/platform/Multipart"
import type * as Path from "@effect/platform/Path"
import { Chunk, Effect, Layer, Option, Schema, type Scope, Stream } from "effect"
import { Csrf, MemoryEngine } from "effect-session"
import type * as Http from "node:http"
import * as Http2 from "node:http2"
import { assert, describe } from "vitest"
import { live, open, type Served, text, Visitor } from "./support/frontEnds.js"
import { pairOf, serve } from "./support/httpServer.js"
import type { RawAnswer } from "./support/rawHttp.js"

const Request = HttpServerRequest.HttpServerRequest
const shown = Effect.map(Csrf.token(Visitor), Option.getOrElse(() => "none"))
const decoded = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1")

/** The readers of a body, each with a text that contains what it has read. */
const readers = {
  text: Effect.flatMap(Request, (request) => request.text),
  arrayBuffer: Effect.flatMap(
    Request,
    (request) => Effect.map(request.arrayBuffer, (buffer) => decoded(new Uint8Array(buffer)))
  ),
  stream: Effect.flatMap(
    Request,
    (request) =>
      Effect.map(Stream.runCollect(request.stream), (chunks) => decoded(Buffer.concat(Chunk.toReadonlyArray(chunks))))
  ),
  fields: Effect.flatMap(
    Request,
    (request) => Effect.map(request.urlParamsBody, (fields) => JSON.stringify([...fields]))
  ),
  schema: Effect.map(
    HttpServerRequest.schemaBodyForm(Schema.Struct({ name: Schema.String, csrfToken: Schema.String })),
    ({ name }) => `name=${name}`
  ),
  parts: Effect.flatMap(Request, (request) =>
    Effect.map(
      Stream.runCollect(Stream.mapEffect(request.multipartStream, (part) =>
        part._tag === "Field"
          ? Effect.succeed(`${part.key}=${part.value}`)
          : Effect.map(part.contentEffect, ({ length }) => `${part.key}:${part.name}:${length}`))),
      (parts) => [...parts].join("&")
    )),
  persisted: Effect.flatMap(
    Request,
    (request) =>
      Effect.map(
        request.multipart,
        (parts) =>
          Object.entries(parts).map(([key, part]) =>
            `${key}${
              typeof part === "string"
                ? `=${part}`
                : `:${part.map((file) => typeof file === "string" ? file : file.name).join()}`
            }`
          ).join("&")
      )
  ),
  limited: Effect.flatMap(
    Request,
    (request) =>
      Effect.match(Multipart.withLimits(request.multipart, { maxFileSize: Option.some(1000) }), {
        onFailure: ({ reason }) => reason,
        onSuccess: () => "no limit"
      })
  )
}
type Reader = keyof typeof readers

const app = Object.entries(readers).reduce(
  (router, [name, read]) => HttpRouter.post(router, `/${name}`, Effect.map(read, text)),
  HttpRouter.empty.pipe(
    HttpRouter.post("/login", Effect.map(Effect.zipRight(Visitor.authenticate("ann"), shown), text))
  ) as HttpRouter.HttpRouter<unknown, Visitor | Scope.Scope | FileSystem.FileSystem | Path.Path>
)
const protect = Csrf.middleware(Visitor)

const withoutHeaders = Effect.map(({ body, status }: { readonly status: number; readonly body: string }) => ({
  status,
  body
}))

type Init = RequestInit & { readonly duplex?: "half" }
type Send = (path: string, init: Init) => Effect.Effect<{ readonly status: number; readonly body: string }>

/** A server on which a visitor has logged in, who sends requests. */
interface Site {
  readonly token: string
  readonly send: Send
}

const loggedIn = (
  visit: (path: string, cookie: string | undefined, init: Init) => Effect.Effect<RawAnswer>
): Effect.Effect<Site> =>
  Effect.gen(function*() {
    const own = (init: Init): Init => ({
      ...init,
      method: "POST",
      headers: { ...init.headers, "sec-fetch-site": "same-origin" }
    })
    const login = yield* visit("/login", undefined, own({}))
    const cookie = yield* pairOf(login)
    return { token: login.body, send: (path, init) => visit(path, cookie, own(init)) }
  })

const onNode = (app: Layer.Layer<never, never, Served>) =>
  Effect.flatMap(open(app), ({ visit }) => loggedIn((path, cookie, init) => visit(path, cookie, init)))

const sites: ReadonlyArray<readonly [name: string, prefix: string, site: Effect.Effect<Site, unknown, Scope.Scope>]> = [
  ["a server of Node", "", onNode(HttpServer.serve(protect(app)))],
  [
    "a server of Node whose router copies the request for the handler",
    "/mounted",
    onNode(HttpServer.serve(
      protect(HttpRouter.mountApp(HttpRouter.concat(HttpRouter.empty, app), "/mounted", app))
    ))
  ],
  [
    "a web handler",
    "",
    Effect.flatMap(
      Effect.acquireRelease(
        Effect.sync(() =>
          HttpApp.toWebHandlerLayer(
            protect(app),
            Layer.merge(Layer.provide(Visitor.layer, MemoryEngine.layer), NodeContext.layer)
          )
        ),
        ({ dispose }) => Effect.promise(dispose)
      ),
      ({ handler }) =>
        loggedIn((path, cookie, init) =>
          Effect.promise(async () => {
            const headers = new Headers(init.headers)
            if (cookie !== undefined) headers.set("cookie", cookie)
            const answer = await handler(new globalThis.Request(`http://localhost${path}`, { ...init, headers }))
            return { status: answer.status, body: await answer.text(), headers: [...answer.headers] }
          })
        )
    )
  ]
]

const large = 3 * 1024 * 1024
const fileOf = (size: number) => new File([new Uint8Array(size).fill(46)], "a.txt", { type: "text/plain" })

const formOf = (entries: ReadonlyArray<readonly [name: string, value: string | File]>): FormData => {
  const form = new FormData()
  for (const [name, value] of entries) form.append(name, value)
  return form
}

for (const [where, prefix, site] of sites) {
  describe(where, () => {
    live(
      "reads the field of a urlencoded form, and leaves the body to every reader",
      Effect.gen(function*() {
        const { send, token } = yield* site
        const sent = `name=${encodeURIComponent("Zoë & co")}&csrfToken=${token}`
        const body = () => new URLSearchParams(sent)
        const text = String(body())
        const read: Partial<Record<Reader, string>> = {
          text,
          arrayBuffer: text,
          stream: text,
          fields: JSON.stringify([["name", "Zoë & co"], ["csrfToken", token]]),
          schema: "name=Zoë & co"
        }
        for (const [reader, expected] of Object.entries(read)) {
          assert.deepStrictEqual(yield* send(`${prefix}/${reader}`, { body: body() }).pipe(withoutHeaders), {
            status: 200,
            body: expected
          })
        }
      })
    )

    live(
      "reads the field of a multipart form, and leaves the body to every reader, with files of any size",
      Effect.gen(function*() {
        const { send, token } = yield* site
        for (const size of [10, large]) {
          const form = () => formOf([["name", "Zoë"], ["csrfToken", token], ["file", fileOf(size)]])
          const read: Partial<Record<Reader, string>> = {
            parts: `name=Zoë&csrfToken=${token}&file:a.txt:${size}`,
            persisted: `name=Zoë&csrfToken=${token}&file:a.txt`,
            schema: "name=Zoë"
          }
          for (const [reader, expected] of Object.entries(read)) {
            assert.deepStrictEqual(yield* send(`${prefix}/${reader}`, { body: form() }).pipe(withoutHeaders), {
              status: 200,
              body: expected
            })
          }
          const raw = yield* send(`${prefix}/stream`, { body: form() })
          assert.strictEqual(raw.body.match(/\.{10,}/)?.[0].length ?? 0, size)
        }
      })
    )

    live(
      "leaves the limits of the handler's reader in force",
      Effect.gen(function*() {
        const { send, token } = yield* site
        const body = formOf([["csrfToken", token], ["file", fileOf(2000)]])
        assert.strictEqual((yield* send(`${prefix}/limited`, { body })).body, "FileTooLarge")
      })
    )

    live(
      "finds the field behind a small file, and not behind more than 1 MiB",
      Effect.gen(function*() {
        const { send, token } = yield* site
        const outcome = (size: number) =>
          Effect.map(
            send(`${prefix}/parts`, { body: formOf([["file", fileOf(size)], ["csrfToken", token]]) }),
            ({ status }) => status
          )
        assert.strictEqual(yield* outcome(1000), 200)
        assert.strictEqual(yield* outcome(large), 403)
      })
    )

    live(
      "refuses a form with another token or none, and a token in a body that is no form",
      Effect.gen(function*() {
        const { send, token } = yield* site
        const wrong = `${token.slice(0, -2)}${token.endsWith("AA") ? "BA" : "AA"}`
        const refused: ReadonlyArray<
          readonly [reason: string, body: FormData | URLSearchParams | string, type?: string]
        > = [
          ["token", new URLSearchParams({ csrfToken: wrong })],
          ["token", formOf([["csrfToken", wrong]])],
          ["token", formOf([["csrfToken", wrong], ["csrfToken", token]])],
          ["missingToken", new URLSearchParams({ name: "ann" })],
          ["missingToken", new URLSearchParams({ CSRFTOKEN: token })],
          ["missingToken", formOf([["name", `csrfToken=${token}`]])],
          ["missingToken", formOf([["csrfToken2", token]])],
          ["missingToken", JSON.stringify({ csrfToken: token }), "application/json"],
          ["missingToken", `csrfToken=${token}`, "text/plain"],
          ["missingToken", `csrfToken=${token}`, "multipart/form-data"],
          ["missingToken", "", "application/x-www-form-urlencoded"]
        ]
        for (const [reason, body, type] of refused) {
          const answer = yield* send(`${prefix}/text`, {
            body,
            headers: type === undefined ? {} : { "content-type": type }
          })
          assert.deepStrictEqual([answer.status, JSON.parse(answer.body).reason], [403, reason])
        }
        assert.strictEqual((yield* send(`${prefix}/text`, {})).status, 403)
      })
    )

    live(
      "takes the header if there is one, and does not look at the form then",
      Effect.gen(function*() {
        const { send, token } = yield* site
        const body = new URLSearchParams({ csrfToken: token })
        assert.strictEqual((yield* send(`${prefix}/text`, { body, headers: { "x-csrf-token": "x" } })).status, 403)
        const answer = yield* send(`${prefix}/text`, {
          body: JSON.stringify({ name: "ann" }),
          headers: { "content-type": "application/json", "x-csrf-token": token }
        })
        assert.deepStrictEqual([answer.status, answer.body], [200, `{"name":"ann"}`])
      })
    )

    live(
      "reads a body that arrives in pieces and without a length",
      Effect.gen(function*() {
        const { send, token } = yield* site
        const bytes = Buffer.from(`name=ann&csrfToken=${token}`)
        const body = new ReadableStream<Uint8Array>({
          pull: async (controller) => {
            await new Promise((resolve) => setImmediate(resolve))
            const at = pulled++
            if (at < bytes.length) controller.enqueue(Uint8Array.from(bytes.subarray(at, at + 1)))
            else controller.close()
          }
        })
        let pulled = 0
        const answer = yield* send(`${prefix}/text`, {
          body,
          duplex: "half",
          headers: { "content-type": "application/x-www-form-urlencoded; charset=UTF-8" }
        })
        assert.deepStrictEqual([answer.status, answer.body], [200, String(bytes)])
      })
    )
  })
}

describe("a body that a middleware has read before", () => {
  const early = (read: Effect.Effect<unknown, unknown, HttpServerRequest.HttpServerRequest>) =>
    onNode(HttpServer.serve(
      Effect.zipRight(
        Effect.flatMap(Request, ({ url }) => url === "/login" ? Effect.void : Effect.orDie(read)),
        Csrf.middleware(Visitor)(HttpRouter.post(app, "/ignore", Effect.succeed(text("ignored"))))
      )
    ))

  live(
    "as text, is read again from there",
    Effect.gen(function*() {
      const { send, token } = yield* early(Effect.flatMap(Request, (request) => request.text))
      const answer = yield* send("/text", { body: new URLSearchParams({ csrfToken: token }) })
      assert.deepStrictEqual([answer.status, answer.body], [200, `csrfToken=${token}`])
    })
  )

  live(
    "as a stream, is gone, so that the header is needed",
    Effect.gen(function*() {
      const { send, token } = yield* early(Effect.flatMap(Request, ({ stream }) => Stream.runDrain(stream)))
      for (const body of [new URLSearchParams({ csrfToken: token }), formOf([["csrfToken", token]])]) {
        assert.strictEqual((yield* send("/ignore", { body })).status, 403)
        const answer = yield* send("/ignore", { body, headers: { "x-csrf-token": token } })
        assert.deepStrictEqual([answer.status, answer.body], [200, "ignored"])
      }
    })
  )
})

live(
  "the field has another name, also one that needs quotes",
  Effect.gen(function*() {
    const site = yield* onNode(HttpServer.serve(Csrf.middleware(Visitor, { field: "form; token=1" })(app)))
    const { send, token } = site
    for (const body of [new URLSearchParams({ "form; token=1": token }), formOf([["form; token=1", token]])]) {
      assert.strictEqual((yield* send("/stream", { body })).status, 200)
    }
  })
)

live(
  "a large form that is refused leaves the connection usable",
  Effect.gen(function*() {
    const { send, token } = yield* onNode(HttpServer.serve(Csrf.middleware(Visitor)(app)))
    for (let time = 0; time < 3; time++) {
      const refused = yield* send("/stream", { body: formOf([["file", fileOf(large)]]) })
      assert.strictEqual(refused.status, 403)
      const answer = yield* send("/text", { body: new URLSearchParams({ csrfToken: token }) })
      assert.strictEqual(answer.status, 200)
    }
  })
)

describe("HTTP/2", () => {
  for (const withLength of [true, false]) {
    live(
      `reads the field of a urlencoded form, and leaves the body to the handler, ${
        withLength ? "with" : "without"
      } a length`,
      Effect.gen(function*() {
        const port = yield* serve(
          HttpServer.serve(Csrf.middleware(Visitor)(app)).pipe(
            Layer.provide(Visitor.layer),
            Layer.provide(MemoryEngine.layer),
            Layer.provide(NodeContext.layer)
          ),
          // Its requests and responses have the interface of HTTP/1.
          () => Http2.createServer() as unknown as Http.Server
        )
        const { send, token } = yield* loggedIn((path, cookie, init) =>
          Effect.async<RawAnswer>((resume) => {
            const client = Http2.connect(`http://127.0.0.1:${port}`)
            const body = init.body === undefined ? "" : String(init.body)
            const stream = client.request({
              ...Object.fromEntries(new Headers(init.headers)),
              ":path": path,
              ":method": "POST",
              ...cookie === undefined ? {} : { cookie },
              ...body === "" ? {} : { "content-type": "application/x-www-form-urlencoded" },
              ...body !== "" && withLength ? { "content-length": String(body.length) } : {}
            })
            let head: ReadonlyArray<readonly [string, string]> = []
            let status = 0
            const chunks: Array<Buffer> = []
            stream.on("response", (headers) => {
              status = Number(headers[":status"])
              head = Object.entries(headers).flatMap(([name, value]) =>
                [value].flat().map((one) => [name, String(one)] as const)
              )
            })
            stream.on("data", (chunk) => chunks.push(chunk))
            stream.on("end", () => {
              client.destroy()
              resume(Effect.succeed({ status, headers: head, body: Buffer.concat(chunks).toString() }))
            })
            stream.end(body)
          })
        )
        const answer = yield* send("/text", { body: `name=ann&csrfToken=${token}` })
        assert.deepStrictEqual([answer.status, answer.body], [200, `name=ann&csrfToken=${token}`])
      })
    )
  }
})
