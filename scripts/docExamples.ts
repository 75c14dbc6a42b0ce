/**
 * Collects every TypeScript example of the documentation (the `ts` blocks of Markdown files, and of `@example` in
 * doc comments) into files of their own, so that the compiler checks them against the library. Programs that are copied from
 * `examples` are compiled there.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import * as Path from "node:path"
import { withoutPrograms } from "./recipes.js"

const target = "node_modules/.cache/doc-examples"

const sources = (): Array<string> => ["README.md", ...walk("docs", ".md"), ...walk("src", ".ts")]

/** Writes the examples and returns their number. */
export const writeExamples = (): number => {
  rmSync(target, { recursive: true, force: true })
  mkdirSync(target, { recursive: true })
  let count = 0
  for (const source of sources()) {
    examplesOf(source).forEach((example, index) => {
      count++
      const name = `${source.replaceAll(/[\\/.]/g, "-")}-${index + 1}.ts`
      writeFileSync(Path.join(target, name), `// ${source}, example ${index + 1}\n${example}\nexport {}\n`)
    })
  }
  writeFileSync(
    Path.join(target, "tsconfig.json"),
    JSON.stringify({
      extends: "../../../tsconfig.json",
      compilerOptions: {
        noUnusedLocals: false,
        paths: { "effect-session": ["../../../src/index.ts"], "effect-session/*": ["../../../src/*.ts"] }
      },
      include: ["*.ts"],
      exclude: []
    })
  )
  return count
}

const examplesOf = (source: string): ReadonlyArray<string> => {
  const text = withoutPrograms(readFileSync(source, "utf8"))
  // In a doc comment, also of a member, each line of an example begins with a star.
  const plain = source.endsWith(".ts") ? text.replaceAll(/^ +\* ?/gm, "") : text
  return [...plain.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map((match) => match[1] ?? "")
}

const walk = (folder: string, ending: string): Array<string> =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(ending))
    .map((file) => Path.join(folder, file))
    .sort()
