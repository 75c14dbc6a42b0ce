/**
 * `npx tsx scripts/architecture.ts`: writes docs/architecture.svg from the imports: folders as boxes on their floors, and for each pair of
 * boxes an arrow with the number of imports. `test/architecture.picture.test.ts` compares the file with the imports.
 */
import { writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { floorOf, floors, modules } from "./modules.js"

export const file = "docs/architecture.svg"

/** Public modules of one floor share a box. Modules in `src/internal` itself are on the lowest floor. */
const boxOf = (name: string): string => {
  const module = modules.get(name)
  if (module?.folder !== undefined) return module.folder
  return module?.isPublic === true ? `public ${floorOf(name)}` : "shared"
}

interface Box {
  readonly id: string
  readonly label: string
  readonly note: string
  readonly x: number
  readonly y: number
  readonly width: number
}

const [margin, boxHeight, gap, rowHeight, width] = [24, 46, 16, 128, 1180]

const boxes = (): ReadonlyMap<string, Box> => {
  const sizes = new Map<string, number>()
  for (const name of modules.keys()) sizes.set(boxOf(name), (sizes.get(boxOf(name)) ?? 0) + 1)
  const rows = floors.map((folders, floor) =>
    [`public ${floor}`, ...folders, ...(floor === 0 ? ["shared"] : [])].filter((id) => sizes.has(id))
  )
  return new Map(rows.flatMap((ids, floor) => {
    const boxWidth = Math.min(190, (width - 2 * margin - 90 - (ids.length - 1) * gap) / ids.length)
    const left = 90 + (width - 90 - ids.length * boxWidth - (ids.length - 1) * gap) / 2
    return ids.map((id, i): readonly [string, Box] => {
      const count = sizes.get(id) ?? 0
      const imported = arrows().filter(([, to]) => to === id).reduce((sum, [, , count]) => sum + count, 0)
      return [id, {
        id,
        label: id.startsWith("public") ? "public modules" : id === "shared" ? "internal/*.ts" : id,
        note: `${count} file${count === 1 ? "" : "s"}${isLowest(id) ? `, imported ${imported} times` : ""}`,
        x: left + i * (boxWidth + gap),
        y: margin + (floors.length - 1 - floor) * rowHeight,
        width: boxWidth
      }]
    })
  }))
}

/** The number of imports for each pair of boxes, in the order of the names. */
const arrows = (): ReadonlyArray<readonly [from: string, to: string, count: number]> => {
  const counts = new Map<string, number>()
  for (const { imports, name } of modules.values()) {
    for (const other of imports) {
      const [from, to] = [boxOf(name), boxOf(other)]
      if (from !== to) counts.set(`${from}|${to}`, (counts.get(`${from}|${to}`) ?? 0) + 1)
    }
  }
  return [...counts].sort(([one], [other]) => one < other ? -1 : 1).map(([pair, count]) => {
    const [from = "", to = ""] = pair.split("|")
    return [from, to, count]
  })
}

/** Every box imports values of the lowest floor: its boxes state the number, and have no arrows. */
const isLowest = (id: string): boolean => id === "public 0" || id === "shared" || floors[0]?.includes(id) === true

const round = (value: number): string => value.toFixed(1).replace(/\.0$/, "")

/** The picture as text. Equal imports give equal text. */
export const picture = (): string => {
  const all = boxes()
  const height = 2 * margin + (floors.length - 1) * rowHeight + boxHeight
  const lines: Array<string> = []
  const labels: Array<string> = []
  const edges = arrows().filter(([, to]) => !isLowest(to))
  // The arrows of a box start at different points of its edge, in the order of their other ends.
  const place = (id: string, end: 0 | 1, other: string): number => {
    const others = edges.filter((edge) => edge[end] === id).map((edge) => all.get(edge[end === 0 ? 1 : 0]))
      .flatMap((box) => box ?? []).sort((one, two) => one.x + one.width / 2 - two.x - two.width / 2)
    const box = all.get(id) as Box
    const index = others.findIndex((candidate) => candidate.id === other)
    return box.x + box.width * (index + 1) / (others.length + 1)
  }
  for (const [from, to, count] of edges) {
    const [source, target] = [all.get(from), all.get(to)]
    if (source === undefined || target === undefined) continue
    const [x1, x2] = [place(from, 0, to), place(to, 1, from)]
    const isLevel = source.y === target.y
    const [y1, y2] = [source.y + boxHeight, isLevel ? target.y + boxHeight : target.y]
    const bend = isLevel ? 26 : (y2 - y1) / 2
    lines.push(
      `<path d="M${round(x1)} ${round(y1)}C${round(x1)} ${round(y1 + bend)} ${round(x2)} ${
        round(isLevel ? y2 + bend : y2 - bend)
      } ${round(x2)} ${round(y2)}" stroke-width="${
        round(0.8 + Math.log2(count) / 2)
      }" marker-end="url(#a)"><title>${source.label} → ${target.label}: ${count}</title></path>`
    )
    labels.push(`<text x="${round(x2 + 3)}" y="${round(isLevel ? y2 + 12 : y2 - 9)}">${count}</text>`)
  }
  const floorNames = floors.map((_, floor) => {
    const y = margin + (floors.length - 1 - floor) * rowHeight
    return `<rect class="f" x="0" y="${y - 12}" width="${width}" height="${
      boxHeight + 24
    }"/><text class="n" x="12" y="${y + 28}">floor ${floor}</text>`
  })
  const drawn = [...all.values()].map(({ label, note, width, x, y }) =>
    `<rect class="b${label === "public modules" ? " p" : ""}" x="${round(x)}" y="${y}" width="${
      round(width)
    }" height="${boxHeight}" rx="5"/><text class="l" x="${round(x + width / 2)}" y="${
      y + 20
    }">${label}</text><text class="s" x="${round(x + width / 2)}" y="${y + 36}">${note}</text>`
  )
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" role="img" aria-label="Folders of src on their floors, and the imports between them">
<style>
text { font-size: 10px; fill: #1a4f8b }
.n { font-size: 12px; fill: #666 } .l { font-size: 13px; fill: #111; text-anchor: middle } .s { fill: #555; text-anchor: middle }
.f { fill: #f3f4f6 } .b { fill: #fff; stroke: #555 } .p { fill: #e8f0fb }
path { fill: none; stroke: #5b8fc7; stroke-opacity: .55 }
</style>
<defs><marker id="a" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="6" markerHeight="6" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L6 3L0 6z" style="fill:#5b8fc7;stroke:none"/></marker></defs>
<rect width="${width}" height="${height}" fill="#fff"/>
${[...floorNames, ...lines, ...drawn, ...labels].join("\n")}
</svg>
`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(file, picture())
