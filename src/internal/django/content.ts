/**
 * The record of a session in the dictionary of Django: the members that are not the application's data.
 */
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Json, JsonRecord } from "../../Json.js"
import type { Lifetime } from "../../Lifetime.js"
import * as SessionId from "../../SessionId.js"
import type { SessionRecord } from "../../SessionRecord.js"
import { decodeBase64Url, lengthPrefixed, sha256, sha256Bytes } from "../crypto/primitives.js"
import * as Attributes from "../domain/attributes.js"
import { isExpired } from "../domain/expiry.js"
import * as Ids from "../domain/id.js"
import * as LifetimeRules from "../domain/lifetime.js"
import { isRecord } from "../json.js"
import type { Members } from "./members.js"
import * as DjangoMembers from "./members.js"
import type { Verified } from "./signing.js"

/** The names of Django's own members. */
const names = {
  user: "_auth_user_id",
  backend: "_auth_user_backend",
  hash: "_auth_user_hash",
  expiry: "_session_expiry",
  csrf: "_csrftoken"
} as const

/** The member with the properties of a record that Django has no place for. */
const ours = "_effect_session"

/** The largest date of JavaScript, in milliseconds since the epoch. */
const maxMillis = 8.64e15

const Moment = Schema.Int.pipe(Schema.between(-maxMillis, maxMillis))

const AttributesRecord = Schema.Record({ key: Schema.String, value: Schema.Unknown }).pipe(
  Schema.filter((attributes) => Option.isSome(Attributes.decode(JSON.stringify(attributes))))
)

const Ours = Schema.Struct({
  id: Schema.optionalWith(SessionId.SessionId, { exact: true }),
  createdAt: Schema.optionalWith(Moment, { exact: true }),
  authenticatedAt: Schema.optionalWith(Moment, { exact: true }),
  deadline: Schema.optionalWith(Moment, { exact: true }),
  schemaVersion: Schema.optionalWith(Schema.Int, { exact: true }),
  attributes: Schema.optionalWith(AttributesRecord, { exact: true }),
  /** The moment at which the session ends, where `_session_expiry` has the seconds until then. */
  until: Schema.optionalWith(Schema.Struct({ at: Moment, seconds: Schema.Int }), { exact: true }),
  /** In the row of a session that has moved: the signature of the text that it moved with. */
  movedFrom: Schema.optionalWith(Schema.String, { exact: true })
})

type Ours = typeof Ours.Type

const decodeOurs = Schema.decodeUnknownOption(Ours)

/** The dates of Django. */
export interface Dates {
  /** The zone of dates without an offset: that of its setting `TIME_ZONE` if `USE_TZ` is false, else UTC. */
  readonly zone: DateTime.TimeZone
  /** Django writes dates without an offset. */
  readonly isNaive: boolean
  /** Django is older than 4.1, and cannot read a date in `_session_expiry`. */
  readonly onlySeconds: boolean
}

/** The session in a verified text. */
export interface Content {
  readonly members: Members
  readonly verified: Verified
  readonly ours: Ours
  readonly subject: string | undefined
  /** The hash of the login. Django ends a login without one. */
  readonly authHash: string | undefined
  readonly lifetime: Lifetime | undefined
  /** Whether the date in `_session_expiry` has an offset. Absent if it is no date. */
  readonly hasOffset: boolean | undefined
  /** A date without an offset was taken for UTC. */
  readonly isAmbiguous: boolean
}

/** Decodes the JSON of a session; `undefined` if it is not an object. */
export const decode = (verified: Verified, dates: Dates): Content | undefined => {
  const members = DjangoMembers.split(verified.json)
  if (members === undefined) return undefined
  const value = (name: string): Json | undefined => {
    const source = members.get(name)
    return source === undefined ? undefined : DjangoMembers.decode(source)
  }
  const user = value(names.user)
  const hash = value(names.hash)
  const expiry = value(names.expiry)
  const known = Option.getOrElse(decodeOurs(value(ours)), (): Ours => ({}))
  const lifetime: Lifetime | undefined = known.until !== undefined && known.until.seconds === expiry
    ? { _tag: "Until", at: known.until.at }
    : lifetimeOf(expiry, dates)
  const hasOffset = lifetime?._tag === "Until" && typeof expiry === "string" ? isWithOffset(expiry) : undefined
  return {
    members,
    verified,
    ours: known,
    subject: typeof user === "string" && user !== "" ? user : typeof user === "number" ? String(user) : undefined,
    authHash: typeof hash === "string" ? hash : undefined,
    lifetime,
    hasOffset,
    isAmbiguous: hasOffset === false && !dates.isNaive
  }
}

