import { onStores } from "./support/laws.js"

onStores("file")
