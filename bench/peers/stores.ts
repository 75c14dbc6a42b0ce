/**
 * Stores for express-session, which @fastify/session also accepts.
 */
import connectPgSimple from "connect-pg-simple"
import { RedisStore } from "connect-redis"
import session from "express-session"
import { createClient } from "redis"
import type { Options } from "../app.js"

const operations = ["get", "set", "touch", "destroy"] as const

const observed = <S extends object>(store: S, onCall: (operation: string) => void): S => {
  for (const operation of operations) {
    const call: unknown = Reflect.get(store, operation)
    if (typeof call !== "function") continue
    Object.assign(store, {
      [operation]: (...args: ReadonlyArray<unknown>) => {
        onCall(operation)
        return Reflect.apply(call, store, args)
      }
    })
  }
  return store
}

/** `undefined` for memory: both libraries have their own store. */
export const storeOf = async ({ store }: Options): Promise<session.Store | undefined> => {
  switch (store._tag) {
    case "memory":
      return undefined
    case "redis": {
      const client = createClient({ url: store.url })
      await client.connect()
      return new RedisStore({ client })
    }
    case "postgres": {
      const Store = connectPgSimple(session)
      return new Store({ conString: store.url, createTableIfMissing: true, pruneSessionInterval: false })
    }
    case "cookie":
      throw new Error("this library keeps no session in its cookie")
  }
}

/** Reports the name of each store call if the options have `onStoreCall`. */
export const observedIf = <S extends object>(store: S, { onStoreCall }: Options): S =>
  onStoreCall === undefined ? store : observed(store, onStoreCall)
