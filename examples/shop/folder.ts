/**
 * The data folder of the shop.
 */
import { Data, Effect } from "effect"
import { access, constants, mkdir } from "node:fs/promises"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"

export class CannotWrite extends Data.TaggedError("CannotWrite")<{ readonly message: string }> {}

export const data = fileURLToPath(new URL("../../.data", import.meta.url))

/** Creates a folder in the data folder, if it does not exist, and checks that it can be written. */
export const folder = (name: string): Effect.Effect<string, CannotWrite> => {
  const path = Path.join(data, name)
  return Effect.tryPromise({
    try: () => mkdir(path, { recursive: true }).then(() => access(path, constants.W_OK)).then(() => path),
    catch: (cause) => {
      const [reason] = String(cause instanceof Error ? cause.message : cause).split(", ")
      return new CannotWrite({
        message:
          `The folder ${path} cannot be written (${reason}): give it to the user who starts the shop, or move what is in its place.`
      })
    }
  })
}
