/**
 * What is measured beside what.
 */
import type { Store } from "./app.js"
import { isInstalled } from "./django.js"

export interface Contender {
  readonly name: string
  /** The module that makes its application. */
  readonly module: string
  readonly framework: string
  readonly stores: ReadonlyArray<Store["_tag"]>
  /** It is not a program of Node, so it is measured over HTTP only. */
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

/** Those that have this store, or those of them whose names are listed. */
const withStore = (store: Store["_tag"], only: ReadonlyArray<string> | undefined): ReadonlyArray<Contender> =>
  contenders.filter(({ name, stores }) => stores.includes(store) && (only?.includes(name) ?? true))

export const inProcess: typeof withStore = (store, only) =>
  withStore(store, only).filter(({ overHttpOnly }) => overHttpOnly !== true)

/** Django only where it is installed. */
export const overHttp: typeof withStore = (store, only) =>
  withStore(store, only).filter(({ name }) => name !== django || isInstalled)

/** For the text beside the tables. */
export const leftOut = isInstalled ? "" : " Django was left out, because pip did not install it."
