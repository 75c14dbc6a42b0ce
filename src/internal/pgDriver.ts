/**
 * How statements are sent to Postgres.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import { inTransaction, onConnection } from "./sqlConnection.js"
import type { Driver } from "./sqlDriver.js"
import { returning } from "./sqlDriver.js"

export const pg = (sql: SqlClient.SqlClient): Driver => ({
  ...returning(sql),
  alone: (effect) => onConnection(sql, effect),
  transaction: (effect) => inTransaction(sql, effect)
})
