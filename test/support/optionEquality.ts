/**
 * Makes chai distinguish `Option.none()` from `Option.some(…)`: both can be iterated and yield themselves, which it takes for equal.
 */
import { Option } from "effect"
import { chai } from "vitest"

chai.config.deepEqual = (expected, actual) =>
  chai.util.eql(actual, expected, {
    // null leaves the decision to chai.
    comparator: (a, b) => Option.isOption(a) && Option.isOption(b) && a._tag !== b._tag ? false : null
  })
