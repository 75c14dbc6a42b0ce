import { readFileSync } from "node:fs"
import { assert, it } from "vitest"
import { file, picture } from "../scripts/architecture.js"

it("docs/architecture.svg shows the current imports", () => {
  assert.isTrue(
    readFileSync(file, "utf8") === picture(),
    `${file} is out of date: run "npx tsx scripts/architecture.ts".`
  )
})
