import { onStores } from "./support/laws.js"
import { partitioned } from "./support/serverClients.js"

onStores([partitioned], "postgres, 16 partitions")
