/**
 * Keys from the environment, and the command that generates one.
 */
import { it } from "@effect/vitest"
import { ConfigError, ConfigProvider, Effect, Layer, Redacted } from "effect"
import * as Keyring from "effect-session/Keyring"
import { SessionConfigError } from "effect-session/SessionConfigError"
import { execFileSync } from "node:child_process"
import { assert, describe } from "vitest"
import { failure, run } from "./support/cli.js"
import { assertNoSecret, base64url, hex } from "./support/seededKeys.js"

type Variables = Readonly<Record<string, string>>

const environment = (variables: Variables) =>
  Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(variables))))

/** The keyring of an environment. */
const ring = (variables: Variables, layer = Keyring.layerConfig()) =>
  Effect.provide(Keyring.Keyring, Layer.provide(layer, environment(variables)))

const rejection = (variables: Variables, layer = Keyring.layerConfig()) =>
  Effect.map(Effect.flip(ring(variables, layer)), (error) => {
    assert.isTrue(ConfigError.isConfigError(error) || error instanceof SessionConfigError)
    return error
  })

describe("SESSION_KEYS", () => {
  it.effect("contains one or several keys, and the first one seals", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual((yield* ring({ SESSION_KEYS: `k1:${base64url("a")}` })).ids, ["k1"])
      const two = yield* ring({ SESSION_KEYS: `new:${base64url("a")},old:${hex("b")}` })
      assert.deepStrictEqual(two.ids, ["new", "old"])
      const sealing = yield* two.derive({ purpose: "seal", suite: "e1", cookieName: "session", audience: "shop" })
      assert.match(sealing.seal(new Uint8Array(3)), /^e1\.new\./)
    }))

  it.effect("may contain spaces and line breaks around its parts", () =>
    Effect.gen(function*() {
      const spaced = yield* ring({ SESSION_KEYS: ` k1 : ${base64url("a")} ,\n  k2:${base64url("b")}\n` })
      assert.deepStrictEqual(spaced.ids, ["k1", "k2"])
    }))

  it.effect("can be read from another variable", () =>
    Effect.gen(function*() {
      const named = Keyring.layerConfig(Keyring.config("ADMIN_KEYS"))
      assert.deepStrictEqual((yield* ring({ ADMIN_KEYS: `k:${base64url("a")}` }, named)).ids, ["k"])
      const error = yield* rejection({ SESSION_KEYS: `k:${base64url("a")}` }, named)
      assert.include(String(error), "ADMIN_KEYS")
    }))

  it.effect("is redacted in output", () =>
    Effect.gen(function*() {
      const keys = yield* Effect.provide(Keyring.config(), environment({ SESSION_KEYS: `k:${base64url("a")}` }))
      assert.deepStrictEqual(keys.map(({ id, secret }) => [id, Redacted.value(secret)]), [["k", base64url("a")]])
      assertNoSecret(JSON.stringify(keys) + String(keys[0]?.secret), base64url("a"))
    }))

  it.effect("must be set", () =>
    Effect.forEach([{}, { SESSION_KEYS: "" }], (variables) =>
      Effect.gen(function*() {
        const error = yield* rejection(variables)
        assert.isTrue(ConfigError.isConfigError(error) && ConfigError.isMissingDataOnly(error))
        assert.include(String(error), "SESSION_KEYS")
      })))

  const secret = base64url("pasted")

  it.effect("is rejected if it is not id:secret, with an error that does not contain it", () =>
    Effect.forEach(
      [secret, `k1:${secret},`, `k1:${secret},${hex("b")}`, ",", `k1:${secret};k2`.replace(":", "=")],
      (text) =>
        Effect.gen(function*() {
          const error = yield* rejection({ SESSION_KEYS: text })
          assert.isTrue(ConfigError.isConfigError(error))
          const shown = String(error) + JSON.stringify(error)
          assert.include(shown, "SESSION_KEYS must be one or more keys of the form id:secret, separated by commas.")
          assertNoSecret(shown, secret)
        })
    ))

  const invalid: ReadonlyArray<readonly [text: string, sentence: string]> = [
    [`${secret}:k1`, "Key 1 needs an id of 1 to 8 letters and digits."],
    [`:${secret}`, "Key 1 needs an id of 1 to 8 letters and digits."],
    ["k1:changeme", "The secret of key 1 has less than 32 bytes; `effect-session generate-key` makes one."],
    ["k1:", "The secret of key 1 has less than 32 bytes; `effect-session generate-key` makes one."],
    [`k1:${secret}:`, "The secret of key 1 is neither base64url nor hex; `effect-session generate-key` makes one."],
    [`k1:${secret},k1:${base64url("b")}`, "Keys 1 and 2 have the same id."],
    [`k1:${secret},k2:${secret}`, "Keys 1 and 2 have the same secret."]
  ]

  it.effect("with invalid keys fails the layer, with a message for each problem", () =>
    Effect.forEach(invalid, ([text, sentence]) =>
      Effect.gen(function*() {
        const error = yield* rejection({ SESSION_KEYS: text })
        assert.strictEqual(error instanceof SessionConfigError ? error.problem : String(error), sentence)
        assertNoSecret(String(error) + JSON.stringify(error), secret)
      })))
})

describe("effect-session generate-key", () => {
  const generate = (...args: ReadonlyArray<string>) => run("generate-key", ...args)

  it.live("prints a key that SESSION_KEYS accepts, a different one each time", () =>
    Effect.gen(function*() {
      const answers = yield* Effect.all([generate(), generate()])
      for (const { exitCode, stderr, stdout } of answers) {
        assert.deepStrictEqual([exitCode, stderr], [0, ""])
        assert.match(stdout, /^[a-z2-7]{4}:[A-Za-z0-9_-]{43}\n$/)
      }
      const text = answers.map(({ stdout }) => stdout.trim()).join(",")
      assert.strictEqual((yield* ring({ SESSION_KEYS: text })).ids.length, 2)
    }))

  it.live("uses the given id", () =>
    Effect.gen(function*() {
      const { exitCode, stdout } = yield* generate("--id", "k2026")
      assert.deepStrictEqual([exitCode, stdout.split(":")[0]], [0, "k2026"])
    }))

  it.live("rejects an invalid id, with an error that does not contain it", () =>
    Effect.forEach([["--id", base64url("pasted")], ["--id=a-b"], ["--id", ""]], (args) =>
      Effect.map(
        generate(...args),
        (answer) =>
          assert.deepStrictEqual(
            answer,
            failure(2, "A key needs an id of 1 to 8 letters and digits.", "keyring-invalid")
          )
      )))

  it("prints only the key when it is run as a program", () => {
    const printed = execFileSync(process.execPath, ["--import", "tsx", "src/bin.ts", "generate-key", "--id", "k1"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"]
    })
    assert.match(printed, /^k1:[A-Za-z0-9_-]{43}\n$/)
  })
})
