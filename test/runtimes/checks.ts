/**
 * Checks of a runtime from outside, by HTTP requests.
 */

export interface Answer {
  readonly status: number
  readonly text: string
  readonly setCookies: ReadonlyArray<string>
}

export type Send = (path: string, cookie?: string) => Promise<Answer>

export interface Outcome {
  readonly name: string
  /** Absent if the check has passed. */
  readonly problem?: string
}

interface Overview {
  readonly engines: ReadonlyArray<string>
  readonly stores: ReadonlyArray<string>
  readonly laws: ReadonlyArray<string>
  /** Where the runtime finds the library. */
  readonly library: string
}

/** Concurrent updates of one session. */
const updates = Array.from({ length: 20 }, (_, i) => i)

/** Runs all checks on all engines of a server. */
export const checks = async (send: Send): Promise<ReadonlyArray<Outcome>> => {
  const overview: Overview = JSON.parse((await send("/")).text)
  const outcomes = [
    await outcomeOf("the packed library is tested", async () => {
      if (!/^bundled$|\/node_modules\/effect-session\/dist\/index\.js$/.test(overview.library)) {
        throw new Error(overview.library)
      }
    })
  ]
  for (const engine of overview.engines) {
    const hasStore = overview.stores.includes(engine)
    for (const [name, check] of hasStore ? [...ofEveryEngine, ...ofStores] : [...ofEveryEngine, ...ofCookies]) {
      outcomes.push(
        await outcomeOf(`${engine}: ${name}`, () => check((path, cookie) => send(`/${engine}/${path}`, cookie)))
      )
    }
    // `npm test` runs the laws on libSQL.
    if (hasStore && engine !== "libsql") outcomes.push(...await laws(engine, overview.laws, send))
  }
  return outcomes
}

type Check = readonly [name: string, run: (send: Send) => Promise<void>]

const outcomeOf = async (name: string, run: () => Promise<void>): Promise<Outcome> => {
  try {
    await run()
    return { name }
  } catch (error) {
    return { name, problem: error instanceof Error ? error.message : String(error) }
  }
}

const equal = (what: string, actual: unknown, expected: unknown) => {
  if (actual !== expected) throw new Error(`${what}: ${String(actual)} instead of ${String(expected)}`)
}

/** The cookie that an answer sets, for the next request. */
const cookieOf = ({ setCookies }: Answer): string => setCookies[0]?.split(";", 1).join("") ?? ""

/** Sends a request that must succeed. */
const ok = async (send: Send, path: string, cookie?: string): Promise<Answer> => {
  const answer = await send(path, cookie)
  equal(`the status of ${path}`, answer.status, 200)
  return answer
}

const ofEveryEngine: ReadonlyArray<Check> = [
  ["an anonymous request sets no cookie", async (send) => {
    const { setCookies, text } = await ok(send, "read")
    equal("the count", text, "0")
    equal("the number of cookies", setCookies.length, 0)
  }],
  ["a login sets a cookie that scripts, other sites and plain HTTP do not get", async (send) => {
    const { setCookies: [cookie = "none"] } = await ok(send, "login")
    if (!cookie.startsWith("__Host-")) throw new Error(`no __Host- cookie: ${cookie}`)
    const attributes = cookie.split("; ").slice(1)
    for (const attribute of ["Path=/", "HttpOnly", "Secure", "SameSite=Lax"]) {
      if (!attributes.includes(attribute)) throw new Error(`no ${attribute} in ${attributes.join("; ")}`)
    }
  }],
  ["a later request reads what earlier ones have written", async (send) => {
    let cookie = cookieOf(await ok(send, "login"))
    for (const expected of ["1", "2", "3"]) {
      const answer = await ok(send, "add", cookie)
      equal("the count", answer.text, expected)
      cookie = cookieOf(answer) === "" ? cookie : cookieOf(answer)
    }
    equal("the count", (await ok(send, "read", cookie)).text, "3")
  }],
  ["a changed cookie is no session", async (send) => {
    const cookie = cookieOf(await ok(send, "add"))
    const at = cookie.length - 10
    const changed = `${cookie.slice(0, at)}${cookie[at] === "A" ? "B" : "A"}${cookie.slice(at + 1)}`
    equal("the count", (await ok(send, "read", changed)).text, "0")
    equal("the count", (await ok(send, "read", cookie)).text, "1")
  }],
  ["a login changes the cookie", async (send) => {
    const cookie = cookieOf(await ok(send, "add"))
    if (cookieOf(await ok(send, "login", cookie)) === cookie) throw new Error("the same cookie")
  }],
  ["a logout removes the cookie from the browser", async (send) => {
    const { setCookies: [cookie = "none"] } = await ok(send, "logout", cookieOf(await ok(send, "login")))
    if (!/^[^=]+=;.*Max-Age=0/i.test(cookie)) throw new Error(cookie)
  }]
]

