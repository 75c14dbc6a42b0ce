/**
 * Writes an application: the files of the base, of its front end and of its engine, and its package.json.
 */
import { randomBytes } from "node:crypto"
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { allowedScripts, dependenciesOf, devDependencies, type Engine, type FrontEnd } from "./choices.js"

const root = fileURLToPath(new URL("..", import.meta.url))
const template = Path.join(root, "template")

/** Of this package, and of the library that the application depends on. */
export const { version }: { readonly version: string } = JSON.parse(
  readFileSync(Path.join(root, "package.json"), "utf8")
)

export interface Application {
  readonly folder: string
  readonly frontEnd: FrontEnd
  readonly engine: Engine
}

export const isTaken = (folder: string): boolean => existsSync(folder) && readdirSync(folder).length > 0

export const scaffold = ({ engine, folder, frontEnd }: Application): void => {
  for (const part of ["base", Path.join("front-ends", frontEnd), Path.join("engines", engine)]) {
    cpSync(Path.join(template, part), folder, { recursive: true })
  }
  // npm leaves files of this name out of packages.
  renameSync(Path.join(folder, "gitignore"), Path.join(folder, ".gitignore"))
  writeFileSync(Path.join(folder, "package.json"), `${JSON.stringify(manifest(folder, frontEnd, engine), null, 2)}\n`)
  writeFileSync(Path.join(folder, ".env"), withKey(readFileSync(Path.join(folder, ".env.example"), "utf8")))
}

/** A name that npm accepts. */
const nameOf = (folder: string): string =>
  Path.basename(Path.resolve(folder)).toLowerCase().replaceAll(/[^a-z0-9-]+/g, "-").replaceAll(/^-+|-+$/g, "") || "app"

const manifest = (folder: string, frontEnd: FrontEnd, engine: Engine) => ({
  name: nameOf(folder),
  private: true,
  type: "module",
  scripts: {
    dev: "tsx watch --env-file=.env src/main.ts",
    build: "tsc -p tsconfig.build.json",
    check: "tsc",
    test: "vitest run",
    prestart: "npm run build",
    start: "node --env-file=.env dist/main.js"
  },
  dependencies: dependenciesOf(frontEnd, engine, version),
  devDependencies,
  engines: { node: ">=20.19.0" },
  allowScripts: allowedScripts(engine)
})

const withKey = (settings: string): string =>
  settings.replace(/^SESSION_KEYS=$/m, () => `SESSION_KEYS=1:${randomBytes(32).toString("base64url")}`)
