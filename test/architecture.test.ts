/**
 * The floors of the design: imports point down, and floor 0 knows only `effect`.
 */
import { readdirSync, readFileSync } from "node:fs"
import { assert, describe, it } from "vitest"

/** Which floor a module stands on. A module that is not named here fails the test: it has no place yet. */
const floors: Readonly<Record<string, number>> = {
  // 0 domain: pure, no clock, no tag, no I/O
  "internal/json": 0,
  Json: 0,
  CookieHeader: 0,
  Expiry: 0,
  Lifetime: 0,
  Merge: 0,
  SessionChange: 0,
  SessionConfigError: 0,
  SessionCookie: 0,
  SessionDraft: 0,
  ReadOnce: 0,
  SessionHistory: 0,
  SessionId: 0,
  SessionRecord: 0,
  SessionSchema: 0,
  SessionToken: 0,
  StoreKey: 0,
  // 1 contracts
  "internal/damaged": 1,
  "internal/defects": 1,
  "internal/intercepted": 1,
  "internal/isolates": 1,
  "internal/pages": 1,
  RedisClient: 2,
  RedisStore: 2,
  "internal/redisCalls": 2,
  "internal/redisDirectory": 2,
  "internal/redisEnds": 2,
  "internal/redisHomes": 2,
  "internal/redisIds": 2,
  "internal/redisLua": 2,
  "internal/redisReady": 2,
  "internal/redisRecord": 2,
  "internal/redisRotation": 2,
  "internal/redisScripts": 2,
  "internal/redisServer": 2,
  "internal/redisShard": 2,
  "internal/base64url": 1,
  "internal/cipher": 1,
  "internal/cookieRecord": 1,
  "internal/crypto": 1,
  "internal/native": 1,
  "internal/rootKeys": 1,
  "internal/wire": 1,
  Keyring: 1,
  SessionMetrics: 1,
  SessionCodec: 1,
  SessionDirectory: 1,
  SessionEngine: 1,
  SessionMaintenance: 1,
  SessionRevocation: 1,
  SessionInvalidation: 1,
  SessionStore: 1,
  // 2 back ends
  "internal/d1Driver": 2,
  "internal/mysqlDriver": 2,
  "internal/pgDriver": 2,
  "internal/sqlCalls": 2,
  "internal/sqlCancel": 2,
  "internal/sqlConnection": 2,
  "internal/sqlDriver": 2,
  "internal/sqlDurability": 2,
  "internal/sqlEpochs": 2,
  "internal/sqlRows": 2,
  "internal/sqlStart": 2,
  "internal/sqlStatements": 2,
  "internal/sqlTables": 2,
  "internal/fileContent": 2,
  "internal/fileDisk": 2,
  "internal/fileEpochs": 2,
  "internal/fileIndex": 2,
  "internal/fileLookUp": 2,
  "internal/fileNames": 2,
  "internal/fileRecords": 2,
  "internal/fileRoot": 2,
  "internal/fileSweep": 2,
  "internal/fileWrites": 2,
  "internal/sortedList": 2,
  "internal/memoryIndex": 2,
  "internal/memoryTable": 2,
  "internal/cookieLedger": 2,
  "internal/generations": 0,
  "internal/ledgerEngine": 2,
  "internal/storeCalls": 2,
  "internal/deadline": 2,
  CacheEngine: 2,
  "internal/sealedText": 1,
  CookieEngine: 2,
  SealedStore: 2,
  CacheStore: 2,
  FileEngine: 2,
  FileStore: 2,
  CachedSqlEngine: 2,
  MigratingStore: 2,
  ObservedStore: 2,
  "internal/asideKey": 2,
  "internal/marks": 2,
  "internal/movedDirectory": 2,
  "internal/mover": 2,
  PgInvalidation: 2,
  "internal/packets": 2,
  "internal/tierFront": 2,
  "internal/tiers": 2,
  MemoryEngine: 2,
  MemoryStore: 2,
  SqlEngine: 2,
  SqlMigrations: 2,
  SqlStore: 2,
  StoredEngine: 2,
  TieredStore: 2,
  // 3 service
  "internal/commit": 3,
  "internal/engineById": 3,
  "internal/core": 3,
  "internal/ended": 3,
  "internal/handle": 3,
  "internal/inPlace": 3,
  "internal/liveSession": 3,
  "internal/loader": 3,
  "internal/opening": 3,
  "internal/outside": 3,
  "internal/queue": 3,
  "internal/presented": 3,
  "internal/progress": 3,
  "internal/refusals": 3,
  "internal/requestHandle": 3,
  "internal/settlement": 3,
  "internal/sightings": 3,
  "internal/taking": 3,
  "internal/turns": 3,
  "internal/watchers": 3,
  SessionAdmin: 3,
  SessionConfig: 3,
  SessionError: 3,
  SessionHandle: 3,
  SessionReaper: 3,
  SessionService: 3,
  // 4 http, and the tag that binds it all
  "internal/edge": 4,
  Session: 4,
  SessionErrorPage: 4,
  SessionHttpApi: 4,
  SessionMiddleware: 4,
  SessionRpc: 4,
  index: 5,
  // 5 tools
  "internal/testing/capabilityLaws": 5,
  "internal/testing/cleanUpLaws": 5,
  "internal/testing/clockLaws": 5,
  "internal/testing/createLaws": 5,
  "internal/testing/damageLaws": 5,
  "internal/testing/dataLaws": 5,
  "internal/testing/directoryLaws": 5,
  "internal/testing/endLaws": 5,
  "internal/testing/engineLaws": 5,
  "internal/testing/interleave": 5,
  "internal/testing/law": 5,
  "internal/testing/model": 5,
  "internal/testing/raceLaws": 5,
  "internal/testing/records": 5,
  "internal/testing/revocationLaws": 5,
  "internal/testing/rotateLaws": 5,
  "internal/testing/saveLaws": 5,
  "internal/testing/secrecyLaws": 5,
  "internal/testing/service": 5,
  "internal/testing/serviceLaws": 5,
  "internal/testing/storeLaws": 5,
  "internal/testing/touchLaws": 5,
  Law: 5,
  FaultyStore: 5,
  SessionTest: 5,
  testing: 5,
  "internal/cliCopy": 5,
  "internal/cliDatabase": 5,
  "internal/cliKeys": 5,
  "internal/cliStore": 5,
  "internal/cliVerdict": 5,
  Cli: 5,
  bin: 5
}