/** A date of Python's `isoformat`: the day, the time, the fraction, and the offset with its sign, hours, minutes and seconds. */
const datePattern =
  /^((?!0000)\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d)?(?:\.(\d+))?(Z|([+-])(\d\d):?(\d\d)(?::?(\d\d)(?:\.\d+)?)?)?$/

/** Whether a date has an offset. */
const isWithOffset = (text: string): boolean => datePattern.exec(text)?.[5] !== undefined

/** Decodes `_session_expiry`: a number of seconds, 0 for the end of the browser's session, or a date. */
const lifetimeOf = (expiry: Json | undefined, { zone }: Dates): Lifetime | undefined => {
  if (expiry === 0 || expiry === false) return { _tag: "Browser" }
  if (typeof expiry === "number" || expiry === true) {
    const millis = Number(expiry) * 1000
    return Math.abs(millis) <= maxMillis ? { _tag: "Inactivity", millis } : undefined
  }
  const at = typeof expiry === "string" ? momentOf(expiry, zone) : undefined
  return at === undefined ? undefined : { _tag: "Until", at }
}

/** Parses a date of Python's `isoformat`, or of a database. One without an offset is in the zone. Milliseconds since the epoch. */
export const momentOf = (text: string, zone: DateTime.TimeZone): number | undefined => {
  const parts = datePattern.exec(text)
  if (parts === null) return undefined
  const [, day, time, seconds = ":00", fraction = "", offset, sign, ...lengths] = parts
  const date = `${day}T${time}${seconds}`
  const utc = Date.parse(`${date}.${fraction.slice(0, 3).padEnd(3, "0")}Z`)
  // `Date` takes February 30 for March 2.
  if (Number.isNaN(utc) || !new Date(utc).toISOString().startsWith(date)) return undefined
  if (offset !== undefined) {
    const [hours = 0, minutes = 0, seconds = 0] = lengths.map((length = "0") => Number(length))
    return utc - ((hours * 60 + minutes) * 60 + seconds) * (sign === "-" ? -1000 : 1000)
  }
  return DateTime.makeZoned(utc, { timeZone: zone, adjustForTimeZone: true }).pipe(
    Option.map(DateTime.toEpochMillis),
    Option.getOrUndefined
  )
}

/** The first and the last day that Python's dates have in every zone, in milliseconds since the epoch. */
const firstDate = Date.parse("0001-01-02T00:00:00Z")
export const lastDate = Date.parse("9999-12-30T00:00:00Z")

/** Formats a moment in the zone, without an offset: `2026-01-15 09:30:00.250000`. One outside of Python's dates becomes the nearest. */
export const localText = (at: number, zone: DateTime.TimeZone): string => {
  const held = Math.min(Math.max(at, firstDate), lastDate)
  const local = held + DateTime.zonedOffset(DateTime.unsafeMakeZoned(held, { timeZone: zone }))
  return `${new Date(local).toISOString().slice(0, 23).replace("T", " ")}000`
}

/** Encodes a lifetime; `undefined` for that of the policy. Django's integers are seconds: a part of one is rounded up. */
const expiryOf = (
  lifetime: Lifetime | undefined,
  { isNaive, onlySeconds, zone }: Dates,
  now: number
): Json | undefined => {
  switch (lifetime?._tag) {
    case undefined:
      return undefined
    case "Browser":
      return 0
    case "Inactivity":
      // 0 would be the end of the browser's session, and -1 has ended as well.
      return Math.ceil(lifetime.millis / 1000) || -1
    case "Until":
      // 0 would be the end of the browser's session.
      if (onlySeconds) return Math.max(1, Math.ceil((lifetime.at - now) / 1000))
      return `${localText(lifetime.at, zone).replace(" ", "T")}${isNaive ? "" : "+00:00"}`
  }
}

/** The first 48 bits of a signature as the version of a record: another text has another version. */
export const versionOf = (signature: string): number =>
  decodeBase64Url(signature.slice(0, 8))?.reduce((number, byte) => number * 256 + byte, 0) ?? 0

/** The id of a session that only Django has written. */
const idOfKey = (key: string): SessionId.SessionId =>
  Ids.fromBytes(sha256Bytes(lengthPrefixed("effect-session/django", key)).slice(0, Ids.byteLength))

