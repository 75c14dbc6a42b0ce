/**
 * Lower bound: a handwritten implementation on the same HTTP platform with only what these routes need. In memory it hashes the
 * token, stores JSON with a version, and repeats a change on a version conflict. In the cookie it seals JSON with the cipher of
 * the library. It has no schema, no idle limit and no observability.
 */
import { HttpApp, HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { createHash, randomBytes } from "node:crypto"
import { createServer } from "node:http"
import { xchacha20Poly1305 } from "../src/internal/crypto/cipher.js"
import { type Data, data, type Make, type Options, webApp } from "./app.js"
import { listening } from "./listening.js"

const name = "session"
const lifetime = 86_400_000
const attributes = "; Max-Age=86400; Path=/; HttpOnly; Secure; SameSite=Lax"

const ok = HttpServerResponse.text("ok", { headers: { vary: "Cookie" } })
const setting = (value: string) => HttpServerResponse.setHeader(ok, "set-cookie", `${name}=${value}${attributes}`)

const removed = HttpServerResponse.setHeader(ok, "set-cookie", `${name}=; Max-Age=0; Path=/`)

const valueIn = (header: string | undefined): string | undefined => {
  const start = header?.indexOf(`${name}=`) ?? -1
  if (header === undefined || start < 0) return undefined
  const end = header.indexOf(";", start)
  return header.slice(start + name.length + 1, end < 0 ? undefined : end)
}

/** Access to the session of a cookie. */
interface Sessions {
  readonly load: (cookie: string) => Data | undefined
  /** Returns the response, or `undefined` if the session does not exist or another request has changed it since `load`. */
  readonly save: (cookie: string, before: Data, after: Data) => HttpServerResponse.HttpServerResponse | undefined
  readonly create: (data: Data) => HttpServerResponse.HttpServerResponse
  readonly destroy: (cookie: string) => void
}

const inMemory = (): Sessions => {
  interface Entry {
    readonly json: string
    readonly version: number
    readonly expires: number
  }
  const entries = new Map<string, Entry>()
  const versions = new WeakMap<Data, number>()
  const keyOf = (token: string) => createHash("sha256").update(token).digest("base64url")
  const alive = (key: string) => {
    const entry = entries.get(key)
    return entry !== undefined && entry.expires > Date.now() ? entry : undefined
  }
  return {
    load: (cookie) => {
      const entry = alive(keyOf(cookie))
      if (entry === undefined) return undefined
      const data: Data = JSON.parse(entry.json)
      versions.set(data, entry.version)
      return data
    },
    save: (cookie, before, after) => {
      const key = keyOf(cookie)
      const entry = alive(key)
      if (entry === undefined || entry.version !== versions.get(before)) return undefined
      entries.set(key, { json: JSON.stringify(after), version: entry.version + 1, expires: entry.expires })
      return ok
    },
    create: (data) => {
      const token = randomBytes(32).toString("base64url")
      entries.set(keyOf(token), { json: JSON.stringify(data), version: 1, expires: Date.now() + lifetime })
      return setting(token)
    },
    destroy: (cookie) => void entries.delete(keyOf(cookie))
  }
}

const inCookie = (): Sessions => {
  const aead = xchacha20Poly1305(randomBytes(32))
  const aad = Buffer.from(name)
  const seal = (content: object) => {
    const nonce = randomBytes(24)
    return Buffer.concat([nonce, aead.seal(nonce, aad, Buffer.from(JSON.stringify(content)))]).toString("base64url")
  }
  const create = (data: Data) => setting(seal({ data, expires: Date.now() + lifetime }))
  return {
    load: (cookie) => {
      const bytes = Buffer.from(cookie, "base64url")
      if (bytes.length < 24 + 16) return undefined
      const opened = aead.open(bytes.subarray(0, 24), aad, bytes.subarray(24))
      if (opened === undefined) return undefined
      const content: { readonly data: Data; readonly expires: number } = JSON.parse(Buffer.from(opened).toString())
      return content.expires > Date.now() ? content.data : undefined
    },
    save: (_cookie, _before, after) => create(after),
    create,
    destroy: () => {}
  }
}

const cookie = Effect.map(HttpServerRequest.HttpServerRequest, ({ headers }) => valueIn(headers["cookie"]))
const gone = HttpServerResponse.text("none", { status: 409 })

const router = ({ create, destroy, load, save }: Sessions, pause: Options["pause"]) => {
  const read = (show: (data: Data) => string) =>
    Effect.map(cookie, (cookie) => {
      const data = cookie === undefined ? undefined : load(cookie)
      return HttpServerResponse.text(data === undefined ? "none" : show(data), { headers: { vary: "Cookie" } })
    })
  const increment = (cookie: string, data: Data | undefined): HttpServerResponse.HttpServerResponse => {
    if (data === undefined) return gone
    return save(cookie, data, { ...data, count: data.count + 1 }) ?? increment(cookie, load(cookie))
  }
  return HttpRouter.empty.pipe(
    HttpRouter.get("/hello", Effect.succeed(HttpServerResponse.text("ok"))),
    HttpRouter.get("/untouched", Effect.succeed(HttpServerResponse.text("ok"))),
    HttpRouter.get("/read", read(({ user }) => user)),
    HttpRouter.get("/modify", Effect.map(cookie, (cookie = "") => increment(cookie, load(cookie)))),
    HttpRouter.get("/create", Effect.sync(() => create(data))),
    HttpRouter.get(
      "/held",
      Effect.flatMap(cookie, (cookie = "") => {
        const data = load(cookie)
        return Effect.map(Effect.promise(pause), () => increment(cookie, data))
      })
    ),
    HttpRouter.get("/count", read(({ count }) => String(count))),
    HttpRouter.get(
      "/logout",
      Effect.map(cookie, (cookie) => {
        if (cookie !== undefined) destroy(cookie)
        return removed
      })
    )
  )
}

export const make: Make = async ({ pause, store }) => {
  if (store._tag !== "memory" && store._tag !== "cookie") throw new Error(`by hand there is no ${store._tag}`)
  const routes = router(store._tag === "memory" ? inMemory() : inCookie(), pause)
  return webApp(HttpApp.toWebHandler(routes), () => {
    const server = createServer()
    Effect.runFork(
      Layer.launch(Layer.provide(HttpServer.serve(routes), NodeHttpServer.layer(() => server, { port: 0 })))
    )
    return listening(server)
  })
}
