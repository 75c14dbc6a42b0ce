/**
 * `npx tsx scripts/recipes.ts`: copies the programs of `examples/recipes` and `examples/getting-started` into their pages, each below
 * the link to it.
 */
import { readFileSync, writeFileSync } from "node:fs"

export const pages = ["docs/recipes.md", "docs/getting-started.md"]

const linkAndProgram = /(\]\(\.\.\/(examples\/(?:recipes|getting-started)\/[a-z/-]+\.ts)\)\n\n```ts\n)[\s\S]*?^```$/gm

/** Returns the text of the page with the programs as they are now. */
export const withPrograms = (text: string): string =>
  text.replaceAll(
    linkAndProgram,
    (_, begin: string, program: string) => `${begin}${readFileSync(program, "utf8")}\`\`\``
  )

/** Returns the text of the page without the programs, whose files are compiled where they are. */
export const withoutPrograms = (text: string): string => text.replaceAll(linkAndProgram, "")

if (import.meta.filename === process.argv[1]) {
  for (const page of pages) writeFileSync(page, withPrograms(readFileSync(page, "utf8")))
}
