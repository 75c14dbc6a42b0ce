/**
 * Scanner of the raw `Cookie` header.
 *
 * General cookie parsers trim what browsers do not trim, decode what browsers do not decode, and return only one of several
 * cookies of a name. Each of these has caused one visitor's cookie to be accepted as another's, so this scanner does none of it.
 * Source: draft-ietf-httpbis-rfc6265bis-22, sections 4.2 and 5.
 */

/** The largest part of a header that is read, in characters. */
const maxHeaderLength = 65_536

/** The largest number of pairs that are read. */
const maxPairs = 1000

/** The default of the largest number of values of our name that are read. */
const maxCandidates = 8

// The alphabet of every value that we write, and the colon of Django's signed cookies; browsers cut name and value at 4096 bytes.
const valuePattern = /^[A-Za-z0-9._:-]{1,4096}$/

/**
 * The values of our cookie in a header.
 */
export interface Candidates {
  /** The header has a cookie of our name, whatever its value. */
  readonly presented: boolean
  /** The distinct well-formed values, in no meaningful order: at most eight, or `most`. */
  readonly values: ReadonlyArray<string>
  /** The header exceeds a limit. The rest may hold another value, so none of the values can be trusted. */
  readonly partial?: true
}

const none: Candidates = { presented: false, values: [] }

/**
 * Collects every value of the cookie `name`. Names are compared exactly; only spaces and tabs around a pair are dropped; values
 * are never unquoted and never decoded. The work is bounded; `partial` reports an exceeded limit, because an attacker that fills
 * up the header must not choose which values are read.
 */
export const scan = (header: string | undefined, name: string, most = maxCandidates): Candidates => {
  // Most requests without our cookie end here.
  if (header === undefined || !header.includes(name)) return none
  const end = Math.min(header.length, maxHeaderLength)
  const values: Array<string> = []
  let presented = false
  let from = 0
  let partial = end < header.length
  for (let pairs = 0; from < end; pairs++) {
    if (pairs === maxPairs) {
      partial = true
      break
    }
    const semicolon = header.indexOf(";", from)
    const to = semicolon < 0 || semicolon > end ? end : semicolon
    // Ignore a pair that the limit cuts in two: half a value could be valid, too.
    if (to === end && end < header.length && header[end] !== ";") break
    const start = skipBlanks(header, from, to)
    if (header.startsWith(name, start) && header[start + name.length] === "=" && start + name.length < to) {
      presented = true
      const value = header.slice(start + name.length + 1, trimBlanks(header, start, to))
      if (value.length <= 4096 && valuePattern.test(value) && !values.includes(value)) {
        if (values.length === most) {
          partial = true
          break
        }
        values.push(value)
      }
    }
    from = to + 1
  }
  return presented ? { presented, values, ...(partial ? { partial } : undefined) } : none
}

const isBlank = (code: number) => code === 0x20 || code === 0x09

const skipBlanks = (text: string, from: number, to: number): number => {
  let at = from
  while (at < to && isBlank(text.charCodeAt(at))) at++
  return at
}

const trimBlanks = (text: string, from: number, to: number): number => {
  let at = to
  while (at > from && isBlank(text.charCodeAt(at - 1))) at--
  return at
}
