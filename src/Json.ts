/**
 * JSON values, to which session data is encoded.
 *
 * @since 0.6.0
 */

/**
 * A JSON value.
 *
 * @since 0.6.0
 * @category models
 */
export type Json = null | boolean | number | string | ReadonlyArray<Json> | JsonRecord

/**
 * A JSON object.
 *
 * @since 0.6.0
 * @category models
 */
export interface JsonRecord {
  readonly [key: string]: Json
}
