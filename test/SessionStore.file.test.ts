import { onStores } from "./support/laws.js"
import { localStores } from "./support/localStores.js"

onStores(localStores, "file")
