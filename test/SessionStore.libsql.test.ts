import { onStores } from "./support/laws.js"
import { libsqlClient, sqlStore } from "./support/localStores.js"

onStores([["libsql", () => sqlStore(libsqlClient)]], "libsql")
