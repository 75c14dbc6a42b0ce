import { onStores } from "./support/laws.js"

onStores("postgres, 16 partitions")
