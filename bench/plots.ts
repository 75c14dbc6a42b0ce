/**
 * `npm run bench -- plots`: writes the page and the plots from the JSON of the last runs.
 */
import { render } from "./report.js"

render()
