/**
 * Compile errors of invalid programs: one sentence that names the mistake and the fix.
 */
import { execFile } from "node:child_process"
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { promisify } from "node:util"
import { afterAll, assert, beforeAll, describe, it } from "vitest"

const root = process.cwd()
const project = mkdtempSync(Path.join(tmpdir(), "effect-session-rejected-"))

const head = `import { Effect, Schema } from "effect"
import { Expiry, ReadOnce, Session, SessionConfig, SessionCookie } from "effect-session"
export class App extends Session.Tag<App>()("types/App", {
  schema: Schema.Struct({
    user: Schema.optional(Schema.String),
    note: Schema.optional(Schema.NullOr(Schema.String)),
    notice: ReadOnce.field(Schema.String),
    locale: Schema.optionalWith(Schema.String, { default: () => "en" })
  })
}) {}
export const used = [Effect, Expiry, SessionConfig, SessionCookie]
`

const bounded =
  "A session needs an end that activity cannot move: add Expiry.absolute(…) to the policy with Expiry.earliest"
const crossSite = "SameSite=None sends the cookie with requests that other sites forge: add acknowledgeCrossSite: true"
const insecure = "Browsers drop a cookie with SameSite=None that is not Secure: leave out secure: false"
const readOnce = "take is for a field that the schema declares with ReadOnce.field: use get, or pop to remove it"
const whole =
  "A session's schema is a Struct or a Class of one: put a union, a filter or a transformation into one of its fields"
const neverAbsent = "This field is never absent, because it is required or has a default: use get, set and update"
const self = "Missing `Self` generic - use `class AppSession extends Session.Tag<AppSession>()(…) {}`"

const tag = (options: string): string => `export class Other extends Session.Tag<Other>()("types/Other", ${options}) {}`
const empty = "schema: Schema.Struct({})"

/** Programs that do not compile, with the sentence in the error. */
const rejected: Readonly<Record<string, readonly [program: string, sentence: string]>> = {
  "an idle limit alone, in a tag": [tag(`{ ${empty}, expiry: Expiry.idle("1 hour") }`), bounded],
  "an idle limit alone, for a deployment": [`App.layerWith({ expiry: Expiry.idle("1 hour") })`, bounded],
  "two limits that activity moves": [
    `App.layerWith({ expiry: Expiry.earliest(Expiry.idle("1 hour"), Expiry.sinceModified("1 day")) })`,
    bounded
  ],
  "a policy of unknown type": [
    `declare const policy: Expiry.Expiry\nexport const layer = App.layerWith({ expiry: policy })`,
    bounded
  ],
  "SameSite=None alone, in a tag": [tag(`{ ${empty}, cookie: { sameSite: "none" } }`), crossSite],
  "SameSite=None alone, for a deployment": [`App.layerWith({ cookie: { sameSite: "none" } })`, crossSite],
  "SameSite=None alone, with a prefix": [
    `App.layerWith({ cookie: { prefix: "__Secure-", sameSite: "none" } })`,
    crossSite
  ],
  "SameSite=None alone, without one": [`App.layerWith({ cookie: { prefix: "", sameSite: "none" } })`, crossSite],
  "SameSite=None alone, as options": [
    `export const options: SessionCookie.CookieOptions = { sameSite: "none" }`,
    crossSite
  ],
  "SameSite=None, not Secure": [
    `App.layerWith({ cookie: { prefix: "", secure: false, sameSite: "none", acknowledgeCrossSite: true } })`,
    insecure
  ],
  "take of an ordinary field": [`App.take("user")`, readOnce],
  "take of a field with a default": [`App.take("locale")`, readOnce],
  "take of an ordinary field, on the handle": [
    `export const program = Effect.flatMap(App, (session) => session.take("user"))`,
    readOnce
  ],
  "a Union": [tag(`{ schema: Schema.Union(Schema.Struct({}), Schema.Struct({ a: Schema.String })) }`), whole],
  "a Union of other things": [tag(`{ schema: Schema.Union(Schema.Struct({}), Schema.String) }`), whole],
  "a Struct with a filter": [tag(`{ schema: Schema.Struct({}).pipe(Schema.filter(() => true)) }`), whole],
  "getOption of a field with a default": [`App.getOption("locale")`, neverAbsent],
  "getOption of a field with a default, on the handle": [
    `export const program = Effect.flatMap(App, (session) => session.getOption("locale"))`,
    neverAbsent
  ],
  "getOrElse of a field with a default": [`App.getOrElse("locale", () => "ja")`, neverAbsent],
  "getOrSet of a field with a default": [`App.getOrSet("locale", "ja")`, neverAbsent],
  "pop of a field with a default": [`App.pop("locale")`, neverAbsent],
  "popOrElse of a field with a default": [`App.popOrElse("locale", () => "ja")`, neverAbsent],
  "remove of a field with a default": [`App.remove("locale")`, neverAbsent],
  "a tag without Self": [`export class Selfless extends Session.Tag()("types/Selfless", { ${empty} }) {}`, self]
}

