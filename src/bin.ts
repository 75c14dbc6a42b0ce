#!/usr/bin/env node
/**
 * The program `effect-session`.
 */

// The only members that are used: so this package compiles without `@types/node`.
declare const process: { readonly argv: ReadonlyArray<string>; exitCode: number | undefined }

const main = async () => {
  const [Cli, NodeContext, NodeRuntime, Effect] = await Promise.all([
    import("./Cli.js"),
    import("@effect/platform-node/NodeContext"),
    import("@effect/platform-node/NodeRuntime"),
    import("effect/Effect")
  ])
  Cli.run(process.argv).pipe(
    Effect.map((exitCode) => {
      process.exitCode = exitCode
    }),
    Effect.provide(NodeContext.layer),
    NodeRuntime.runMain({
      disablePrettyLogger: true,
      // `Cli.run` never fails, so a failure is an interruption: exit with 130 (SIGINT), where the default would be 0.
      teardown: (exit, onExit) => onExit(exit._tag === "Success" ? 0 : 130)
    })
  )
}

const isMissing = (error: unknown): boolean =>
  error instanceof Error && "code" in error && error.code === "ERR_MODULE_NOT_FOUND"

/** Effect 4 has no `Either`. */
const isEffect3 = () =>
  import("effect/Either").then(() => true, (error: unknown) => {
    if (isMissing(error)) return false
    throw error
  })

main().catch(async (error: unknown) => {
  if (!await isEffect3()) {
    console.error(
      "The installed version of effect is not 3. This is the Effect 3 line: npm install effect@3.22 " +
        "@effect/platform@0.97 @effect/platform-node@0.108"
    )
  } else if (isMissing(error)) {
    // Only the command line needs these packages, so they are optional peer dependencies.
    console.error(
      "The command line needs packages that are not installed: npm install @effect/cli@0.77 @effect/printer@0.51 " +
        "@effect/printer-ansi@0.51 @effect/platform-node@0.108 @effect/sql@0.52"
    )
  } else throw error
  process.exitCode = 1
})
