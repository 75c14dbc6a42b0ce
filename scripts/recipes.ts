/**
 * `npx tsx scripts/recipes.ts`: copies the programs of `examples/recipes` into `docs/recipes.md`, each below the link to it.
 */
import { readFileSync, writeFileSync } from "node:fs"

const page = "docs/recipes.md"

const linkAndProgram = /(\]\(\.\.\/(examples\/recipes\/[a-z-]+\.ts)\)\n\n```ts\n)[\s\S]*?^```$/gm

/** Returns the text of the page with the programs as they are now. */
export const withPrograms = (text: string): string =>
  text.replaceAll(
    linkAndProgram,
    (_, begin: string, program: string) => `${begin}${readFileSync(program, "utf8")}\`\`\``
  )

if (import.meta.filename === process.argv[1]) writeFileSync(page, withPrograms(readFileSync(page, "utf8")))
