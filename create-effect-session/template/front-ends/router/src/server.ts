/**
 * What the server serves.
 */
import { HttpLayerRouter } from "@effect/platform"
import * as Routes from "./routes.js"

export const layer = HttpLayerRouter.serve(Routes.layer)
