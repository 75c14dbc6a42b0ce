import { onStores } from "./support/laws.js"

onStores("memory", "cache", "sqlite")