/** What belongs to one back end, besides what every engine is made of. */
const backEnds: ReadonlyArray<ReadonlyArray<string>> = [
  ["MemoryEngine", "MemoryStore"],
  ["CacheStore"],
  [
    "RedisClient",
    "RedisStore",
    "internal/redisCalls",
    "internal/redisDirectory",
    "internal/redisEnds",
    "internal/redisHomes",
    "internal/redisIds",
    "internal/redisLua",
    "internal/redisReady",
    "internal/redisRecord",
    "internal/redisRotation",
    "internal/redisScripts",
    "internal/redisServer",
    "internal/redisShard"
  ],
  [
    "FileEngine",
    "FileStore",
    "internal/fileContent",
    "internal/fileDisk",
    "internal/fileEpochs",
    "internal/fileIndex",
    "internal/fileLookUp",
    "internal/fileNames",
    "internal/fileRecords",
    "internal/fileRoot",
    "internal/fileSweep",
    "internal/fileWrites"
  ],
  [
    "SqlEngine",
    "SqlMigrations",
    "SqlStore",
    "internal/d1Driver",
    "internal/mysqlDriver",
    "internal/pgDriver",
    "internal/sqlCalls",
    "internal/sqlCancel",
    "internal/sqlConnection",
    "internal/sqlDriver",
    "internal/sqlDurability",
    "internal/sqlEpochs",
    "internal/sqlRows",
    "internal/sqlStart",
    "internal/sqlStatements",
    "internal/sqlTables"
  ]
]

/** The part of the platform that has nothing to do with HTTP. */
const files = new Set(["Error", "FileSystem", "Path"].map((name) => `@effect/platform/${name}`))

/** Modules that an API definition shared with a browser imports. */
const portable = 4

