/**
 * What the server serves: the pages, and the API below `/api`.
 */
import { HttpApiBuilder, HttpApiError, HttpLayerRouter } from "@effect/platform"
import { Effect, Layer, Option } from "effect"
import { Csrf } from "effect-session"
import { Api, CurrentUser, Protected, SignedIn } from "./api.js"
import { AppSession } from "./AppSession.js"
import * as Routes from "./routes.js"

const SignedInLive = SignedIn.layer(Effect.succeed((session) =>
  Effect.flatMap(
    session.subject,
    Option.match({ onNone: () => new HttpApiError.Unauthorized(), onSome: (user) => Effect.succeed(user) })
  )
))

const AccountLive = HttpApiBuilder.group(Api, "account", (handlers) =>
  handlers
    .handle("show", () =>
      Effect.all({ user: CurrentUser, theme: AppSession.get("theme"), csrfToken: Csrf.token(AppSession) }))
    .handle("setTheme", ({ payload }) =>
      AppSession.set("theme", payload.theme)))

const ApiRoutes = HttpLayerRouter.addHttpApi(Api).pipe(
  Layer.provide(AccountLive),
  Layer.provide([SignedInLive, Protected.layer()])
)

export const layer = HttpLayerRouter.serve(Layer.mergeAll(Routes.layer, ApiRoutes))
