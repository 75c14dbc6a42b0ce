import { onStores } from "./support/laws.js"

onStores("postgres")
