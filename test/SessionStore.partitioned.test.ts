import { onStores } from "./support/laws.js"
import { partitioned } from "./support/stores.js"

onStores([partitioned], "postgres, 16 partitions")
