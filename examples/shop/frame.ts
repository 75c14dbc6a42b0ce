/**
 * The parts of a page that come from the session: the visitor, the token of its forms, and a notice.
 */
import { Context, Effect, Option } from "effect"
import { Csrf, ReadOnce } from "effect-session"
import { SessionDirectory } from "effect-session/SessionDirectory"
import { AppSession } from "./AppSession.js"
import { html } from "./html.js"

/** The name of the session engine, for the footer. */
export class EngineName extends Context.Tag("shop/EngineName")<EngineName, string>() {}

/** Shows a sentence on the next page, once. */
export const notify = (sentence: string) => AppSession.set("notice", ReadOnce.make(sentence))

/** Takes the notice out of the session. `has` uses the loaded session, so a page without a notice costs no store call. */
const takeNotice = Effect.if(AppSession.has("notice"), {
  onTrue: () => AppSession.take("notice"),
  onFalse: () => Effect.succeedNone
})

/**
 * A cookie engine has no directory: nothing can be read only once there, because a browser may present an older cookie again. The shop
 * shows no notices then. An application with one stored engine uses `takeNotice` alone.
 */
const notice = Effect.flatMap(
  Effect.serviceOption(SessionDirectory),
  Option.match({
    onNone: () => Effect.succeedNone,
    onSome: (directory) => Effect.provideService(takeNotice, SessionDirectory, directory)
  })
)

/** Made after the changes of a handler, so that the token is that of the session which the response leaves to the browser. */
export const frame = Effect.gen(function*() {
  return {
    notice: yield* notice,
    visitor: yield* AppSession.value,
    engine: yield* EngineName,
    /** The hidden field that every form needs. Visitors without a session have none, and need none. */
    csrf: Option.match(yield* Csrf.token(AppSession), {
      onNone: () => html``,
      onSome: (token) => html`<input type="hidden" name="csrfToken" value="${token}">`
    })
  }
})

export type Frame = Effect.Effect.Success<typeof frame>

/** The session value shown on pages. */
export type Visitor = Frame["visitor"]
