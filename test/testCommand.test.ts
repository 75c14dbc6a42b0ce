/**
 * The arguments of `npm test`.
 */
import { assert, describe, it } from "vitest"
import { advice, isInstalled, isWanted, parse, type Part, parts } from "./support/parts.js"
import { find } from "./support/servers/programs.js"

const namesIn = (args: ReadonlyArray<string>) => parse(args).without.map(({ name }) => name)

const part: Part = {
  name: "tea",
  programs: ["no-such-program", "node"],
  packages: ["teapot", "kettle"],
  files: ["test/laws/**/*.test.ts", "test/testC*.test.ts"]
}

describe("npm test", () => {
  it("parses every form of --without", () => {
    for (
      const args of [["--without", "browser"], ["--without=browser"], ["--without", "browser, browser"], [
        "--without=browser",
        "--without",
        "browser"
      ]]
    ) {
      assert.deepStrictEqual(namesIn(args), ["browser"])
      assert.deepStrictEqual(parse(args).rest, [])
    }
    assert.deepStrictEqual(namesIn([]), [])
  })

  it("passes all other arguments to vitest unchanged", () => {
    const rest = ["test/a.test.ts", "-t", "a title", "--reporter=dot", "--bail", "1", "--no-color", "-u"]
    assert.deepStrictEqual(parse(rest).rest, rest)
    assert.deepStrictEqual(parse(["-t", "a", "--without", "browser", "b", "--", "--without"]).rest, [
      "-t",
      "a",
      "b",
      "--",
      "--without"
    ])
  })

  it("rejects an unknown part and lists the known ones", () => {
    const known = parts.map(({ name }) => name).join(", ")
    for (
      const [args, name] of [[["--without", "tea"], "tea"], [["--without=browser,Browser"], "Browser"], [
        ["--without"],
        ""
      ]] as const
    ) {
      assert.throws(() => parse(args), `The tests have no part "${name}": --without takes ${known}.`)
    }
  })

  it("determines whether a run includes test files of a part", () => {
    for (const args of [[], ["--bail=1"], ["laws"], ["test/x.test.ts", "test/testCommand.test.ts"], ["L3-idle"]]) {
      assert.isTrue(isWanted(part, args), args.join(" "))
    }
    // Neither a file that is not a test nor a folder with a similar name matches.
    for (const args of [["laws/storeLaws"], ["test/Session"], ["test/law/"]]) {
      assert.isFalse(isWanted(part, args), args.join(" "))
    }
  })

  it("names missing programs and the command that installs them", () => {
    assert.isFalse(isInstalled(part))
    assert.isTrue(isInstalled({ ...part, programs: ["node"] }))
    assert.isUndefined(find("node", ""))
    assert.include(
      advice(part),
      "`sudo apt-get update && sudo apt-get install -y --no-install-recommends teapot kettle`"
    )
    assert.include(advice(part), "--without tea")
  })
})
