/**
 * Reading our cookie out of the raw `Cookie` header, byte for byte.
 *
 * General cookie parsers trim what browsers do not trim, decode what browsers do not decode, and show one of several
 * cookies of a name. Each of these has let one visitor's cookie pass for another's, so this scanner does none of it.
 * Source: draft-ietf-httpbis-rfc6265bis-22, sections 4.2 and 5.
 */

/** No more of a header than this is looked at, in characters. */
const maxHeaderLength = 65_536

/** No more pairs than this are looked at. */
const maxPairs = 1000

/** No more values of our name than this are looked at, unless more are asked for. */
const maxCandidates = 8

// The alphabet of every value that we write; browsers cut name and value at 4096 bytes.
const valuePattern = /^[A-Za-z0-9._-]{1,4096}$/

/**
 * What a header holds under our name.
 */
export interface Candidates {
  /** A cookie of our name was there, whatever its value. */
  readonly presented: boolean
  /** The distinct values that could be ours, in no meaningful order: at most eight, or as many as were asked for. */
  readonly values: ReadonlyArray<string>
  /** There was more than is looked at. Another value may have been there, so none of those seen can be trusted. */
  readonly partial?: true
}

const none: Candidates = { presented: false, values: [] }

/**
 * Collects every value of the cookie `name`. Names are compared exactly; only spaces and tabs around a pair are
 * dropped; values are never unquoted and never decoded. The work is bounded, whatever the header; where the bounds are met,
 * that is said, because whoever fills a header up must not decide which of the values is seen.
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
    // What the bound cuts in two is not looked at: half a value would pass for a shorter one.
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
