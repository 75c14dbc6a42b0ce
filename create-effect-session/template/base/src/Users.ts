/**
 * The users. Replace `layerDemo` by a layer on your own table: `authenticate` is all that the application needs.
 */
import { Config, Context, Data, Effect, Layer, type Redacted } from "effect"
import * as Password from "./password.js"

export class Users extends Context.Tag("app/Users")<Users, {
  /** Whether the password is that of the user. It takes the same time if there is no such user. */
  readonly authenticate: (name: string, password: Redacted.Redacted<string>) => Effect.Effect<boolean>
}>() {}

export class DemoUsers extends Data.TaggedError("DemoUsers") {
  override readonly message = "The passwords of the demo users are public: replace Users.layerDemo before production."
}

/** Ada's password is "correct horse battery staple", Bob's is "tea for two at four". */
const demoUsers: ReadonlyMap<string, string> = new Map([
  ["ada", "lGckGjXJJPRkvn7_l-gMsg.RU9NIvl9xCQX4AxePxYO-_EDShR67F-2OBvtTpLLrcw"],
  ["bob", "Homa1dMlgUlDxz7MaeHSeg.Fk4ELOtMfpowCK5h-E11LCMGSz_82fj6c7FRdUyrJZg"]
])

/** A hash that belongs to nobody, so that an unknown name does the same work as a wrong password. */
const nobody = "AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

const authenticate = (name: string, password: Redacted.Redacted<string>) => {
  const hashed = demoUsers.get(name)
  return Effect.map(Password.verify(password, hashed ?? nobody), (matches) => matches && hashed !== undefined)
}

/** Two users for development. Fails where `NODE_ENV` is `production`. */
export const layerDemo = Layer.effect(
  Users,
  Effect.flatMap(
    Config.withDefault(Config.string("NODE_ENV"), "development"),
    (environment) => environment === "production" ? new DemoUsers() : Effect.succeed({ authenticate })
  )
)
