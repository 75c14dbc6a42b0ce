/**
 * Deletes the epochs of subjects without sessions, a bounded number at a time.
 *
 * An epoch is unused if there is no record of its subject, and if no write that began before the revocation can still be running, because
 * the revocation was an hour ago. A record that is written later stores epoch 0. A later revocation sets the epoch to its own time, which
 * is greater than any epoch that a record can have stored.
 */
import * as Effect from "effect/Effect"
import { SessionStoreError } from "../../SessionStore.js"
import { integer, text } from "../record.js"
import type { Calls } from "./calls.js"
import { column } from "./rows.js"
import type { Prepared } from "./statements.js"

/** Epochs that one statement examines. Few, because concurrent revocations wait for it. */
const pageSize = 500

/** Pages that one call examines. */
const maxPages = 10

/** Examines the next pages of all epochs, and starts again after the last one. */
export const tidying = (
  { read, write }: Calls,
  statements: { readonly pageOfEpochs: Prepared; readonly dropEpochs: Prepared }
): Effect.Effect<void, SessionStoreError> => {
  const first = { namespace: "", subject: "" }
  let after = first

  const page = Effect.gen(function*() {
    const rows = yield* read("removeExpired", statements.pageOfEpochs, { ...after, limit: pageSize })
    const last = rows.at(-1)
    if (last === undefined) return void (after = first)
    const [to, isUnused] = yield* Effect.try({
      try: () =>
        [
          { namespace: column(last, "namespace", text), subject: column(last, "subject", text) },
          rows.some((row) => column(row, "unused", integer) === 1)
        ] as const,
      catch: (cause) => new SessionStoreError({ operation: "removeExpired", reason: "corrupt", cause })
    })
    if (isUnused) {
      yield* write("removeExpired", statements.dropEpochs, {
        ...after,
        toNamespace: to.namespace,
        toSubject: to.subject
      })
    }
    after = rows.length < pageSize ? first : to
  })

  const pages = (left: number): Effect.Effect<void, SessionStoreError> =>
    Effect.flatMap(page, () => left <= 1 || after === first ? Effect.void : pages(left - 1))

  return Effect.suspend(() => pages(maxPages))
}
