/**
 * What can be chosen, and the packages that each choice needs.
 */

export type Dependencies = Readonly<Record<string, string>>

interface Choice {
  readonly title: string
  readonly dependencies: Dependencies
  /** Packages whose install scripts must run. */
  readonly allowScripts?: ReadonlyArray<string>
}

export const frontEnds = {
  "http-api": { title: "Pages by HttpLayerRouter, and an HttpApi", dependencies: {} },
  "router": { title: "Pages by HttpLayerRouter", dependencies: {} }
} as const satisfies Readonly<Record<string, Choice>>

const sql = { "@effect/sql": "0.52.1" }

export const engines = {
  postgres: { title: "Postgres", dependencies: { ...sql, "@effect/sql-pg": "0.53.0" } },
  sqlite: {
    title: "a SQLite file",
    dependencies: { ...sql, "@effect/sql-sqlite-node": "0.53.0" },
    allowScripts: ["better-sqlite3"]
  },
  mysql: { title: "MySQL or MariaDB", dependencies: { ...sql, "@effect/sql-mysql2": "0.53.0" } },
  redis: { title: "Redis", dependencies: { ioredis: "5.11.1" } },
  files: { title: "files", dependencies: {} },
  memory: { title: "memory, for one process that may lose its sessions", dependencies: {} },
  cookie: { title: "sealed cookies, with a record in a file for each", dependencies: {} }
} as const satisfies Readonly<Record<string, Choice>>

export type FrontEnd = keyof typeof frontEnds
export type Engine = keyof typeof engines

export const isFrontEnd = (name: string): name is FrontEnd => Object.hasOwn(frontEnds, name)
export const isEngine = (name: string): name is Engine => Object.hasOwn(engines, name)

export const dependenciesOf = (frontEnd: FrontEnd, engine: Engine, version: string): Dependencies => ({
  "@effect/platform": "0.97.2",
  "@effect/platform-node": "0.108.2",
  "effect": "3.22.4",
  "effect-session": version,
  ...frontEnds[frontEnd].dependencies,
  ...engines[engine].dependencies
})

export const devDependencies: Dependencies = {
  "@effect/vitest": "0.30.0",
  "@types/node": "20.19.43",
  "tsx": "4.23.15",
  "typescript": "7.0.2",
  "vitest": "3.2.7"
}

export const allowedScripts = (engine: Engine): Readonly<Record<string, boolean>> => {
  const choice: Choice = engines[engine]
  return Object.fromEntries(["esbuild", ...choice.allowScripts ?? []].map((name) => [name, true]))
}
