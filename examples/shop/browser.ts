/**
 * A name for a browser, such as "Firefox on Windows", for the list of devices.
 */

export const browserOf = (userAgent: string): string => {
  const name = named(browsers, userAgent) ?? "Unknown browser"
  const system = named(systems, userAgent)
  return system === undefined ? name : `${name} on ${system}`
}

type Names = ReadonlyArray<readonly [part: string, name: string]>

const named = (names: Names, userAgent: string) => names.find(([part]) => userAgent.includes(part))?.[1]

/** The first match counts, because browsers name those that they are compatible with, too. */
const browsers: Names = [
  ["Edg/", "Edge"],
  ["OPR/", "Opera"],
  ["Firefox/", "Firefox"],
  ["Chrome/", "Chrome"],
  ["Safari/", "Safari"],
  ["curl/", "curl"]
]

const systems: Names = [
  ["Android", "Android"],
  ["iPhone", "iPhone"],
  ["iPad", "iPad"],
  ["Windows", "Windows"],
  ["Mac OS X", "macOS"],
  ["Linux", "Linux"]
]
