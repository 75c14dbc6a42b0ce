/**
 * The application of every contender and its session data. Each framework has the same routes:
 *
 * - `/hello`: no session middleware on this route
 * - `/untouched`: the middleware runs, the handler does not use the session
 * - `/read`: responds with one field
 * - `/modify`: reads a counter, adds one, saves
 * - `/create`: starts a session of about 600 bytes
 * - `/held`: reads the session, waits for {@link Options.pause}, then does what `/modify` does
 * - `/count`: responds with the counter, or `none` if the request has no session
 * - `/logout`: ends the session
 */

export const paths = ["hello", "untouched", "read", "modify", "create", "held", "count", "logout"] as const
export type Path = typeof paths[number]

export interface Item {
  readonly sku: string
  readonly name: string
  readonly quantity: number
  readonly price: number
}

export interface Data {
  readonly user: string
  readonly locale: "en" | "ja" | "ko"
  readonly count: number
  readonly cart: ReadonlyArray<Item>
}

/** The data of a new session: 591 bytes of JSON. */
export const data: Data = {
  user: "u-1",
  locale: "en",
  count: 0,
  cart: Array.from(
    { length: 8 },
    (_, i) => ({ sku: `sku-${i}`, name: `Article number ${i}`, quantity: i + 1, price: 1999 })
  )
}

export type Store =
  | { readonly _tag: "memory" }
  | { readonly _tag: "cookie" }
  | { readonly _tag: "redis"; readonly url: string }
  | { readonly _tag: "postgres"; readonly url: string }

export interface Options {
  readonly store: Store
  /** Awaited by the handler of `/held` between reading and changing the session. */
  readonly pause: () => Promise<void>
  /** Called with the name of each store call. If absent, the store is not wrapped. */
  readonly onStoreCall?: (operation: string) => void
}

/** A response. Cookies and body are read lazily, so that a timed request does not include that cost. */
export interface Answer {
  readonly status: number
  readonly setCookies: () => ReadonlyArray<string>
  readonly body: () => Promise<string>
}

export interface App {
  /** Handles one request in this process, without a socket. `cookie` is a Cookie header, or empty. */
  readonly handle: (path: Path, cookie: string) => Promise<Answer>
  /** Serves the application over HTTP on a free port, and returns the port. */
  readonly listen: () => Promise<number>
}

export type Make = (options: Options) => Promise<App>

/** Makes an application from a web handler. */
export const webApp = (
  fetch: (request: Request) => Response | Promise<Response>,
  listen: () => Promise<number>
): App => ({
  handle: async (path, cookie) => {
    const response = await fetch(new Request(`http://localhost/${path}`, cookie === "" ? {} : { headers: { cookie } }))
    return {
      status: response.status,
      setCookies: () => response.headers.getSetCookie(),
      body: () => response.text()
    }
  },
  listen
})
