import { onStores } from "./support/laws.js"
import { variants } from "./support/stores.js"

onStores(variants, "libsql")
