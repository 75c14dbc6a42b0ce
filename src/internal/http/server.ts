/**
 * The parts of a session tag that only servers need. The published modules import it as `#server`, which bundles for a browser resolve to
 * `noServer.ts`: see `scripts/build.ts`.
 */
export { layer as layerConfig } from "../session/config.js"
export { layer } from "../session/service.js"
export { forLayerRouter, make as middleware } from "./middleware.js"
export { moveLast } from "./moveLast.js"
export { opened } from "./opened.js"
