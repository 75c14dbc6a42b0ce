/**
 * Reads pages of Markdown for the site and for `llms.txt`: titles, first sentences, links and sections.
 */

/** Applies a function to the prose of a page, and leaves fenced blocks of code as they are. */
export const mapProse = (text: string, change: (prose: string) => string): string =>
  text.split(/(^ *```[^]*?^ *```$)/m).map((part, at) => at % 2 === 0 ? change(part) : part).join("")

/** A link or an image. Text in backticks may contain brackets. */
const link = /(!?)\[((?:\\.|`[^`\n]*`|[^\]`\\])*)\]\(([^)\s#]*)(#[^)\s]*)?\)/g

/** Replaces the targets of all links and images. The function gets the path (empty for the page itself) and the anchor with its `#`. */
export const mapLinks = (text: string, target: (path: string, anchor: string, isImage: boolean) => string): string =>
  mapProse(text, (prose) =>
    prose.replaceAll(
      link,
      (_, bang: string, label: string, path: string, anchor: string = "") =>
        `${bang}[${label}](${target(path, anchor, bang !== "")})`
    ))

/** The targets of all links and images, with their anchors. */
export const targetsIn = (text: string): ReadonlyArray<string> => {
  const targets: Array<string> = []
  mapLinks(text, (path, anchor) => {
    targets.push(path + anchor)
    return ""
  })
  return targets
}

/** The anchor that GitHub gives a heading. The site uses the same ones, so that one link works on both. */
export const anchorOf = (heading: string): string =>
  plainOf(heading).toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, "").trim().replaceAll(/\s/g, "-")

/** The anchors of a page. The second heading of the same text gets `-1`. */
export const anchorsOf = (text: string): ReadonlyArray<string> => {
  const seen = new Map<string, number>()
  return proseOf(text).split("\n").flatMap((line) => /^#+ +(.*)$/.exec(line)?.slice(1) ?? []).map((heading) => {
    const anchor = anchorOf(heading)
    const count = seen.get(anchor) ?? 0
    seen.set(anchor, count + 1)
    return count === 0 ? anchor : `${anchor}-${count}`
  })
}

const proseOf = (text: string): string => {
  let prose = ""
  mapProse(text, (part) => {
    prose += part
    return ""
  })
  return prose
}

/** Text without links, emphasis and backticks. */
export const plainOf = (text: string): string =>
  text.replaceAll(link, (_, __, label: string) => label)
    .replaceAll(/\*\*|(?<![\w\\])_|_(?!\w)|`/g, "")
    .replaceAll(/\\([^\w\s])/g, "$1")

/** The text of the first heading. */
export const titleOf = (text: string): string => plainOf(/^# (.*)$/m.exec(text)?.[1] ?? "")

/** The first sentence of the paragraph below the title. Empty if another heading, a list, a table or code comes first. */
export const firstSentenceOf = (text: string): string => {
  const [, first = ""] = text.slice(text.search(/^# /m)).split(/\n\n+/)
  if (/^(?:#|\||```|- |\d+\. |<)/.test(first)) return ""
  const plain = plainOf(first).replaceAll(/\s+/g, " ").trim()
  return /^.+?[.?!](?= [A-Z`"]|$)/.exec(plain)?.[0] ?? plain
}

/** The section of a heading, with its heading. Fails if there is none. */
export const sectionOf = (text: string, heading: string): string => {
  const section = sectionsOf(text).find((section) => section.startsWith(`## ${heading}\n`))
  if (section === undefined) throw new Error(`There is no section "${heading}".`)
  return section.trim()
}

/** The part of a page above its first section, and its sections. */
export const sectionsOf = (text: string): ReadonlyArray<string> => {
  // A line of code that begins with ## is no heading.
  const cut = mapProse(text, (prose) => prose.replaceAll(/^## /gm, "\u0000## "))
  return cut.split("\u0000")
}

/** Tables without the spaces that align their columns. */
export const compactTables = (text: string): string =>
  mapProse(
    text,
    (prose) =>
      prose.replaceAll(/^\|.*\|$/gm, (row) => row.replaceAll(/ {2,}/g, " ").replaceAll(/ (:?)-{3,}(:?) /g, " $1---$2 "))
  )
