/**
 * The laws of engines on Django's table, on each database.
 */
import { layer } from "@effect/vitest"
import { Effect, Layer, Option, Redacted } from "effect"
import * as DjangoEngine from "effect-session/DjangoEngine"
import { engineLaws, storedEngineLaws } from "effect-session/testing"
import { databases } from "./support/djangoDatabases.js"
import * as Django from "./support/servers/django.js"

/** Laws of what Django's table does not have: a second namespace, and touches. */
const notOnDjango = /of another namespace|touch/

for (const [name, open] of databases) {
  const engine = Layer.unwrapScoped(Effect.map(open, ({ client }) =>
    Layer.provide(
      DjangoEngine.layer({
        secretKey: Redacted.make(Django.secretKey),
        timeout: "1 minute",
        // The subjects of the laws are no users of Django.
        authHash: () => Effect.succeed(Option.some("a password"))
      }),
      client
    )))
  layer(engine, { excludeTestServices: true })((it) => {
    for (const { law, name: title } of [...engineLaws, ...storedEngineLaws]) {
      if (notOnDjango.test(title)) continue
      it.effect(`django on ${name}: ${title}`, () => law)
    }
  })
}
