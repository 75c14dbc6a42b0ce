/**
 * `npm run bench -- plots`: makes the page and the plots again from the data of the last runs.
 */
import { render } from "./report.js"

render()
