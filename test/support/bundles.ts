/**
 * Minified bundles of programs that use the installed package, and what is in them.
 */
import { build } from "esbuild"
import { readFileSync } from "node:fs"
import * as Path from "node:path"
import { gzipSync } from "node:zlib"

const { dependencies, peerDependencies }: Readonly<Record<string, Readonly<Record<string, string>>>> = JSON.parse(
  readFileSync("package.json", "utf8")
)

/** All packages that this one depends on. */
export const packages = Object.keys({ ...dependencies, ...peerDependencies })

export interface Bundle {
  readonly text: string
  /** The number of bytes, minified and compressed by gzip. */
  readonly gzip: number
  /** The modules of this package with code in the bundle: `Session`, `internal/session/commit`. */
  readonly own: ReadonlyArray<string>
  /** The modules of other packages with code in the bundle, by their paths below `node_modules`. */
  readonly others: ReadonlyArray<string>
  /** The modules of packages that the bundle imports. */
  readonly external: ReadonlyArray<string>
}

export interface Options {
  readonly platform: "browser" | "node"
  readonly conditions?: Array<string>
  /** Leaves out all packages but this one. */
  readonly ownCodeOnly?: boolean
}

/** Bundles a program whose imports are resolved in a project. */
export const bundle = async (
  project: string,
  program: string,
  { conditions, ownCodeOnly = false, platform }: Options
): Promise<Bundle> => {
  const { metafile: { outputs }, outputFiles } = await build({
    stdin: { contents: program, resolveDir: project, loader: "js" },
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    format: "esm",
    platform,
    ...(conditions === undefined ? {} : { conditions }),
    external: ownCodeOnly ? packages : [],
    preserveSymlinks: true,
    // CommonJS modules in the bundle load modules of node with `require`.
    banner: platform === "node" && !ownCodeOnly
      ? { js: `import { createRequire } from "node:module"; const require = createRequire(import.meta.url);` }
      : {},
    absWorkingDir: project,
    nodePaths: [Path.resolve("node_modules")],
    logLevel: "silent"
  })
  const [output] = Object.values(outputs)
  const [file] = outputFiles
  if (output === undefined || file === undefined) throw new Error("esbuild has written nothing.")
  const paths = Object.entries(output.inputs)
    .flatMap(([path, { bytesInOutput }]) => bytesInOutput > 0 && path !== "<stdin>" ? [path] : [])
    .map((path) => path.replace(/^.*node_modules\//, ""))
  const own = /^effect-session\/dist\/(.*)\.js$/
  return {
    text: file.text,
    gzip: gzipSync(file.text).length,
    own: paths.flatMap((path) => own.exec(path)?.[1] ?? []).sort(),
    others: paths.filter((path) => !own.test(path)).sort(),
    external: output.imports.map(({ path }) => path).sort()
  }
}

/** The packages of modules. */
export const packagesOf = (modules: ReadonlyArray<string>): ReadonlyArray<string> =>
  [
    ...new Set(modules.map((path) => /^(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? path))
  ].sort()
