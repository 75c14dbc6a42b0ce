/**
 * Stores for express-session, with promises instead of callbacks.
 */
import connectPgSimple from "connect-pg-simple"
import { RedisStore } from "connect-redis"
import mysqlSession from "express-mysql-session"
import session from "express-session"
import { createClient } from "redis"
import fileStore from "session-file-store"
import type { ConnectStore, MakeConnectStore } from "../storeContenders.js"

const promised = (store: session.Store, close: () => unknown): ConnectStore => ({
  get: (id) =>
    new Promise((resolve, reject) => store.get(id, (error, found) => error == null ? resolve(found) : reject(error))),
  set: (id, data) =>
    new Promise((resolve, reject) => {
      const cookie = { originalMaxAge: hour, maxAge: hour, expires: new Date(Date.now() + hour) }
      store.set(id, Object.assign({}, data, { cookie }), (error) => error == null ? resolve() : reject(error))
    }),
  destroy: (id) =>
    new Promise((resolve, reject) => store.destroy(id, (error) => error == null ? resolve() : reject(error))),
  close: async () => {
    await close()
  }
})

const hour = 3_600_000

/** `where` is a URL, or a directory for files. */
export const make: MakeConnectStore = async (name, where, connections) => {
  switch (name) {
    case "connect-pg-simple": {
      const Store = connectPgSimple(session)
      const store = new Store({
        conObject: { connectionString: where, max: connections },
        createTableIfMissing: true,
        pruneSessionInterval: false
      })
      return promised(store, () => store.close())
    }
    case "connect-redis": {
      const client = createClient({ url: where })
      await client.connect()
      return promised(new RedisStore({ client }), () => client.close())
    }
    case "express-mysql-session": {
      const { hostname, pathname, port, username } = new URL(where)
      const Store = mysqlSession(session)
      const store = new Store({
        host: hostname,
        port: Number(port),
        user: username,
        database: pathname.slice(1),
        connectionLimit: connections,
        clearExpired: false
      })
      await store.onReady()
      return promised(store, () => store.close())
    }
    case "session-file-store": {
      const Store = fileStore(session)
      return promised(new Store({ path: where, reapInterval: -1, logFn: () => {} }), () => {})
    }
  }
}
