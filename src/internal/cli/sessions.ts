/**
 * The commands about single sessions and subjects: `list`, `find`, `show`, `revoke` and `explain`.
 */
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as Options from "@effect/cli/Options"
import * as Prompt from "@effect/cli/Prompt"
import * as Terminal from "@effect/platform/Terminal"
import * as Console from "effect/Console"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { SessionConfigError } from "../../SessionConfigError.js"
import { SessionEvent } from "../../SessionEvents.js"
import * as SessionId from "../../SessionId.js"
import type { SessionInfo, SessionRecord } from "../../SessionRecord.js"
import type { EndReason } from "../../SessionStore.js"
import type { Audit } from "../../SqlAudit.js"
import * as SqlAudit from "../../SqlAudit.js"
import type { TableNames } from "../../SqlStore.js"
import { listed } from "../store/pages.js"
import type { DatabaseUrl } from "./database.js"
import { client, CliFailure, explained, failed, printable, sentenceOf } from "./database.js"
import { jsonOption, print, printError, table, time, timeOrNull } from "./output.js"
import { connection, kindOf, namespaceOption, withStore } from "./store.js"

const id = Args.text({ name: "id" }).pipe(
  // The message does not repeat the value, which may be a token.
  Args.mapEffect((id) =>
    Option.match(SessionId.parse(id), {
      onNone: () => Effect.fail(HelpDoc.p("A session id has 22 characters: letters, digits, \"-\" and \"_\".")),
      onSome: Effect.succeed
    })
  ),
  Args.withDescription("The public id of a session, as lists and logs show it.")
)

const scope = { ...connection, namespace: namespaceOption, json: jsonOption }

const subject = Options.text("subject").pipe(Options.withDescription("The user that the sessions belong to."))

const notFound = failed("There is no such session in this namespace.", "session-not-found", 3)

export const show = Command.make("show", {
  ...scope,
  id,
  data: Options.boolean("data").pipe(Options.withDescription("Also print the data of the session."))
}, ({ data, id, json, names, namespace, url }) =>
  withStore(url, names, (store, now) =>
    Effect.flatMap(
      store.find(namespace, id, now),
      Option.match({
        onNone: () => notFound,
        onSome: (record) => print(json, documentOf(record, data), textOf(record, data))
      })
    ))).pipe(Command.withDescription("Print the public metadata of one session."))

export const find = Command.make(
  "find",
  { ...scope, id },
  ({ id, json, names, namespace, url }) =>
    withStore(url, names, (store, now) =>
      Effect.flatMap(
        store.find(namespace, id, now),
        Option.match({
          onNone: () => notFound,
          onSome: (record) => print(json, documentOf(record), textOf(record))
        })
      ))
).pipe(Command.withDescription("Print the public metadata of one session, never its data."))

/** The number of sessions, or of events, that are read at once. */
const pageSize = 100

export const list = Command.make(
  "list",
  { ...scope, subject },
  ({ json, names, namespace, subject, url }) =>
    withStore(url, names, (store) =>
      listed(store, namespace, subject, pageSize).pipe(
        Stream.flattenIterables,
        Stream.runFoldEffect(0, (count, session) =>
          Effect.as(
            Effect.zipRight(
              json || count > 0 ? Effect.void : Console.log(heading),
              print(json, documentOf(session), lineOf(session))
            ),
            count + 1
          )),
        Effect.flatMap((count) =>
          json || count > 0 ? Effect.void : Console.log("There is no live session of this subject in this namespace.")
        )
      ))
).pipe(Command.withDescription("List the live sessions of a user, oldest first: their ids and times."))

// Revocation

