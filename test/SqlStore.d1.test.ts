/**
 * Sessions in Cloudflare D1, in Workers on the real runtime.
 */
import { storeLaws } from "effect-session/testing"
import { build } from "esbuild"
import { Miniflare } from "miniflare"
import { once } from "node:events"
import { get } from "node:http"
import { afterAll, assert, beforeAll, describe, it, vi } from "vitest"

/** Runs a Worker with a new database. */
const run = async (file: string, compatibilityDate: string): Promise<Miniflare> => {
  const { outputFiles } = await build({
    entryPoints: [file],
    bundle: true,
    write: false,
    format: "esm",
    platform: "browser",
    alias: { "effect-session": "./src" },
    logLevel: "silent"
  })
  const script = outputFiles[0]?.text ?? ""
  return new Miniflare({ modules: true, script, compatibilityDate, d1Databases: ["DB"] })
}

/** Concurrent requests of one isolate. */
const many = Array.from({ length: 20 }, (_, i) => i)

/** Before and after the runtime changed to resume a promise in the request that waits for it. */
const compatibilityDates = ["2020-01-01", "2026-04-01"]

describe.each(compatibilityDates)("a Worker of %s with sessions in D1", (compatibilityDate) => {
  let worker: Miniflare
  let origin: URL

  beforeAll(async () => {
    worker = await run("test/support/d1Worker.ts", compatibilityDate)
    origin = await worker.ready
  })

  afterAll(() => worker.dispose())

  const send = async (path: string, cookie = "") => {
    const response = await fetch(new URL(path, origin), { headers: { cookie }, signal: AbortSignal.timeout(20_000) })
    return {
      status: response.status,
      text: await response.text(),
      cookie: response.headers.getSetCookie()[0]?.split(";")[0] ?? ""
    }
  }

  const visitsOf = async (cookie: string) => Number((await send("/", cookie)).text)

  it("answers concurrent requests while its layers are built", async () => {
    const answers = await Promise.all(many.map(() => send("/visit")))
    assert.deepStrictEqual(answers.map(({ status, text }) => `${status} ${text}`), many.map(() => "200 1"))
    assert.lengthOf([...new Set(answers.map(({ cookie }) => cookie))], many.length)
  })

  it("answers concurrent requests of one session and loses no update", async () => {
    const { cookie } = await send("/visit")
    const answers = await Promise.all(many.map(() => send("/visit", cookie)))
    assert.deepStrictEqual(answers.map(({ status }) => status), many.map(() => 200))
    assert.strictEqual(await visitsOf(cookie), 1 + many.length)
  })

  it("answers concurrent logins, logouts and reads of several sessions", async () => {
    const cookies = await Promise.all(many.slice(0, 4).map(async () => (await send("/visit")).cookie))
    const answers = await Promise.all(
      cookies.flatMap((cookie) => ["/visit", "/login", "/visit", "/logout"].map((path) => send(path, cookie)))
    )
    assert.deepStrictEqual(answers.filter(({ status }) => status !== 200 && status !== 409), [])
    assert.deepStrictEqual(await Promise.all(cookies.map(visitsOf)), cookies.map(() => 0))
  })

  it("completes `awaitEnd` when another request has logged out", async () => {
    const { cookie } = await send("/visit")
    const ended = send("/ended", cookie)
    await vi.waitFor(async () => assert.strictEqual((await send("/waiting")).text, "1"), { timeout: 20_000 })
    await send("/logout", cookie)
    const { status, text } = await ended
    assert.strictEqual(`${status} ${text}`, "200 ended")
  })

  it("works after a client has disconnected in the middle of a commit", async () => {
    const { cookie } = await send("/visit")
    await Promise.all(many.map(async (delay) => {
      const signal = AbortSignal.timeout(delay)
      await fetch(new URL("/visit", origin), { headers: { cookie }, signal }).catch(() => undefined)
    }))
    assert.strictEqual((await send("/visit", cookie)).status, 200)
  })

  it("writes and reads an audit table, whose batches have more values than one statement of D1 allows", async () => {
    assert.strictEqual((await send("/audited")).text, "100")
  })

  it("rejects a cache in the isolate, because requests would wait for one another", async () => {
    const { text } = await send("/cached")
    assert.match(text, /TieredStore/)
    assert.match(text, /SqlEngine/)
  })
})

describe("the laws of stores on D1, in a Worker", () => {
  let worker: Miniflare
  let origin: URL

  beforeAll(async () => {
    worker = await run("test/support/d1Laws.ts", "2026-04-01")
    origin = await worker.ready
  })

  afterAll(() => worker.dispose())

  for (const [i, { name }] of storeLaws.entries()) {
    // Laws of interleaved requests run on the other SQL stores, and take minutes here.
    if (/ race, in | fails|fail at random/.test(name)) continue
    it(name, async () => {
      const [text] = await once(get(new URL(`/${i}`, origin), { agent: false }), "response").then(([response]) =>
        response.setEncoding("utf8").toArray()
      )
      assert.strictEqual(text, "passed")
    })
  }
})