const modules = readdirSync("src", { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => file.replace(/\.ts$/, ""))

const importsOf = (module: string): ReadonlyArray<string> =>
  [
    ...readFileSync(`src/${module}.ts`, "utf8").replaceAll(/\/\*\*[\s\S]*?\*\//g, "").matchAll(
      /^(?:import|export)\b[^"]*?from "([^"]+)"$/gm
    )
  ]
    .flatMap((match) => match[1] ?? [])

/** The module that a relative import names. */
const resolve = (from: string, path: string): string =>
  new URL(path.replace(/\.js$/, ""), `file:///${from}`).pathname.slice(1)

const own = (module: string) =>
  importsOf(module).filter((path) => path.startsWith(".")).map((path) => resolve(module, path))
const foreign = (module: string) => importsOf(module).filter((path) => !path.startsWith("."))

describe("architecture", () => {
  it("every module has its floor", () => {
    assert.deepStrictEqual([...modules].sort(), Object.keys(floors).sort())
  })

  it("imports point down, or stay on the floor", () => {
    const upwards = modules.flatMap((module) =>
      own(module).filter((other) => (floors[other] ?? 99) > (floors[module] ?? -1)).map((other) =>
        `${module} → ${other}`
      )
    )
    assert.deepStrictEqual(upwards, [])
  })

  it("floor 0 knows only effect", () => {
    const others = modules.filter((module) => floors[module] === 0)
      .flatMap((module) =>
        foreign(module).filter((path) => !path.startsWith("effect/")).map((path) => `${module} → ${path}`)
      )
    assert.deepStrictEqual(others, [])
  })

  it("the modules below HTTP do not know HTTP, but for the errors that answer by themselves", () => {
    const http = modules.filter((module) => (floors[module] ?? 0) < 4 && module !== "SessionError")
      .flatMap((module) =>
        foreign(module).filter((path) => path.startsWith("@effect/platform") && !files.has(path))
          .map((path) => `${module} → ${path}`)
      )
    assert.deepStrictEqual(http, [])
  })

  it("a back end never imports another", () => {
    const strangers = backEnds.flatMap((backEnd) =>
      backEnd.flatMap((module) =>
        own(module).filter((other) => backEnds.some((rest) => rest !== backEnd && rest.includes(other)))
          .map((other) => `${module} → ${other}`)
      )
    )
    assert.deepStrictEqual(strangers, [])
  })

  it("no module of the library imports node, and drivers are imported by their own modules only", () => {
    const node = modules.flatMap((module) =>
      foreign(module).filter((path) => path.startsWith("node:")).map((path) => `${module} → ${path}`)
    )
    assert.deepStrictEqual(node, [])
    const sql = modules.filter((module) => foreign(module).some((path) => path.startsWith("@effect/sql")))
    assert.deepStrictEqual(sql.sort(), [
      "CachedSqlEngine",
      "PgInvalidation",
      "SqlEngine",
      "SqlMigrations",
      "SqlStore",
      "internal/cliDatabase",
      "internal/d1Driver",
      "internal/mysqlDriver",
      "internal/pgDriver",
      "internal/sqlCalls",
      "internal/sqlCancel",
      "internal/sqlConnection",
      "internal/sqlDriver",
      "internal/sqlDurability",
      "internal/sqlStart"
    ])
    // The command line loads the driver in use, and its program what it is made of, when they are needed.
    const lazy = modules.flatMap((module) =>
      [...readFileSync(`src/${module}.ts`, "utf8").matchAll(/(?<![\w"])import\("([^"]+)"\)/g)].map((match) =>
        `${module} → ${match[1]}`
      )
    )
    assert.deepStrictEqual(lazy.sort(), [
      "bin → ./Cli.js",
      "bin → @effect/platform-node/NodeContext",
      "bin → @effect/platform-node/NodeRuntime",
      "bin → effect/Effect",
      "internal/cliDatabase → @effect/sql-mysql2/MysqlClient",
      "internal/cliDatabase → @effect/sql-pg/PgClient",
      "internal/cliDatabase → @effect/sql-sqlite-node/SqliteClient",
      "internal/cliStore → ioredis"
    ])
    const reachable = (module: string, seen = new Set<string>()): Set<string> => {
      if (!seen.has(module)) {
        seen.add(module)
        for (const other of own(module)) reachable(other, seen)
      }
      return seen
    }
    assert.deepStrictEqual([...reachable("index")].filter((module) => module.startsWith("Sql")), [])
    assert.isTrue([...reachable("Session")].every((module) => (floors[module] ?? 99) <= portable))
  })

  it("no cycles", () => {
    const done = new Set<string>()
    const visit = (module: string, path: ReadonlyArray<string>): ReadonlyArray<string> => {
      if (path.includes(module)) return [[...path, module].join(" → ")]
      if (done.has(module)) return []
      const cycles = own(module).flatMap((other) => visit(other, [...path, module]))
      done.add(module)
      return cycles
    }
    assert.deepStrictEqual(modules.flatMap((module) => visit(module, [])), [])
  })

  it("no module imports the barrel of effect", () => {
    const barrels = modules.flatMap((module) =>
      foreign(module).filter((path) => path === "effect" || /^@effect\/[a-z-]+$/.test(path)).map((path) =>
        `${module} → ${path}`
      )
    )
    assert.deepStrictEqual(barrels, [])
  })
})
