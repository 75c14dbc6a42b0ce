/**
 * The programs of `docs/getting-started.md`, each copied out of the repository: it type-checks with the packed library, and
 * answers the requests of the page.
 */
import { Cookies, FetchHttpClient, HttpClient } from "@effect/platform"
import { RpcClient, RpcSerialization } from "@effect/rpc"
import { Effect, Layer, Ref } from "effect"
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { Calls } from "../examples/getting-started/rpc/group.js"
import { install, run } from "./support/packedPackage.js"
import { started } from "./support/startedProject.js"

const outside = mkdtempSync(Path.join(tmpdir(), "effect-session-start-"))
const root = process.cwd()
const page = readFileSync("docs/getting-started.md", "utf8")
const names = readdirSync("examples/getting-started").sort()

beforeAll(async () => {
  await install(outside)
  for (const tool of [".bin", "srvx", "tsx"]) {
    symlinkSync(Path.join(root, "node_modules", tool), Path.join(outside, "node_modules", tool))
  }
  for (const name of names) {
    cpSync(Path.join("examples/getting-started", name), Path.join(outside, name), {
      recursive: true,
      filter: (path) => !/node_modules|sqlite/.test(path)
    })
  }
})

afterAll(() => rmSync(outside, { recursive: true, force: true }))

/** A browser that keeps its cookie. The answer is the body, or the status if there is none. */
const browserOf = (base: string) => {
  let cookie = ""
  return async (method: string, path: string, body?: object): Promise<unknown> => {
    const response = await fetch(base + path, {
      method,
      headers: { cookie, ...body === undefined ? {} : { "content-type": "application/json" } },
      ...body === undefined ? {} : { body: JSON.stringify(body) }
    })
    cookie = response.headers.getSetCookie()[0]?.split(";")[0] ?? cookie
    const text = await response.text()
    return text === "" ? response.status : JSON.parse(text)
  }
}

describe("docs/getting-started.md", () => {
  it("has a section for each front end", () => {
    assert.deepStrictEqual(names, ["http-api", "http-layer-router", "http-router", "rpc", "web-handler"])
  })

  for (const name of names) {
    const manifest = JSON.parse(readFileSync(`examples/getting-started/${name}/package.json`, "utf8"))

    it(`${name}: the folder depends on the packages that its programs import, in the versions that are tested here`, () => {
      const { devDependencies, version } = JSON.parse(readFileSync("package.json", "utf8"))
      const tested = { ...devDependencies, "effect-session": version }
      const needed = { ...manifest.dependencies, ...manifest.devDependencies }
      for (const [dependency, exact] of Object.entries(needed)) {
        assert.strictEqual(tested[dependency], exact, dependency)
      }
      const imported = readdirSync(`examples/getting-started/${name}`).filter((file) => file.endsWith(".ts")).flatMap(
        (file) =>
          [
            ...readFileSync(`examples/getting-started/${name}/${file}`, "utf8").matchAll(
              /from "((?:@[^/"]+\/)?[^."@][^/"]*)/g
            )
          ]
            .map(([, dependency = ""]) => dependency)
      ).filter((dependency) => !dependency.startsWith("node:"))
      assert.includeMembers(Object.keys(manifest.dependencies), imported)
      assert.include(imported, "effect-session")
    })

    it(`${name}: the folder type-checks outside of the repository`, async () => {
      await run("npm", ["run", "--silent", "check"], Path.join(outside, name))
    })
  }

  for (const name of names.filter((name) => name !== "rpc")) {
    it(`${name}: npm start prints the address of a server that counts, logs in and logs out`, () =>
      Effect.gen(function*() {
        const ask = browserOf(yield* started(Path.join(outside, name)))
        const visitor = [
          yield* Effect.promise(() => ask("POST", "/visits")),
          yield* Effect.promise(() => ask("POST", "/login", { name: "ann" })),
          yield* Effect.promise(() => ask("POST", "/visits")),
          yield* Effect.promise(() => ask("POST", "/logout")),
          yield* Effect.promise(() => ask("GET", "/"))
        ]
        assert.deepStrictEqual(visitor, [
          { visits: 1 },
          { user: "ann", visits: 1 },
          { user: "ann", visits: 2 },
          204,
          { visits: 0 }
        ])
      }).pipe(Effect.scoped, Effect.runPromise))
  }

  it("rpc: npm start serves an RPC client that keeps its cookie", () =>
    Effect.gen(function*() {
      const address = yield* started(Path.join(outside, "rpc"))
      const cookies = yield* Ref.make(Cookies.empty)
      const http = Layer.effect(
        HttpClient.HttpClient,
        Effect.map(HttpClient.HttpClient, (client) =>
          HttpClient.filterStatusOk(HttpClient.withCookiesRef(client, cookies)))
      )
      const protocol = RpcClient.layerProtocolHttp({ url: `${address}/rpc` }).pipe(
        Layer.provide([Layer.provide(http, FetchHttpClient.layer), RpcSerialization.layerJson])
      )
      yield* Effect.gen(function*() {
        const client = yield* RpcClient.make(Calls)
        assert.deepStrictEqual(yield* client.Visit(), { visits: 1 })
        assert.deepStrictEqual(yield* client.Login({ name: "ann" }), { user: "ann", visits: 1 })
        assert.deepStrictEqual(yield* client.Visit(), { user: "ann", visits: 2 })
        yield* client.Logout()
        assert.deepStrictEqual(yield* client.Show(), { visits: 0 })
      }).pipe(Effect.provide(protocol))

      const printed = yield* Effect.promise(() =>
        run("env", [`PORT=${new URL(address).port}`, "npm", "run", "--silent", "client"], Path.join(outside, "rpc"))
      )
      const [, shown] = /\$ npm run --silent client\n([^]*?)```/.exec(page) ?? []
      assert.strictEqual(printed, shown)
    }).pipe(Effect.scoped, Effect.runPromise))
})
