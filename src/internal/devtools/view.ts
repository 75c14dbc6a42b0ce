/**
 * The session of the viewer: its fields by the schema, its times, and who is logged in.
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Inspectable from "effect/Inspectable"
import * as Option from "effect/Option"
import * as Pretty from "effect/Pretty"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import type { Absence } from "../../SessionHandle.js"
import type { SessionId } from "../../SessionId.js"
import type { SessionInfo } from "../../SessionRecord.js"
import type { Sessions } from "../../SessionService.js"
import { Facts } from "../http/request.js"
import type { ObservedTag } from "../session/observer.js"

/** The session of the viewer of the page, for one tag. */
export interface SessionView {
  readonly tag: string
  /** The name and the attributes of the cookie; absent if the tag accepts none. */
  readonly cookie: string | undefined
  /** `"unavailable"`: it could not be loaded. Absent if there is a session. */
  readonly absence: Absence | "unavailable" | undefined
  readonly id: SessionId | undefined
  readonly subject: string | undefined
  readonly impersonator: string | undefined
  readonly methods: ReadonlyArray<string>
  readonly level: number | undefined
  /** Times in ISO 8601. */
  readonly createdAt: string | undefined
  readonly authenticatedAt: string | undefined
  readonly lastSeenAt: string | undefined
  readonly endsAt: string | undefined
  readonly fields: ReadonlyArray<{ readonly name: string; readonly type: string; readonly value: string }>
}

/** Reads the viewer's session. Is no use of the session: writes nothing, and prolongs nothing. */
export type ViewSession = (request: HttpServerRequest.HttpServerRequest) => Effect.Effect<SessionView>

/** `infoOf` returns the metadata of the record that the current request has opened. */
export const viewOf = <A, C>(
  { cookie, name, schema, transport }: ObservedTag,
  open: Sessions<A, C>["request"],
  infoOf: () => SessionInfo | undefined
): ViewSession => {
  const fields = AST.getPropertySignatures(AST.typeAST(schema.ast)).map(({ name, type }) => ({
    name: String(name),
    type: String(type),
    show: rendererOf(type)
  }))
  const common = {
    tag: name,
    cookie: transport.accepts === "bearer"
      ? undefined
      : [
        cookie.name,
        ...(cookie.domain === undefined ? [] : [`Domain=${cookie.domain}`]),
        `Path=${cookie.path}`,
        "HttpOnly",
        ...(cookie.secure ? ["Secure"] : []),
        `SameSite=${cookie.sameSite}`
      ].join("; ")
  }
  return (request) => {
    // The session is never finished, so nothing of this use is written.
    const session = open(request.headers.cookie, Facts.of(request, { cookie, transport }))
    return Effect.all({
      value: session.value,
      absence: session.absence,
      subject: session.subject,
      impersonator: session.impersonator,
      methods: session.methods,
      level: session.level
    }).pipe(
      Effect.map(({ absence, impersonator, level, methods, subject, value }): SessionView => {
        const info = infoOf()
        return {
          ...common,
          absence: Option.getOrUndefined(absence),
          id: info?.id,
          subject: Option.getOrUndefined(subject),
          impersonator: Option.getOrUndefined(impersonator),
          methods,
          level: Option.isSome(subject) ? level : undefined,
          createdAt: isoOf(info?.createdAt),
          authenticatedAt: isoOf(info?.authenticatedAt),
          lastSeenAt: isoOf(info?.lastSeenAt),
          endsAt: isoOf(info?.expiry.at),
          fields: fields.map(({ name, show, type }) => ({ name, type, value: show(Object(value)[name]) }))
        }
      }),
      // A defect is that of a schema of the application: it must not hide the rest of the page.
      Effect.catchAllCause(() => Effect.succeed<SessionView>({ ...common, ...unavailable }))
    )
  }
}

const unavailable = {
  absence: "unavailable",
  id: undefined,
  subject: undefined,
  impersonator: undefined,
  methods: [],
  level: undefined,
  createdAt: undefined,
  authenticatedAt: undefined,
  lastSeenAt: undefined,
  endsAt: undefined,
  fields: []
} as const

const isoOf = (millis: number | undefined): string | undefined =>
  millis === undefined ? undefined : DateTime.formatIso(DateTime.unsafeMake(millis))

/** Renders the values of a type. Those of a `Redacted` stay redacted. */
const rendererOf = (type: AST.AST): (value: unknown) => string => {
  const pretty = Option.liftThrowable(() => Pretty.make(Schema.make<unknown>(type)))()
  return (value) =>
    value === undefined ? "" : Option.getOrElse(
      Option.flatMap(pretty, (pretty) => Option.liftThrowable(pretty)(value)),
      () => Inspectable.toStringUnknown(value)
    )
}
