/**
 * The contenders of the benchmarks.
 */
import type { Store } from "./app.js"
import { isInstalled } from "./django.js"

export interface Contender {
  readonly name: string
  /** The module that exports its application. */
  readonly module: string
  readonly framework: string
  readonly stores: ReadonlyArray<Store["_tag"]>
  /** Set for a contender that does not run in Node. */
  readonly overHttpOnly?: true
}

export const ours = "effect-session"
export const floor = "by hand on Effect"
export const django = "Django"

export const contenders: ReadonlyArray<Contender> = [
  {
    name: ours,
    module: "effect-session",
    framework: "Effect platform",
    stores: ["memory", "redis", "postgres", "cookie"]
  },
  { name: floor, module: "by-hand", framework: "Effect platform", stores: ["memory", "cookie"] },
  {
    name: "express-session",
    module: "peers/express-session",
    framework: "Express",
    stores: ["memory", "redis", "postgres"]
  },
  {
    name: "@fastify/session",
    module: "peers/fastify-session",
    framework: "Fastify",
    stores: ["memory", "redis", "postgres"]
  },
  { name: "hono-sessions", module: "peers/hono-sessions", framework: "Hono", stores: ["memory", "cookie"] },
  { name: "@fastify/secure-session", module: "peers/secure-session", framework: "Fastify", stores: ["cookie"] },
  { name: "iron-session", module: "peers/iron-session", framework: "node:http", stores: ["cookie"] },
  { name: "cookie-session (signed)", module: "peers/cookie-session", framework: "Express", stores: ["cookie"] },
  { name: "h3", module: "peers/h3", framework: "h3", stores: ["cookie"] },
  { name: django, module: "django", framework: "Django", stores: ["memory", "redis", "postgres"], overHttpOnly: true }
]

/** The contenders with this store, limited to the names in `only`. */
const withStore = (store: Store["_tag"], only: ReadonlyArray<string> | undefined): ReadonlyArray<Contender> =>
  contenders.filter(({ name, stores }) => stores.includes(store) && (only?.includes(name) ?? true))

export const inProcess: typeof withStore = (store, only) =>
  withStore(store, only).filter(({ overHttpOnly }) => overHttpOnly !== true)

/** Includes Django if it is installed. */
export const overHttp: typeof withStore = (store, only) =>
  withStore(store, only).filter(({ name }) => name !== django || isInstalled)

/** A note for the text of a report. */
export const leftOut = isInstalled ? "" : " Django is omitted, because pip could not install it."
