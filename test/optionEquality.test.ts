import { Option } from "effect"
import { assert, it } from "vitest"

it("assertions distinguish Option.none from Option.some, also inside of other values", () => {
  assert.throws(() => assert.deepStrictEqual<unknown>(Option.none(), Option.some(1)))
  assert.throws(() => assert.deepStrictEqual<unknown>({ a: [Option.some(1)] }, { a: [Option.none()] }))
  assert.deepStrictEqual(Option.some({ a: 1 }), Option.some({ a: 1 }))
  assert.deepStrictEqual(Option.none(), Option.none())
})
