/**
 * Reading forms, and answering them.
 */
import { HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Data, Effect, type Schema } from "effect"

export class BadForm extends Data.TaggedError("BadForm") {}

/** Decodes the submitted form. Fails with `BadForm` if it is invalid. */
export const form = <A, I extends Readonly<Record<string, string | ReadonlyArray<string> | undefined>>>(
  schema: Schema.Schema<A, I>
) => Effect.mapError(HttpServerRequest.schemaBodyUrlParams(schema), () => new BadForm())

/** Redirects a POST with status 303, so that reloading the page does not post again. */
export const see = (path: string) => HttpServerResponse.redirect(path, { status: 303 })
