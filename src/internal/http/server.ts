/**
 * What only servers use of a session tag. Importers name this module `#server`, and bundles for a browser have `noServer.ts` in its
 * place: see `imports` in package.json.
 */
export { layer as layerConfig } from "../session/config.js"
export { layer } from "../session/service.js"
export { forLayerRouter, make as middleware } from "./middleware.js"
export { moveLast } from "./moveLast.js"
export { opened } from "./opened.js"
