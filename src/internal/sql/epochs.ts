/**
 * Drops the epochs of subjects that no session has any more, a bounded number at a time.
 *
 * An epoch may go when it concerns nothing: there is no record of the subject, and none that began before the revocation is
 * still being written, because that was an hour ago. A record that is written from then on notes that there is no epoch; a
 * later revocation is greater than whatever a record can have noted, because it is the time at which it was made.
 */
import * as Effect from "effect/Effect"
import { SessionStoreError } from "../../SessionStore.js"
import { integer, text } from "../record.js"
import type { Calls } from "./calls.js"
import { column } from "./rows.js"
import type { Prepared } from "./statements.js"

/** How many epochs a statement looks at: those who revoke wait for it. */
const pageSize = 500

/** How many pages one call looks at. */
const mostPages = 10

/** Looks at the next pages of all epochs, and begins anew after the last one. */
export const tidying = (
  { read, write }: Calls,
  statements: { readonly pageOfEpochs: Prepared; readonly dropEpochs: Prepared }
): Effect.Effect<void, SessionStoreError> => {
  const first = { namespace: "", subject: "" }
  // Where the next call goes on.
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

  return Effect.suspend(() => pages(mostPages))
}
