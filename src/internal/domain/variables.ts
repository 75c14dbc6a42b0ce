/**
 * Environment variables. An absent or empty variable is not set.
 */
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { withHelp } from "../help.js"

/** Reads a variable. Fails with a sentence that names the variable and not its value. */
export const variable = <A>(
  name: string,
  description: string,
  expected: string,
  parse: (text: string) => Option.Option<A>
): Config.Config<A> =>
  Config.nonEmptyString(name).pipe(
    Config.mapOrFail((text) =>
      Either.fromOption(parse(text.trim()), () =>
        ConfigError.InvalidData([], withHelp(`${name} must be ${expected}.`, "environment-variable-invalid")))
    ),
    Config.withDescription(description)
  )

/** Reads a variable that holds one of the names in a table, in upper or lower case. */
export const choice = <A>(name: string, description: string, table: Readonly<Record<string, A>>): Config.Config<A> => {
  const rows = Object.entries(table)
  return variable(
    name,
    description,
    `one of ${rows.map(([key]) => key).join(", ")}`,
    (text) =>
      Option.map(
        Option.fromNullable(rows.find(([key]) => key.toLowerCase() === text.toLowerCase())),
        ([, value]) => value
      )
  )
}
