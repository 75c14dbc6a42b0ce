/**
 * Benchmark results as JSON, tables and plots.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { circumstances, type Measured, type Noise, options } from "./harness.js"

export interface Table {
  readonly title: string
  readonly columns: ReadonlyArray<string>
  readonly rows: ReadonlyArray<ReadonlyArray<string>>
}

export interface Bar extends Measured {
  readonly name: string
}

export interface Plot {
  readonly title: string
  readonly unit: string
  readonly groups: ReadonlyArray<{ readonly name: string; readonly bars: ReadonlyArray<Bar> }>
}

export interface Budget {
  readonly what: string
  readonly limit: string
  readonly found: string
  readonly met: boolean
}

export interface Found {
  readonly name: string
  readonly title: string
  readonly about: string
  readonly rounds: number
  readonly noise?: Noise
  readonly tables: ReadonlyArray<Table>
  readonly plots: ReadonlyArray<Plot>
  readonly budgets: ReadonlyArray<Budget>
}

export type Report = Found & ReturnType<typeof circumstances>

/** The order of the reports on the page. */
const order = ["in-process", "sealed", "http", "contention", "memory", "stores"]
const folder = "docs/benchmarks"

/** Formats a number with three significant digits and no exponent. */
export const digits = (value: number): string => {
  if (!Number.isFinite(value)) return "–"
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en")
  return value.toPrecision(3).replace(/^(-?0\.0\d)\d*$/, "$1")
}

/** Formats a median with half of the interquartile range. */
export const withSpread = ({ high, low, median }: Measured): string => `${digits(median)} ± ${digits((high - low) / 2)}`

export const ratio = (value: number, to: number): string => `× ${(value / to).toFixed(2)}`

export const atMost = (what: string, found: number, limit: number, unit = ""): Budget => ({
  what,
  limit: `≤ ${digits(limit)}${unit}`,
  found: `${digits(found)}${unit}`,
  met: found <= limit
})

export const atLeast = (what: string, found: number, limit: number): Budget => ({
  what,
  limit: `≥ ${digits(limit)}`,
  found: digits(found),
  met: found >= limit
})

const noiseOf = ({ noisy, running, spread }: Noise) =>
  ` Noise probe: quartiles ${(spread * 100).toFixed(0)} % apart, on a processor for ${
    (running * 100).toFixed(0)
  } % of its ` +
  `time${noisy ? ": **the machine was busy, so compare ratios only**" : ""}.`

const conditions = ({ cores, date, node, noise, processor, rounds }: Report) =>
  `${date} UTC, Node ${node.slice(1)}, ${processor}, ${cores} cores, ${rounds} ${rounds === 1 ? "round" : "rounds"}.${
    noise === undefined ? "" : noiseOf(noise)
  }`

const tableOf = ({ columns, rows }: Table) => {
  const line = (cells: ReadonlyArray<string>) => `| ${cells.join(" | ")} |`
  return [line(columns), line(columns.map((_, i) => i === 0 ? "---" : "---:")), ...rows.map(line)].join("\n")
}

const budgetTable = (budgets: ReadonlyArray<Budget>): Table => ({
  title: "Budgets",
  columns: ["budget", "limit", "measured", "met"],
  rows: budgets.map(({ found, limit, met, what }) => [what, limit, found, met ? "yes" : "**no**"])
})

const tablesOf = ({ budgets, tables }: Report) => budgets.length === 0 ? tables : [...tables, budgetTable(budgets)]

const printed = ({ columns, rows, title }: Table) => {
  const all = [columns, ...rows].map((row) => row.map((cell) => cell.replaceAll("**", "")))
  const widths = columns.map((_, i) => Math.max(...all.map((row) => row[i]?.length ?? 0)))
  const lines = all.map((row) =>
    row.map((cell, i) => i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart((widths[i] ?? 0) + 2)).join("")
  )
  return `\n${title}\n${lines.map((line) => `  ${line}`).join("\n")}`
}

