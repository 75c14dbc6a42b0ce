/**
 * References of errors and log lines to `docs/troubleshooting.md`.
 */

/** A heading of `docs/troubleshooting.md`. `test/troubleshooting.test.ts` compares them. */
export type HelpId =
  // Errors of a request, by their tag
  | "CsrfRejected"
  | "SessionCommitted"
  | "SessionConflict"
  | "SessionCrossSite"
  | "SessionGone"
  | "SessionInTransaction"
  | "SessionInvalid"
  | "SessionLimitReached"
  | "SessionNotFresh"
  | "SessionTooLarge"
  | "SessionUnavailable"
  // The session tag and its cookie
  | "bearer-header-invalid"
  | "bundled-for-a-browser"
  | "cookie-cross-site"
  | "cookie-invalid"
  | "cookie-name-taken"
  | "cookie-without-prefix"
  | "devtools-in-production"
  | "environment-variable-invalid"
  | "expiry-invalid"
  | "history-incomplete"
  | "initial-value-invalid"
  | "insecure-cookie-in-production"
  | "namespace-invalid"
  | "option-out-of-range"
  | "origin-invalid"
  | "schema-invalid"
  | "secure-cookie-over-http"
  | "session-limit-unsupported"
  // Requests
  | "change-after-response"
  | "data-does-not-fit-schema"
  | "error-page-failed"
  | "several-live-sessions"
  | "socket-changes-lost"
  // Programming errors
  | "csrf-needs-the-session"
  | "csrf-not-supported"
  | "middleware-missing"
  | "take-needs-a-store"
  // SQL
  | "audit-table-missing"
  | "database-encoding"
  | "database-not-durable"
  | "database-permissions"
  | "database-read-only"
  | "database-unsupported"
  | "invalidation-not-delivered"
  | "partitions-invalid"
  | "table-names-invalid"
  | "tables-missing"
  // Django
  | "django-key-invalid"
  | "django-session-unreadable"
  | "django-table-unusable"
  | "django-tag-unsupported"
  | "django-time-zone"
  // Redis
  | "redis-evicts-revocations"
  | "redis-evicts-sessions"
  | "redis-not-durable"
  | "redis-policy-unknown"
  | "redis-prefix-invalid"
  | "redis-replica"
  // Files, cookies and caches
  | "cache-not-confirmed"
  | "cache-on-workers"
  | "clocks-differ"
  | "directory-unsafe"
  | "directory-unusable"
  | "keyring-invalid"
  | "signed-cookie-of-another-tag"
  // Stores
  | "record-corrupt"
  | "record-too-large"
  | "store-timeout"
  | "store-unavailable"
  | "write-in-transaction"
  // Background work
  | "audit-event-unreadable"
  | "audit-write-failed"
  | "event-handler-failed"
  | "event-handler-unfinished"
  | "events-dropped"
  | "reaper-failed"
  // The command line
  | "cli-bug"
  | "cli-usage"
  | "copy-incomplete"
  | "database-driver-missing"
  | "database-unreachable"
  | "database-url-invalid"
  | "session-not-found"
  | "store-missing"

/** Ends a message with its reference. `help`: a {@link HelpId}, or an id that an engine of the application uses. */
export const referring = (message: string, help: string): string => `${message} (help: ${help})`

/** Ends a message with its reference to `docs/troubleshooting.md`. */
export const withHelp = (message: string, help: HelpId): string => referring(message, help)