export const revoke = Command.make("revoke", {
  ...scope,
  id: Args.optional(id),
  subject: Options.optional(subject),
  all: Options.boolean("all").pipe(Options.withDescription("End all sessions of the namespace.")),
  yes: Options.boolean("yes").pipe(Options.withDescription("Do not ask for a confirmation of --all."))
}, ({ all, id, json, names, namespace, subject, url, yes }) => {
  const given = [Option.isSome(id), Option.isSome(subject), all].filter((one) => one)
  if (given.length !== 1) return misused("Give exactly one: the id of a session, --subject or --all.")
  if (yes && !all) return misused("--yes is for --all only.")
  const ended = (revoked: "session" | "subject" | "all", reason: EndReason, text: string) =>
    Effect.zipRight(
      recorded(url, names, (at) => ({
        _tag: "Ended",
        session: "effect-session",
        namespace,
        id: Option.getOrUndefined(id),
        subject: Option.getOrUndefined(subject),
        at,
        reason,
        by: undefined
      })),
      print(json, { revoked, namespace, id: Option.getOrNull(id), subject: Option.getOrNull(subject) }, text)
    )
  return Effect.zipRight(
    all && !yes ? confirmed(namespace, json) : Effect.void,
    withStore(url, names, (store) =>
      Option.isSome(id)
        ? Effect.flatMap(
          store.revoke(namespace, id.value),
          (found) => found ? ended("session", "revoked", "The session is revoked.") : notFound
        )
        : Option.isSome(subject)
        ? Effect.zipRight(
          store.revokeSubject(namespace, subject.value),
          ended("subject", "subjectRevoked", "All sessions of this subject are revoked.")
        )
        : Effect.zipRight(
          store.revokeAll(namespace),
          ended("all", "allRevoked", "All sessions of this namespace are revoked.")
        ))
  )
}).pipe(Command.withDescription("End one session, all sessions of a user, or all sessions of a namespace, at once."))

const misused = (message: string) => failed(message, "cli-usage", 2)

/** Asks on a terminal. The question is on stdout, so it is not asked where JSON is expected. */
const confirmed = (namespace: string, json: boolean) =>
  Effect.gen(function*() {
    const { isTTY } = yield* Terminal.Terminal
    if (json || !(yield* isTTY)) return yield* misused("--all needs --yes where the command line cannot ask.")
    const answer = yield* Effect.orElseSucceed(
      Prompt.confirm({ message: printable(`End all sessions of ${JSON.stringify(namespace)}?`), initial: false }),
      () => false
    )
    if (!answer) return yield* new CliFailure({ exitCode: 1, message: "Nothing was revoked.", help: undefined })
  })

// The audit table

/** Whether the error of {@link SqlAudit.make} is that the table is missing. */
const isMissing = (error: unknown): boolean => error instanceof SessionConfigError && error.subject === "SqlAudit"

/** Writes an event to the audit table of the database, if there is one. The revocation is done, so a failure is only reported. */
const recorded = (url: DatabaseUrl, names: TableNames, event: (at: DateTime.Utc) => SessionEvent) =>
  kindOf(url) !== "sql" ? Effect.void : client(url, false).pipe(
    Effect.flatMap((layer) =>
      SqlAudit.make(names).pipe(
        Effect.flatMap(({ write }) => Effect.flatMap(DateTime.now, (at) => write([event(at)]))),
        Effect.catchIf(isMissing, () => Effect.void),
        Effect.provide(layer)
      )
    ),
    explained(url),
    Effect.catchAll((failure) =>
      printError(`The revocation is done, but was not written to the audit table: ${sentenceOf(failure)}`)
    )
  )

export const explain = Command.make(
  "explain",
  { ...scope, id },
  ({ id, json, names, namespace, url }) =>
    kindOf(url) !== "sql"
      ? failed(
        "Redis and files have no audit table: give the URL of the SQL database that SqlAudit writes to.",
        "audit-table-missing"
      )
      : client(url, false).pipe(
        Effect.flatMap((layer) =>
          Effect.provide(
            Effect.flatMap(
              Effect.mapError(
                SqlAudit.make(names),
                (error) =>
                  error.subject === "SqlAudit"
                    ? failed(
                      "There is no audit table: \"effect-session migrate --audit\" creates it, and SqlAudit.layer in the server writes to it.",
                      "audit-table-missing"
                    )
                    : error
              ),
              (audit) => explanation(audit, namespace, id, json)
            ),
            layer
          )
        ),
        explained(url),
        Effect.disconnect
      )
).pipe(Command.withDescription("Print what happened to a session, and why it ended, from the audit table."))

const explanation = (audit: Audit, namespace: string, id: SessionId.SessionId, json: boolean) =>
  Effect.gen(function*() {
    const entries = Stream.paginateEffect(
      "",
      (after) =>
        Effect.map(audit.explain(namespace, id, { after, limit: pageSize }), (found) =>
          [
            found,
            found.length < pageSize ? Option.none() : Option.map(Option.fromNullable(found.at(-1)), ({ key }) => key)
          ] as const)
    )
    const history = yield* Stream.runFoldEffect(
      Stream.flattenIterables(entries),
      nothing,
      ({ end, events }, { event }): Effect.Effect<History> =>
        Effect.as(print(json, eventDocument(event), eventLine(event)), {
          events: events + 1,
          // An event of the session itself shows that it was still alive.
          end: event._tag === "Ended"
            ? end ?? (isSpared(event, id) ? undefined : event)
            : event.id === id
            ? undefined
            : end
        })
    )
    if (history.events === 0) {
      return yield* failed("The audit table has no event of such a session in this namespace.", "session-not-found", 3)
    }
    if (!json) yield* Console.log(conclusion(history.end))
  })

