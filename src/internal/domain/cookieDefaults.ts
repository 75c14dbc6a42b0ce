/**
 * The defaults of the session cookie.
 */

/** Options of a cookie that may come from a configuration, where types cannot reject a combination that a browser would drop. */
export interface UncheckedCookieOptions {
  readonly name?: string
  readonly prefix?: "__Host-Http-" | "__Host-" | "__Secure-" | "__Http-" | ""
  readonly domain?: string
  readonly path?: string
  readonly secure?: boolean
  readonly sameSite?: "lax" | "strict" | "none"
  readonly partitioned?: boolean
  readonly browserLength?: boolean
}

/** Fills in the defaults. `tagId` is the id of the session tag, for the name of a cookie that is not Secure. */
export const withDefaults = (options: UncheckedCookieOptions = {}, tagId = "") => {
  const prefix = options.prefix ?? "__Host-Http-"
  const name = options.secure === false ? `session-dev-${tagId.replaceAll(/[^A-Za-z0-9._-]/g, ".")}` : "session"
  return {
    name: prefix + (options.name ?? name),
    domain: options.domain,
    path: options.path ?? "/",
    secure: options.secure ?? true,
    sameSite: options.sameSite ?? "lax",
    partitioned: options.partitioned ?? false,
    browserLength: options.browserLength ?? false
  }
}