/** Returns the record of a session. `expiresAt`: the end that Django keeps beside the text, in milliseconds since the epoch. */
export const recordOf = (
  { lifetime, members, ours, subject, verified }: Content,
  { expiresAt, key, namespace }: { readonly namespace: string; readonly key: string; readonly expiresAt: number }
): SessionRecord => {
  const signedAt = verified.signedAt * 1000
  const { attributes, authenticatedAt, createdAt = signedAt, deadline, id, schemaVersion = 1 } = ours
  return {
    namespace,
    id: id ?? idOfKey(key),
    data: JSON.stringify(DjangoMembers.dataOf(members)),
    schemaVersion,
    subject,
    version: versionOf(verified.signature),
    writeId: verified.signature,
    createdAt,
    authenticatedAt: subject === undefined ? undefined : authenticatedAt,
    modifiedAt: signedAt,
    lastSeenAt: signedAt,
    expiry: {
      // A save of Django may have moved the end beyond both.
      at: Math.min(expiresAt, deadline ?? Infinity, lifetime?._tag === "Until" ? lifetime.at : Infinity),
      deadline,
      lifetime
    },
    attributes: attributes === undefined ? undefined : JSON.stringify(attributes)
  }
}

/** Returns the record of a session that has not expired at `now`, as {@link recordOf}. */
export const liveRecordOf = (
  content: Content,
  place: Parameters<typeof recordOf>[1],
  now: number
): SessionRecord | undefined => {
  const record = recordOf(content, place)
  return isExpired(record.expiry, now) ? undefined : record
}

/** The members of a login, beside its user. */
export interface Login {
  /** The authentication backend of a new login; absent if the login stays the same. */
  readonly backend: string | undefined
  readonly hash: string
}

/** Encodes a record. `fields`: the encoded names of the schema; absent: not known. */
export const encode = (
  record: SessionRecord,
  data: JsonRecord,
  { before, dates, fields, login, now }: {
    /** The session before the write. */
    readonly before: { readonly content: Content; readonly record: SessionRecord } | undefined
    /** Absent for an anonymous session. */
    readonly login: Login | undefined
    readonly fields: ReadonlySet<string> | undefined
    readonly dates: Dates
    readonly now: number
  }
): string => {
  // A session with another id begins without members, as in Django, which flushes the session when another user logs in.
  const content = before?.record.id === record.id ? before.content : undefined
  const isLogin = content !== undefined && content.subject === undefined && record.subject !== undefined
  // A login keeps what others have put into an anonymous session, as Django's does.
  const kept = isLogin && fields !== undefined
    ? Object.fromEntries(
      Object.entries(DjangoMembers.dataOf(content.members)).filter(([name]) => !fields.has(name))
    )
    : {}
  const members = new Map(DjangoMembers.withData(content?.members ?? new Map(), { ...kept, ...data }))
  const set = (name: string, value: Json | undefined) => {
    if (value === undefined) members.delete(name)
    else members.set(name, DjangoMembers.encode(value))
  }
  if (content?.subject !== record.subject) set(names.user, record.subject)
  if (login === undefined || login.backend !== undefined) set(names.backend, login?.backend)
  set(names.hash, login?.hash)
  if (isLogin) members.delete(names.csrf)
  const { lifetime } = record.expiry
  const isSame = content !== undefined && LifetimeRules.equals(content.lifetime, lifetime)
  const expiry = expiryOf(lifetime, dates, now)
  if (!isSame) set(names.expiry, expiry)
  const until = isSame
    ? content.ours.until
    : lifetime?._tag === "Until" && typeof expiry === "number"
    ? { at: lifetime.at, seconds: expiry }
    : undefined
  set(ours, { ...oursOf(record), ...until === undefined ? {} : { until } })
  return DjangoMembers.join(members)
}

const oursOf = (record: SessionRecord): JsonRecord => {
  const attributes: unknown = record.attributes === undefined ? undefined : JSON.parse(record.attributes)
  return {
    id: record.id,
    // No two writes make the same text: after a lost reply, the text in the table shows whether this write was made.
    writeId: record.writeId,
    createdAt: record.createdAt,
    ...record.authenticatedAt === undefined ? {} : { authenticatedAt: record.authenticatedAt },
    ...record.expiry.deadline === undefined ? {} : { deadline: record.expiry.deadline },
    schemaVersion: record.schemaVersion,
    ...isRecord(attributes) ? { attributes } : {}
  }
}

/** Encodes the JSON of the row that a move leaves. `signature`: that of the text that has moved. `id`: that of the session in the target. */
export const encodeMoved = (signature: string, id: string): string =>
  DjangoMembers.join(new Map([[ours, DjangoMembers.encode({ movedFrom: signature, id })]]))

/** Whether this library has written the session. Saves of Django keep its member. */
export const hasOurs = ({ members }: Content): boolean => members.has(ours)

const movedPrefix = "moved."

/** Whether a key is that of a row of a session that has moved. */
export const isMovedKey = (key: string): boolean => key.startsWith(movedPrefix)

/** The key of the row of a session that has moved. No cookie value has its form. */
export const movedKeyOf = (key: string): string =>
  `${movedPrefix}${sha256(lengthPrefixed("effect-session/django/moved", key)).slice(0, 32)}`