/** Without a ledger, the server does not remember a cookie: see `docs/cookies.md`. */
const ofCookies: ReadonlyArray<Check> = [
  ["a cookie shows neither the data nor the user", async (send) => {
    const cookie = cookieOf(await ok(send, "login"))
    if (/ann|count/.test(cookie) || /ann|count/.test(atob(/[A-Za-z0-9]{8,}/.exec(cookie)?.[0].slice(0, 8) ?? ""))) {
      throw new Error(cookie)
    }
  }]
]

const ofStores: ReadonlyArray<Check> = [
  ["concurrent updates of one session are all kept", async (send) => {
    const cookie = cookieOf(await ok(send, "login"))
    await Promise.all(updates.map(() => ok(send, "add", cookie)))
    equal("the count", (await ok(send, "read", cookie)).text, String(updates.length))
  }],
  ["a session that has ended stays ended", async (send) => {
    const cookie = cookieOf(await ok(send, "login"))
    await ok(send, "add", cookie)
    await ok(send, "logout", cookie)
    equal("the count", (await ok(send, "read", cookie)).text, "0")
    const again = await send("add", cookie)
    equal("the cookie is a new one", cookieOf(again) !== cookie, true)
    equal("the count", (await ok(send, "read", cookie)).text, "0")
  }],
  ["a login ends the cookie before it", async (send) => {
    const cookie = cookieOf(await ok(send, "add"))
    await ok(send, "login", cookie)
    equal("the count", (await ok(send, "read", cookie)).text, "0")
  }],
  ["a logout during concurrent updates leaves no session", async (send) => {
    const cookie = cookieOf(await ok(send, "login"))
    await Promise.all(updates.map((i) => send(i === 10 ? "logout" : "add", cookie)))
    equal("the count", (await ok(send, "read", cookie)).text, "0")
  }]
]

/** Laws that run a store some hundred times: interleaved requests, random faults. They do not depend on the runtime. */
const isLong = (law: string): boolean =>
  / race, in | fails|fail at random|every order|random orders|any sequence|`revokeOthers` and another/.test(law)

/** Laws of one operation, of concurrent calls and of encodings, which a driver may break on one runtime. */
const isOfDrivers = (law: string): boolean =>
  /^(?:`create`|`save` replaces|`touch` moves|`rotate` moves|`destroy`|`list` returns|`find` returns the|`revokeSubject` ends every|of concurrent|no update|any record|`endReason` of a)/
    .test(law)

/** Runs the published laws on new stores in the runtime, some at a time. */
const laws = async (engine: string, names: ReadonlyArray<string>, send: Send): Promise<ReadonlyArray<Outcome>> => {
  const outcomes: Array<Outcome> = []
  const left = [...names.entries()].filter(([, name]) => engine === "memory" ? !isLong(name) : isOfDrivers(name))
  const worker = async () => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const [number, name] = next
      outcomes.push(
        await outcomeOf(
          `${engine}: ${name}`,
          async () => equal("the law", (await send(`/${engine}/laws/${number}`)).text, "passed")
        )
      )
    }
  }
  await Promise.all([worker(), worker(), worker(), worker()])
  return outcomes
}
