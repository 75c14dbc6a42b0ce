#!/usr/bin/env node
/**
 * `npm create effect-session my-app`
 */
import * as prompts from "@clack/prompts"
import { parseArgs } from "node:util"
import { type Engine, engines, type FrontEnd, frontEnds, isEngine, isFrontEnd } from "./choices.js"
import { isTaken, scaffold, version } from "./scaffold.js"

const defaults = { folder: "my-app", frontEnd: "router", engine: "sqlite" } as const

const help = `Creates an application with effect-session.

Usage: create-effect-session [folder] [options]

Options:
  --front-end ${Object.keys(frontEnds).join("|")}
  --engine ${Object.keys(engines).join("|")}
  --yes      take the defaults: ${defaults.folder}, ${defaults.frontEnd}, ${defaults.engine}
  --help     print this text
  --version  print the version
`

/** Ends the program with one sentence: exit code 2 for wrong arguments, 1 for other failures. */
class Refused extends Error {
  constructor(readonly exitCode: 1 | 2, message: string) {
    super(message)
  }
}

const parsed = () => {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        "front-end": { type: "string" },
        engine: { type: "string" },
        yes: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
        version: { type: "boolean", default: false }
      }
    })
  } catch (error) {
    throw new Refused(2, error instanceof Error ? error.message : String(error))
  }
}

/** Returns what was given, else the default with `--yes`, else the answer of the user. */
const answerOf = async <A extends string>(
  name: string,
  given: A | undefined,
  byDefault: A | undefined,
  ask: () => Promise<A | symbol>
): Promise<A> => {
  if (given !== undefined) return given
  if (byDefault !== undefined) return byDefault
  if (!process.stdin.isTTY) throw new Refused(2, `Without a terminal, give ${name}, or --yes for the defaults.`)
  const answer = await ask()
  if (typeof answer === "symbol") throw new Refused(1, "Cancelled: nothing was written.")
  return answer
}

const checked = <A extends string>(
  option: string,
  name: string | undefined,
  is: (name: string) => name is A,
  all: object
): A | undefined => {
  if (name === undefined || is(name)) return name
  throw new Refused(2, `There is no ${option} "${name}": take ${Object.keys(all).join(", ")}.`)
}

const run = async (): Promise<void> => {
  const { positionals, values } = parsed()
  if (values.help) return console.log(help.trimEnd())
  if (values.version) return console.log(version)
  const [given, ...others] = positionals
  if (others.length > 0) throw new Refused(2, `Give one folder, not ${positionals.length}.`)
  const [frontEndGiven, engineGiven] = [
    checked("--front-end", values["front-end"], isFrontEnd, frontEnds),
    checked("--engine", values.engine, isEngine, engines)
  ]
  const byDefault = values.yes ? defaults : undefined

  const folder = await answerOf<string>(
    "a folder",
    given,
    byDefault?.folder,
    () => prompts.text({ message: "Which folder?", placeholder: defaults.folder, defaultValue: defaults.folder })
  )
  if (isTaken(folder)) throw new Refused(1, `The folder ${folder} is not empty: choose another one.`)
  const frontEnd = await answerOf<FrontEnd>(
    "--front-end",
    frontEndGiven,
    byDefault?.frontEnd,
    () =>
      prompts.select<FrontEnd>({
        message: "Which front end?",
        initialValue: defaults.frontEnd,
        options: Object.entries(frontEnds).flatMap(([value, { title: label }]) =>
          isFrontEnd(value) ? [{ value, label }] : []
        )
      })
  )
  const engine = await answerOf<Engine>("--engine", engineGiven, byDefault?.engine, () =>
    prompts.select<Engine>({
      message: "Where are sessions kept?",
      initialValue: defaults.engine,
      options: Object.entries(engines).flatMap(([value, { title: label }]) => isEngine(value) ? [{ value, label }] : [])
    }))

  scaffold({ folder, frontEnd, engine })
  console.log(`The application is in ${folder}. Its settings are in ${folder}/.env. Next:

  cd ${folder}
  npm install
  npm test
  npm start`)
}

try {
  await run()
} catch (error) {
  if (!(error instanceof Refused)) throw error
  console.error(error.message)
  process.exitCode = error.exitCode
}
