import { onStores } from "./support/laws.js"
import { stores } from "./support/stores.js"

onStores(stores, "libsql")