const escaped = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")

const colours = ["#4c78a8", "#9ecae9", "#f58518", "#54a24b", "#b279a2", "#e45756", "#72b7b2", "#eeca3b", "#9d755d"]

/** Draws groups of horizontal bars, each with a line for its quartiles. */
export const svg = ({ groups, title, unit }: Plot): string => {
  const [width, left, right, bar, gap, top] = [860, 190, 120, 16, 22, 44]
  const names = [...new Set(groups.flatMap(({ bars }) => bars.map(({ name }) => name)))]
  const most = Math.max(...groups.flatMap(({ bars }) => bars.map(({ high, median }) => Math.max(high, median))))
  const x = (value: number) => left + (value / most) * (width - left - right)
  const lines: Array<string> = []
  let y = top
  for (const { bars, name } of groups) {
    lines.push(`<text x="8" y="${y + 12}" font-weight="bold">${escaped(name)}</text>`)
    y += bar + 4
    for (const { high, low, median, name } of bars) {
      const middle = y + bar / 2 - 1
      lines.push(
        `<text x="${left - 8}" y="${y + 11}" text-anchor="end">${escaped(name)}</text>`,
        `<rect x="${left}" y="${y}" width="${Math.max(1, x(median) - left).toFixed(1)}" height="${bar - 3}" fill="${
          colours[names.indexOf(name) % colours.length]
        }"/>`,
        `<path d="M${x(low).toFixed(1)} ${middle}H${x(high).toFixed(1)}" stroke="#222" stroke-width="2"/>`,
        `<text x="${(x(Math.max(high, median)) + 6).toFixed(1)}" y="${y + 11}">${digits(median)}</text>`
      )
      y += bar
    }
    y += gap - bar
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y + 8}" font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    `<text x="8" y="22" font-size="15" font-weight="bold">${escaped(`${title} (${unit})`)}</text>`,
    ...lines,
    "</svg>",
    ""
  ].join("\n")
}

const plotFile = (name: string, index: number) => `${name}${index === 0 ? "" : `-${index + 1}`}.svg`

const section = (report: Report) =>
  [
    `## ${report.title}`,
    report.about,
    conditions(report),
    ...tablesOf(report).map((table) => `### ${table.title}\n\n${tableOf(table)}`),
    ...report.plots.map(({ title }, i) => `![${title}](${plotFile(report.name, i)})`)
  ].join("\n\n")

const introduction = `# Benchmarks

Made by \`npm run bench\`; \`npm run bench -- plots\` makes this page and its plots again from the data beside it. What is
measured and how is in [\`bench/README.md\`](../../bench/README.md). Times are medians with half of the distance of their
quartiles. Absolute times are those of the machine; compare ratios within one table.`

/** Writes the page and the plots from the JSON of the last runs. */
export const render = (): void => {
  mkdirSync(folder, { recursive: true })
  const reports = order.flatMap((name): ReadonlyArray<Report> =>
    readdirSync(folder).includes(`${name}.json`) ? [JSON.parse(readFileSync(`${folder}/${name}.json`, "utf8"))] : []
  )
  for (const { name, plots } of reports) {
    for (const [i, plot] of plots.entries()) writeFileSync(`${folder}/${plotFile(name, i)}`, svg(plot))
  }
  writeFileSync(`${folder}/README.md`, `${[introduction, ...reports.map(section)].join("\n\n")}\n`)
}

/** Prints a report. With `--save`, also writes it to the documentation. */
export const publish = (found: Found): void => {
  const report: Report = { ...found, ...circumstances() }
  console.log(`\n${report.title}\n${conditions(report).replaceAll("**", "")}`)
  for (const table of tablesOf(report)) console.log(printed(table))
  if (!options.save) return
  mkdirSync(folder, { recursive: true })
  writeFileSync(`${folder}/${report.name}.json`, `${JSON.stringify(report, null, 2)}\n`)
  render()
}
