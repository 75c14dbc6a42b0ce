/**
 * `npx tsx scripts/words.ts [path …] [--count]`: finds words that the project has replaced by a standard term, in comments, strings and
 * identifiers of TypeScript and in the prose of Markdown. A path is a file, a folder, or the beginning of one. Prints `file:line`, the word
 * and the standard term, then the count for each folder (with `--count`, the counts only). Fails if there is a hit.
 */
import jsTokens from "js-tokens"
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"

/** Where a rule applies: prose is comments, strings and Markdown. */
interface Rule {
  readonly word: RegExp
  readonly use: string
  /** Phrases that contain the word and stay. */
  readonly unless?: RegExp
}

const people = "user, caller, process, client, browser, session"

/** Words in prose. */
const prose: ReadonlyArray<Rule> = [
  {
    word: /\b(?:tells?|told|telling)\b/i,
    use: "reports, passes, publishes, shows, distinguishes",
    unless: /storytell/i
  },
  { word: /\b(?:says?|said|saying)\b/i, use: "states, declares, reports, describes; or name the condition" },
  { word: /\b(?:hears?|heard|hearing)\b/i, use: "receives, subscribes" },
  { word: /\b(?:nobody|whoever|somebody|anybody|everybody|whomever)(?:'s)?\b/i, use: people },
  { word: /\b(?:those|one|ones|he|she) (?:who|whom|whose)\b/i, use: people },
  { word: /(?:^|[.;!] )Who(?:m|se)? (?![^.]*\?)/, use: `${people}; name the subject of the sentence` },
  { word: /\b(?:un)?damag(?:es?|ed|ing)\b/i, use: "corrupt" },
  { word: /\bmend(?:s|ed|ing)?\b/i, use: "repair" },
  {
    word: /\bfence[sd]?\b/i,
    use: "tombstone (caches)",
    unless: /\b(?:code|markdown) fences?\b|\bfenced (?:code|blocks?|samples?|examples?|`)/i
  },
  { word: /\bpatience\b/i, use: "timeout, grace period, minimum age" },
  { word: /\b(?:owes?|owed|owing)\b/i, use: "pending (cookie)" },
  { word: /\bwithheld\b/i, use: "cross-site, cookie suppressed by SameSite" },
  { word: /\bmisfits?\b/i, use: "validation issue" },
  { word: /\bclash(?:es|ed|ing)?\b/i, use: "conflict" },
  { word: /\b(?:dis)?believ(?:es?|ed|able|ing)\b|\bunbelievable\b/i, use: "trusted, trusts" },
  { word: /\bdoubt(?:s|ed|ful)?\b/i, use: "warning; invalidated; uncertain" },
  { word: /\bunguarded\b/i, use: "distrust window" },
  { word: /\b(?:in )?flights\b/i, use: "in-flight loads (single-flight)" },
  { word: /\bhomes\b/i, use: "forwarding entries, relocation" },
  { word: /\bstruck\b|\bstrikes?\b/i, use: "delete" },
  { word: /\bunborn\b|\bbears?\b/i, use: "pending; publish", unless: /\bbearer\b/i },
  { word: /\b(?:un)?spell(?:s|ed|ing|ings)?\b/i, use: "encode, decode, escape; encoding" },
  { word: /\bsightings?\b/i, use: "read tracking" },
  { word: /\boutliv(?:es?|ed)\b/i, use: "lasts longer than; revocation GC set" },
  { word: /\binsists?\b/i, use: "requires; allowWhenFull" },
  { word: /\brefusals?\b/i, use: "error, rejection" },
  { word: /\bsettl(?:es?|ed|ing|ement)\b/i, use: "resolve (outcome), finalize (request), answered, complete" },
  {
    word:
      /\b(?:the|an?|its|each|this|that|whose|no|every|own|behind|slow|broken) fronts?\b(?![ -](?:ends?|door|pages?|of)\b|-)/i,
    use: "cache"
  },
  {
    word: /\b(?:the|an?|its|this|that|whose|no|every) backs?\b(?![ -](?:ends?|way|up|off|of|to|button)\b|-|\/forward)/i,
    use: "origin"
  },
  { word: /\b(?:the|its|no|whose) marks?\b(?! of\b)/i, use: "migration marker; marker" },
  { word: /\bturn(?:s|ed|ing)? round\b/i, use: "reversed (migration)" },
  { word: /\b(?:the|this) truth\b/i, use: "the authoritative store; the stored state" },
  { word: /\bno news\b|\bis news\b/i, use: "is not reported; changes nothing" },
  { word: /\bin (?:the|its|their|each other's|another's|one another's) way\b/i, use: "blocks, conflicts with" },
  { word: /\bas (?:it|they) comes?\b/i, use: "by default" },
  { word: /\bof (?:its|their) own accord\b/i, use: "by itself, by default" },
  { word: /\b(?:what|that) (?:became|becomes|has become) of\b/i, use: "the outcome of" },
  { word: /\btake(?:s|n)? notice\b/i, use: "reads, adopts, subscribes" },
  { word: /\b(?:a|its|their) (?:turn|turns)\b(?! of\b)/i, use: "the mutex; one after another" },
  { word: /\bslip of the pen\b/i, use: "typing error" },
  { word: /\bat the most\b/i, use: "at most" }
]

/** Beginnings of doc comments, comments, headings and test titles that state a question in place of a thing. */
const headline: Rule = {
  word: /^(?:what|how|who|whom|whose|whoever|those|whatever)\b(?! to\b)[^?]*$/i,
  use: "a noun phrase or a verb in the third person"
}

/** Parts of identifiers (camel case), lower case. */
const parts: Readonly<Record<string, string>> = {
  told: "reported, published",
  tell: "publish",
  telling: "withInvalidation",
  hear: "subscribe",
  heard: "received",
  nobody: "none",
  damage: "corrupt",
  damaged: "corrupt",
  mend: "repair",
  mended: "repaired",
  patience: "timeout",
  owed: "pendingCookie",
  withheld: "crossSite",
  misfit: "validationIssue",
  misfits: "validationIssues",
  clash: "conflict",
  clashes: "conflicts",
  believed: "trusted",
  doubts: "warnings",
  flights: "inFlight",
  homes: "forwarding",
  unborn: "pending",
  spell: "encode",
  unspell: "decode",
  sightings: "reads",
  outlived: "revocationGc",
  insist: "allowWhenFull",
  refusals: "errors",
  settle: "resolve, finalize",
  settled: "resolved, answered",
  settlement: "finalization",
  fence: "tombstone",
  fences: "tombstones",
  unguarded: "distrusted"
}

/** This list itself, and the report that `npm run bench` writes. */
const exempt = new Set(["scripts/words.ts", "docs/benchmarks/README.md"])

const roots = [
  "src",
  "test",
  "examples",
  "bench",
  "scripts",
  "docs",
  "README.md",
  "CHANGELOG.md",
  "CONTRIBUTING.md"
]

interface Token {
  readonly kind: "code" | "comment" | "doc" | "string" | "heading" | "prose"
  readonly text: string
  readonly line: number
}

export interface Hit {
  readonly file: string
  readonly line: number
  readonly word: string
  readonly use: string
}

/** What a token of JavaScript is, and its delimiters. All other tokens are code; a regular expression is neither code nor prose. */
const texts: Readonly<Record<string, readonly [kind: "comment" | "string", before: number, after: number]>> = {
  SingleLineComment: ["comment", 0, 0],
  MultiLineComment: ["comment", 0, 0],
  StringLiteral: ["string", 1, 1],
  NoSubstitutionTemplate: ["string", 1, 1],
  TemplateHead: ["string", 1, 2],
  TemplateMiddle: ["string", 1, 2],
  TemplateTail: ["string", 1, 1]
}

/** Splits TypeScript into code, comments and strings. Substitutions of a template are code. */
const lex = (source: string): ReadonlyArray<Token> => {
  const tokens: Array<Token> = []
  let line = 1
  let code = { text: "", line }
  for (const { type, value } of jsTokens(source)) {
    const text = texts[type]
    if (text !== undefined) {
      const [kind, before, after] = text
      if (code.text.trim() !== "") tokens.push({ kind: "code", ...code })
      tokens.push({
        kind: value.startsWith("/**") && kind === "comment" ? "doc" : kind,
        text: value.slice(before, value.length - after),
        line
      })
    } else if (type !== "RegularExpressionLiteral") code.text += value
    line += value.split("\n").length - 1
    if (text !== undefined) code = { text: "", line }
  }
  if (code.text.trim() !== "") tokens.push({ kind: "code", ...code })
  return tokens
}

/** Markdown: headings and prose, and the TypeScript of `ts` blocks. Other blocks and generated tables are left out. */
const lexMarkdown = (text: string): ReadonlyArray<Token> => {
  const tokens: Array<Token> = []
  let block: { readonly language: string; readonly line: number; text: string } | undefined
  let generated = false
  text.split("\n").forEach((content, index) => {
    const line = index + 1
    const fence = /^\s*```(\w*)/.exec(content)
    if (fence !== null) {
      if (block?.language === "ts") {
        const { line: first, text: source } = block
        tokens.push(...lex(source).map((token) => ({ ...token, line: token.line + first })))
      }
      block = block === undefined ? { language: fence[1] ?? "", line, text: "" } : undefined
    } else if (block !== undefined) block.text += `${content}\n`
    else if (/^<!-- \/?laws/.test(content)) generated = !content.includes("/laws")
    else if (!generated && content.trim() !== "") {
      const heading = /^#+ +(?:\d{4} — )?(.*)$/.exec(content)
      tokens.push({ kind: heading === null ? "prose" : "heading", text: heading?.[1] ?? content, line })
    }
  })
  return tokens
}

/** Inline code and the targets of links are names, not prose. */
const plain = (text: string): string => {
  const blank = (match: string) => match.replaceAll(/[^\n]/g, " ")
  // The text of a link to a test or a law is the quoted title.
  return text.replaceAll(/\[[^\]\n]*\]\((?:\.\.\/)+(?:test|src)\/[^)\s]*\)/g, blank).replaceAll(/`[^`\n]*`/g, blank)
    .replaceAll(/\]\([^)\s]*\)/g, blank).replaceAll(/\bhttps?:\S+/g, blank)
}

const hitsIn = (file: string): ReadonlyArray<Hit> => {
  const hits: Array<Hit> = []
  const text = readFileSync(file, "utf8")
  const tokens = file.endsWith(".md") ? lexMarkdown(text) : lex(text)
  tokens.forEach((token, index) => {
    const add = (offset: number, word: string, use: string) =>
      hits.push({ file, line: token.line + token.text.slice(0, offset).split("\n").length - 1, word: word.trim(), use })
    if (token.kind === "code") {
      for (const found of token.text.matchAll(/[A-Za-z_$][\w$]*/g)) {
        const part = found[0].split(/(?<=[a-z0-9])(?=[A-Z])|_/).map((word) => word.toLowerCase())
          .find((word) => Object.hasOwn(parts, word))
        if (part !== undefined) add(found.index, found[0], parts[part] as string)
      }
      return
    }
    const isComment = token.kind === "comment" || token.kind === "doc"
    const words = token.kind === "string" ? token.text : plain(token.text)
    // A string of one word without spaces is a name or data, unless it is a path of this project.
    if (token.kind === "string" && !/\s/.test(words) && !/^\.\.?\//.test(words)) return
    // One sentence may go over two lines of a comment.
    const joined = isComment ? words.replaceAll(/\n\s*\*(?!\/) ?/g, (gap) => `\n${" ".repeat(gap.length - 1)}`) : words
    for (const { unless, use, word } of prose) {
      for (const found of joined.matchAll(new RegExp(word.source, `${word.flags}gm`))) {
        const around = joined.slice(Math.max(0, found.index - 30), found.index + found[0].length + 30)
        if (unless?.test(around) === true) continue
        add(found.index + (/^[.;!] /.test(found[0]) ? 2 : 0), found[0].replace(/^[.;!] /, ""), use)
      }
    }
    const before = tokens[index - 1]
    const isTitle = token.kind === "string" && before?.kind === "code" &&
      /(?:\b(?:it|test|describe|live|suite)\b[\w.]*|\)|\.prop|\.each)\(\s*$/.test(before.text)
    const follows = token.kind === "comment" && before?.kind === "comment" && before.line === token.line - 1
    if (isTitle || token.kind === "heading" || token.kind === "doc" || (token.kind === "comment" && !follows)) {
      const first = joined.replace(/^(?:\/\/|\/\*+)[\s*]*/, "").split(/(?<=[.!?:])\s/)[0] ?? ""
      const found = headline.word.exec(first.replaceAll("\n", " "))
      if (found !== null) add(joined.search(/[A-Za-z]/), first.split(/\s+/).slice(0, 3).join(" ") + " …", headline.use)
    }
  })
  return hits
}

const walk = (path: string): ReadonlyArray<string> =>
  statSync(path).isDirectory()
    ? readdirSync(path, { withFileTypes: true }).flatMap(({ name }) =>
      name === "node_modules" || name === "fixtures" ? [] : walk(Path.join(path, name))
    )
    : /\.(?:m?tsx?|md)$/.test(path)
    ? [path]
    : []

/** The hits in the files whose path is one of `paths` or begins with it; in all files if none is given. */
export const wordsIn = (paths: ReadonlyArray<string> = []): ReadonlyArray<Hit> => {
  const wanted = paths.map((path) => Path.normalize(path))
  const matches = (file: string) => wanted.length === 0 || wanted.some((path) => file === path || file.startsWith(path))
  return roots.filter((root) => existsSync(root)).flatMap(walk).filter((file) => !exempt.has(file) && matches(file))
    .sort().flatMap((file) => [...hitsIn(file)].sort((one, other) => one.line - other.line))
}

/** Prints the hits and returns whether there is none. */
export const checkWords = (paths: ReadonlyArray<string> = [], countOnly = false): boolean => {
  const hits = wordsIn(paths)
  if (!countOnly) { for (const { file, line, use, word } of hits) console.log(`${file}:${line}: "${word}" → ${use}`) }
  const counts = new Map<string, number>()
  for (const { file } of hits) {
    const folder = Path.dirname(file) === "." ? file : Path.dirname(file)
    counts.set(folder, (counts.get(folder) ?? 0) + 1)
  }
  for (const [folder, count] of counts) console.log(`${String(count).padStart(5)}  ${folder}`)
  console.log(`${hits.length} words to replace`)
  return hits.length === 0
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const args = process.argv.slice(2)
  const paths = args.filter((arg) => !arg.startsWith("--"))
  process.exitCode = checkWords(paths, args.includes("--count")) ? 0 : 1
}
