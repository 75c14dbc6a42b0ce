/**
 * The output of the command line: text for a terminal, or JSON.
 */
import * as Options from "@effect/cli/Options"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { printable } from "./database.js"

// The part that is used here, so that the other modules compile without the types of Node.
declare const process: { readonly stderr: { readonly isTTY?: boolean; write(text: string): boolean } }

/** Progress output on stderr, so that stdout can be redirected to a file. Only a TTY gets the bar. */
export class Screen extends Context.Reference<Screen>()("effect-session/Cli/Screen", {
  defaultValue: () => ({
    isTTY: process.stderr.isTTY === true,
    write: (text: string): void => void process.stderr.write(text)
  })
}) {}

export const jsonOption = Options.boolean("json").pipe(
  Options.withDescription("Print JSON: one document, or one per line for a list.")
)

/** Prints a result as text, or as one line of JSON. Control characters are escaped in both. */
export const print = (json: boolean, document: Readonly<Record<string, unknown>>, text: string): Effect.Effect<void> =>
  Console.log(json ? printable(JSON.stringify(document)) : text)

/** Prints a line to stderr. `console.unsafe`, because `Cli.run` silences the `error` of the console. */
export const printError = (line: string): Effect.Effect<void> =>
  Console.consoleWith((console) => Effect.sync(() => console.unsafe.error(line)))

/** Rows with a label. */
export const table = (rows: ReadonlyArray<readonly [label: string, value: string]>): string => {
  const width = Math.max(...rows.map(([label]) => label.length))
  return rows.map(([label, value]) => `${label.padEnd(width)}  ${printable(value)}`).join("\n")
}

/** A time in ISO 8601; "-" for an absent one. */
export const time = (millis: number | undefined): string => millis === undefined ? "-" : timeOrNull(millis) ?? "-"

/** A time for JSON. A number that is no time remains a number. */
export const timeOrNull = (millis: number | undefined): string | null => {
  if (millis === undefined) return null
  const date = new Date(millis)
  return Number.isNaN(date.getTime()) ? String(millis) : date.toISOString()
}
