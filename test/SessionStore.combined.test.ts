import { onStores } from "./support/laws.js"

onStores("cached sqlite", "redis, postgres", "sqlite to redis")