/** Programs that compile. */
const accepted: Readonly<Record<string, string>> = {
  "bounded policies": `App.layerWith({ expiry: Expiry.earliest(Expiry.idle("1 hour"), Expiry.absolute("1 day")) })
App.layerWith({ expiry: Expiry.django })
export const policy: Expiry.Expiry<true> = Expiry.aal2
App.layerWith({ expiry: policy })`,
  "cookies": `App.layerWith({ cookie: { sameSite: "none", acknowledgeCrossSite: true, partitioned: true } })
App.layerWith({ cookie: { prefix: "", secure: false, sameSite: "strict" } })
export const cookie = SessionCookie.make({} as SessionCookie.CookieOptions)`,
  "accessors": `export const program = Effect.gen(function*() {
  const session = yield* App
  const user: string = yield* session.getOrElse("user", () => "guest")
  const locale: string = yield* session.get("locale")
  const taken = yield* session.take("notice")
  const note: string | null = yield* session.getOrSet("note", null)
  yield* App.remove("user")
  return [user, locale, taken, note, yield* App.pop("note"), yield* App.popOrElse("user", () => 7)]
})`
}

const files = (programs: Readonly<Record<string, unknown>>, prefix: string) =>
  Object.keys(programs).map((title, i) => [title, `${prefix}${i}.ts`] as const)

let output = ""

/** The diagnostics of one file, each with its explanatory lines. */
const diagnosticsOf = (file: string): ReadonlyArray<string> =>
  output.split(/^(?=\S+\.ts\()/m).filter((diagnostic) => diagnostic.startsWith(`${file}(`))

beforeAll(async () => {
  symlinkSync(Path.join(root, "node_modules"), Path.join(project, "node_modules"))
  for (const [title, file] of files(rejected, "rejected")) {
    writeFileSync(Path.join(project, file), head + rejected[title]?.[0])
  }
  for (const [title, file] of files(accepted, "accepted")) {
    writeFileSync(Path.join(project, file), head + accepted[title])
  }
  writeFileSync(Path.join(project, "package.json"), JSON.stringify({ name: "refused", type: "module" }))
  writeFileSync(
    Path.join(project, "tsconfig.json"),
    JSON.stringify({
      extends: Path.join(root, "tsconfig.json"),
      compilerOptions: {
        paths: {
          "effect-session": [Path.join(root, "src/index.ts")],
          "effect-session/*": [Path.join(root, "src/*.ts")]
        }
      },
      include: ["*.ts"],
      exclude: []
    })
  )
  const tsc = Path.join(root, "node_modules/.bin/tsc")
  output = await promisify(execFile)(tsc, ["--noEmit", "--pretty", "false", "-p", "."], {
    cwd: project,
    encoding: "utf8"
  })
    .then(({ stdout }) => stdout, (error: { readonly stdout?: string }) => error.stdout ?? String(error))
}, 300_000)

afterAll(() => rmSync(project, { recursive: true, force: true }))

describe("the compiler reports one sentence for", () => {
  for (const [title, file] of files(rejected, "rejected")) {
    it(title, () => {
      const found = diagnosticsOf(file)
      assert.lengthOf(found, 1, found.join("\n") || output.slice(0, 500))
      assert.include(found[0] ?? "", rejected[title]?.[1] ?? "unknown program")
    })
  }
})

describe("the compiler accepts", () => {
  for (const [title, file] of files(accepted, "accepted")) {
    it(title, () => assert.deepStrictEqual(diagnosticsOf(file), []))
  }

  it("all modules that the programs import", () => {
    assert.notMatch(output, /^(?!rejected)\S+\(\d/m)
  })
})
