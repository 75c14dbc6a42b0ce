/**
 * The order of the test files: the longest first, so that the run does not end with one worker waiting for another.
 */
import { BaseSequencer, type TestSpecification } from "vitest/node"

/** The files that take more than half a minute, the longest first. */
const long = [
  "FileStore.processes",
  "MigratingStore.moving",
  "FileStore.steps",
  "FileStore.interleaved",
  "L4-commit-then-answer",
  "SessionStore.combined",
  "FileStore.crash"
]

const placeOf = ({ moduleId }: TestSpecification): number => {
  const place = long.findIndex((name) => moduleId.includes(`/${name}.`))
  return place < 0 ? long.length : place
}

export class LongestFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    return (await super.sort(files)).sort((a, b) => placeOf(a) - placeOf(b))
  }
}
