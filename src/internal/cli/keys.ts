/**
 * The command that makes a key.
 */
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Keyring from "../../Keyring.js"
import { CliFailure } from "./database.js"

export const generateKey = Command.make("generate-key", {
  id: Options.text("id").pipe(Options.optional, Options.withDescription("1 to 8 letters and digits; drawn if absent."))
}, ({ id }) =>
  Keyring.generate(Option.match(id, { onNone: () => ({}), onSome: (id) => ({ id }) })).pipe(
    Effect.mapError(({ problem }) => new CliFailure({ exitCode: 2, message: problem })),
    Effect.flatMap((key) => Console.log(Redacted.value(key)))
  )).pipe(Command.withDescription("Print a new key for SESSION_KEYS, which seals session cookies: id:secret."))
