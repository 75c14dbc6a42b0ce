/**
 * The laws of stores and engines, published: what is run on every store here can be run on anybody's. No test runner is
 * needed; `docs/stores.md` shows how.
 *
 * @since 0.4.0
 */
export * as FaultyStore from "./FaultyStore.js"
export { capabilityLaws } from "./internal/testing/capabilityLaws.js"
export { damageLaws } from "./internal/testing/damageLaws.js"
export {
  /**
   * What any engine promises.
   *
   * @since 0.4.0
   * @category laws
   */
  engineLaws,
  /**
   * What an engine over a store promises beyond that.
   *
   * @since 0.4.0
   * @category laws
   */
  storedEngineLaws
} from "./internal/testing/engineLaws.js"
export { type Law, LawBroken } from "./internal/testing/law.js"
export {
  /**
   * What any store promises: the contract, the model, every order of two racing requests, and what a session makes of
   * its failures. Each law wants a store that is empty.
   *
   * @since 0.4.0
   * @category laws
   */
  storeLaws
} from "./internal/testing/storeLaws.js"
export * as SessionTest from "./SessionTest.js"