/** The summary of the events that were read so far. */
interface History {
  readonly events: number
  /** The event that ended the session. */
  readonly end: Ended | undefined
}

const nothing: History = { events: 0, end: undefined }

type Ended = Extract<SessionEvent, { readonly _tag: "Ended" }>

/** A session that ends the others of its subject lives on. */
const isSpared = (event: Ended, id: SessionId.SessionId): boolean => event.id === undefined && event.by?.id === id

const conclusion = (end: Ended | undefined): string =>
  end === undefined
    ? "No end is recorded: it is alive, or it has expired."
    : `It ended at ${DateTime.formatIso(end.at)}: ${because[end.reason]}${
      end.by === undefined || end.by.id === end.id
        ? ""
        : printable(
          `, by ${end.by.id === undefined ? "a session" : `the session ${end.by.id}`}${
            end.by.subject === undefined ? "" : ` of ${JSON.stringify(end.by.subject)}`
          }`
        )
    }.`

const because: Readonly<Record<EndReason, string>> = {
  allRevoked: "all sessions of its namespace were revoked",
  expired: "it expired",
  limit: "a newer session of its subject took its place",
  loggedOut: "logged out",
  revoked: "it was revoked by its id",
  rotated: "it got another token",
  subjectRevoked: "all sessions of its subject were revoked"
}

const encodeEvent = Schema.encodeSync(SessionEvent)

const eventDocument = (event: SessionEvent) => {
  const { _tag, at, id = null, namespace, session, subject = null, ...details } = encodeEvent(event)
  return { at, event: _tag, session, namespace, id, subject, ...details }
}

const eventLine = (event: SessionEvent): string => {
  const { at, event: name, id: _, namespace: __, session: ___, ...details } = eventDocument(event)
  return printable([at, name, ...Object.entries(details).map(assigned)].join("  "))
}

const assigned = ([name, value]: readonly [string, unknown]): string =>
  `${name}=${value === null ? "-" : JSON.stringify(value)}`

// Sessions

const attributesFrom = Schema.decodeUnknownOption(
  Schema.parseJson(Schema.Record({ key: Schema.String, value: Schema.Unknown }))
)

/** The members of the attributes; none if they are not the JSON of an object. */
const attributesOf = ({ attributes }: SessionInfo): Readonly<Record<string, unknown>> =>
  Option.getOrElse(attributesFrom(attributes), () => ({}))

const documentOf = (session: SessionInfo | SessionRecord, data = false) => ({
  namespace: session.namespace,
  id: session.id,
  subject: session.subject ?? null,
  version: session.version,
  schemaVersion: session.schemaVersion,
  createdAt: timeOrNull(session.createdAt),
  authenticatedAt: timeOrNull(session.authenticatedAt),
  modifiedAt: timeOrNull(session.modifiedAt),
  lastSeenAt: timeOrNull(session.lastSeenAt),
  expiresAt: timeOrNull(session.expiry.at),
  deadline: timeOrNull(session.expiry.deadline),
  attributes: attributesOf(session),
  ...data && "data" in session ? { data: session.data } : {}
})

const textOf = (record: SessionRecord, data = false): string =>
  table([
    ["namespace", record.namespace],
    ["id", record.id],
    ["subject", record.subject ?? "-"],
    ["version", String(record.version)],
    ["schema version", String(record.schemaVersion)],
    ["created", time(record.createdAt)],
    ["authenticated", time(record.authenticatedAt)],
    ["modified", time(record.modifiedAt)],
    ["last seen", time(record.lastSeenAt)],
    ["expires", time(record.expiry.at)],
    ["deadline", time(record.expiry.deadline)],
    ...Object.entries(attributesOf(record)).map(([name, value]) => [printable(name), JSON.stringify(value)] as const),
    ...data ? [["data", record.data] as const] : []
  ])

const columns = (...texts: ReadonlyArray<string>): string => texts.map((text) => text.padEnd(24)).join("  ").trimEnd()

const heading = columns("id", "created", "last seen", "expires")

const lineOf = (session: SessionInfo): string =>
  printable(columns(
    session.id,
    time(session.createdAt),
    time(session.lastSeenAt),
    time(session.expiry.at),
    Object.entries(attributesOf(session)).map(assigned).join(" ")
  ))
