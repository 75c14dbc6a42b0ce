/**
 * The application that every contender serves, and the session that it keeps. The same routes on each framework:
 *
 * - `/hello`: no session middleware on this route
 * - `/untouched`: the middleware runs, the handler does not use the session
 * - `/read`: answers one field
 * - `/modify`: reads a counter, adds one, saves
 * - `/create`: starts a session of about 600 bytes
 * - `/held`: reads the session, waits for {@link Options.pause}, then does what `/modify` does
 * - `/count`: answers the counter, or `none` if the request has no session
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
  /** What a handler of `/held` awaits between reading the session and changing it. */
  readonly pause: () => Promise<void>
  /** Called with the name of each call to the store. If absent, the store is not wrapped. */
  readonly onStoreCall?: (operation: string) => void
}

/** One response. Cookies and body are read only if asked for, so that a timed request does not pay for it. */
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

/** An application that is a function of web requests. */
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
