import { onStores } from "./support/laws.js"
import { combined } from "./support/stores.js"

onStores(combined, "cached sqlite", "redis, postgres", "sqlite to redis")
