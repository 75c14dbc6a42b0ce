/**
 * Cost of a session in its cookie: opening and sealing it, compared with the bare cipher and JSON, and of a request in process.
 * `npm run bench -- sealed`
 */
import { Effect, Option, Redacted } from "effect"
import * as CookieEngine from "effect-session/CookieEngine"
import * as Keyring from "effect-session/Keyring"
import { SessionEngine } from "effect-session/SessionEngine"
import type { SessionRecord } from "effect-session/SessionRecord"
import { randomBytes } from "node:crypto"
import { xchacha20Poly1305 } from "../src/internal/crypto/cipher.js"
import * as Ids from "../src/internal/domain/id.js"
import { data } from "./app.js"
import { floor, ours } from "./contenders.js"
import { interleaved, measured, options } from "./harness.js"
import { atMost, type Budget, publish, ratio, withSpread } from "./report.js"
import { measureRequests } from "./requests.js"

const rounds = options.rounds(25)
const cookieName = "__Host-Http-session"
const json = JSON.stringify(data)
const now = Date.now()
const record: SessionRecord = {
  namespace: "bench",
  id: Ids.fromBytes(randomBytes(16)),
  data: json,
  schemaVersion: 1,
  subject: "u-1",
  version: 1,
  writeId: "bench",
  createdAt: now,
  authenticatedAt: now,
  modifiedAt: now,
  lastSeenAt: now,
  expiry: { at: now + 3_600_000, deadline: now + 86_400_000, lifetime: undefined },
  attributes: undefined
}

const engine = await Effect.runPromise(
  Effect.flatMap(SessionEngine, ({ bind }) => bind({ namespace: "bench", cookieName })).pipe(
    Effect.provide(CookieEngine.layer),
    Effect.provide(Keyring.layer([{ id: "k1", secret: Redacted.make(randomBytes(32).toString("base64url")) }]))
  )
)
const written = await Effect.runPromise(engine.write({ _tag: "Create", record }, now))
if (written._tag !== "Written") throw new Error("the session was not sealed")

const aead = xchacha20Poly1305(randomBytes(32))
const aad = Buffer.from(cookieName)
const seal = () => {
  const nonce = randomBytes(24)
  return Buffer.concat([nonce, aead.seal(nonce, aad, Buffer.from(JSON.stringify(data)))]).toString("base64url")
}
const sealed = seal()

/** Microseconds of CPU time of one call. */
const timed = (call: () => unknown) => async () => {
  const before = process.cpuUsage()
  for (let i = 0; i < 1000; i++) call()
  const { system, user } = process.cpuUsage(before)
  return (system + user) / 1000
}

const operations = await interleaved(
  new Map([
    [
      "bare open",
      timed(() => {
        const bytes = Buffer.from(sealed, "base64url")
        const opened = aead.open(bytes.subarray(0, 24), aad, bytes.subarray(24))
        return JSON.parse(Buffer.from(opened ?? []).toString())
      })
    ],
    [
      "engine open",
      timed(() => JSON.parse(Option.getOrThrow(Effect.runSync(engine.open(written.value, now))).record.data))
    ],
    ["bare seal", timed(seal)],
    [
      "engine seal",
      timed(() =>
        Effect.runSync(engine.write({ _tag: "Create", record: { ...record, data: JSON.stringify(data) } }, now))
      )
    ]
  ]),
  { rounds, warmUp: 5 }
)
const of = (operation: string) => operations.results.get(operation) ?? measured([])
const toBare = (operation: "open" | "seal") => of(`engine ${operation}`).median / of(`bare ${operation}`).median

const requests = await measureRequests({ _tag: "cookie" }, rounds)
const native = "@fastify/secure-session"
const peers = requests.contenders.filter((name) => ![ours, floor, native].includes(name))
const ahead = (scenario: "read" | "modify"): ReadonlyArray<Budget> =>
  peers.length === 0 ? [] : [atMost(
    `${scenario}: adds less than the best peer without native libsodium, µs`,
    requests.tax(ours, scenario),
    Math.min(...peers.map((name) => requests.tax(name, scenario)))
  )]

publish({
  name: "sealed",
  title: "In process, sessions in the cookie",
  about:
    `A session of ${json.length} bytes of JSON, in a cookie of ${Redacted.value(written.value).length} characters ` +
    "(XChaCha20-Poly1305). `cookie-session` signs only, so the cookie can be read. A cookie that was copied before " +
    "a logout stays valid with every contender, because the server stores nothing; ours can be revoked with `layerLedger`, " +
    "which is not measured here.",
  rounds,
  noise: requests.noise,
  tables: [
    {
      title: "The cookie alone, µs",
      columns: ["", "bare cipher and JSON", "`CookieEngine` and JSON", "ratio"],
      rows: (["open", "seal"] as const).map((operation) => [
        operation,
        withSpread(of(`bare ${operation}`)),
        withSpread(of(`engine ${operation}`)),
        ratio(toBare(operation), 1)
      ])
    },
    ...requests.tables
  ],
  plots: requests.plots,
  budgets: [
    atMost("open, to the bare cipher and JSON", toBare("open"), 2),
    atMost("seal, to the bare cipher and JSON", toBare("seal"), 2),
    ...ahead("read"),
    ...ahead("modify")
  ]
})
