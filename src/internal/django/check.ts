/**
 * Reads a sample of Django's table, and reports what `DjangoEngine` would make of it. It changes nothing.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Count } from "../../SessionStore.js"
import { isHostileKey } from "../json.js"
import * as SqlCalls from "../sql/calls.js"
import { clientOf } from "../sql/client.js"
import { problemOfAccess } from "../sql/errors.js"
import type { Content } from "./content.js"
import { hasOurs, isMovedKey, momentOf } from "./content.js"
import { isKey } from "./engine.js"
import * as DjangoMembers from "./members.js"
import type { PasswordOf, Unreadable } from "./reader.js"
import * as Reader from "./reader.js"
import type { Secrets } from "./signing.js"
import * as Signing from "./signing.js"
import * as Start from "./start.js"
import * as Table from "./table.js"

interface Settings extends Secrets {
  readonly table: string
  readonly salt: string
  readonly timeZone?: string
  /** The maximum number of rows that are read. */
  readonly sample: number
  /** `SESSION_COOKIE_AGE` in seconds. Absent: derived from the sample. */
  readonly cookieAge: number | undefined
}

/** The numbers of sessions in a sample, without those that have moved. */
export interface Report {
  /** The numbers of all rows. */
  readonly rows: Count
  readonly sample: number
  /** Rows without data, which `DjangoEngine.moving` has left. */
  readonly moved: number
  /** Sessions that can be read, and whose key `DjangoEngine` accepts as a cookie value. */
  readonly usable: number
  /** Sessions that can be read, by the position of the secret that verified them: 0 for `SECRET_KEY`. */
  readonly readable: ReadonlyArray<number>
  readonly unreadable: Readonly<Record<Unreadable["kind"] | "date", number>>
  /** Sessions whose key is not accepted. */
  readonly invalidKeys: number
  readonly logins: Logins
  /** Sessions with a value that JavaScript cannot hold, by the name of its member. */
  readonly members: ReadonlyMap<string, number>
  readonly zone: Zone
  /** The most frequent time in seconds from a save to the end, of sessions that end by `SESSION_COOKIE_AGE`. */
  readonly age: { readonly seconds: number; readonly sessions: number } | undefined
}

/** The numbers of logins. */
export interface Logins {
  readonly total: number
  /** The number of logins by the state of their `_auth_user_hash`. Absent: the table `auth_user` cannot be read. */
  readonly verified:
    | { readonly valid: number; readonly invalid: number; readonly unknownUser: number }
    | undefined
}

/** The zone of `expire_date`, as far as the sample shows it. */
interface Zone {
  /** Postgres keeps moments, so nothing is assumed. */
  readonly keepsMoments: boolean
  /** From what the end of a session is known beside its `expire_date`. */
  readonly basis: "sessionExpiry" | "cookieAge" | "frequentAge"
  /** In seconds. */
  readonly cookieAge: number | undefined
  /** Sessions whose `expire_date` is their end in the assumed zone. */
  readonly agreeing: number
  /** Sessions whose `expire_date` is their end with another offset, by this offset in quarters of an hour. */
  readonly differing: ReadonlyMap<number, number>
  /** Sessions with a date in `_session_expiry`. */
  readonly dates: { readonly withOffset: number; readonly withoutOffset: number }
}

/** Whether the assumed zone must be wrong: a tenth of the ends, or more, differ from it by the offset of another zone. */
export const isContradicted = ({ agreeing, differing }: Zone): boolean => {
  const others = sum(differing.values())
  return others > 0 && 10 * others >= agreeing + others
}

const sum = (numbers: Iterable<number>): number => {
  let total = 0
  for (const number of numbers) total += number
  return total
}

/** A session of the sample that can be read. `end`: its `expire_date`, taken for a date in UTC. `expiresAt`: in the assumed zone. */
interface Found {
  readonly key: string
  readonly content: Content
  readonly end: number
  readonly expiresAt: number
}

export const run = (settings: Settings) =>
  Effect.gen(function*() {
    const { cookieAge, sample, table: name } = settings
    const { dates, secrets, signer } = yield* Start.formats(settings)
    yield* Start.checkName(name)
    const [sql, dialect] = yield* clientOf
    const calls = SqlCalls.make(sql, dialect, [], true)
    const table = Table.make(calls, dialect, Table.statements(dialect, name), dates)
    yield* Start.checkAccess(name, table.load("", 0), "Grant the user SELECT on it.")
    const now = yield* Clock.currentTimeMillis
    const rows = yield* table.count(now)
    const sampled = yield* table.sample(now, sample)
    const sessions = sampled.filter(({ key }) => !isMovedKey(key))
    const found: Array<Found> = []
    const unreadable = { signature: 0, pickle: 0, payload: 0, date: 0 }
    for (const { expires, key, text } of sessions) {
      const content = yield* Reader.decode(signer, text, dates)
      const end = momentOf(expires, Table.utc)
      const expiresAt = momentOf(expires, Table.zoneOf(dialect, dates))
      if (Reader.isUnreadable(content)) unreadable[content.kind]++
      else if (end === undefined || expiresAt === undefined) unreadable.date++
      else found.push({ key, content, end, expiresAt })
    }
    const report: Report = {
      rows,
      sample: sessions.length,
      moved: sampled.length - sessions.length,
      usable: found.filter(({ key }) => isKey(key)).length,
      readable: [secrets.secretKey, ...secrets.fallbacks].map((_, position) =>
        found.filter(({ content }) => content.verified.secret === position).length
      ),
      unreadable,
      invalidKeys: sessions.filter(({ key }) => !isKey(key)).length,
      logins: yield* loginsOf(found, secrets, Start.passwordsIn(calls, Table.passwordStatement(dialect))),
      members: membersOf(found),
      zone: zoneOf(found, dialect === "pg", cookieAge),
      age: ageOf(found)
    }
    return report
  })

// Logins

const loginsOf = (found: ReadonlyArray<Found>, secrets: Secrets, passwordOf: PasswordOf) =>
  Effect.gen(function*() {
    const hashes = Signing.authHashes(secrets)
    const byUser = new Map<string, Array<string | undefined>>()
    for (const { content: { authHash, subject } } of found) {
      if (subject !== undefined) byUser.set(subject, [...byUser.get(subject) ?? [], authHash])
    }
    const verified = { valid: 0, invalid: 0, unknownUser: 0 }
    for (const [user, presented] of byUser) {
      const password = yield* passwordOf(user)
      const expected = Option.map(password, hashes)
      for (const hash of presented) {
        if (Option.isNone(expected)) verified.unknownUser++
        else if (hash !== undefined && expected.value.some((valid) => Signing.sameText(valid, hash))) verified.valid++
        else verified.invalid++
      }
    }
    return verified
  }).pipe(
    Effect.map((verified): Logins["verified"] => verified),
    Effect.catchAll((error) => problemOfAccess(error) === undefined ? Effect.fail(error) : Effect.succeed(undefined)),
    Effect.map((verified): Logins => ({
      total: found.filter(({ content }) => content.subject !== undefined).length,
      verified
    }))
  )

// Data

const membersOf = (found: ReadonlyArray<Found>): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>()
  for (const { content: { members } } of found) {
    for (const [name, source] of members) {
      if (isHostileKey(name) || !DjangoMembers.isReserved(name) && DjangoMembers.decode(source) === undefined) {
        counts.set(name, (counts.get(name) ?? 0) + 1)
      }
    }
  }
  return counts
}

// The zone

const quarterHour = 900_000

/** The maximum difference in milliseconds from an expected end: a save of Django computes the end shortly after the signature. */
const tolerance = 5000

/** A difference in quarters of an hour, if it can be the offset of a zone. */
const offsetOf = (difference: number): number | undefined => {
  const quarters = Math.round(difference / quarterHour)
  return Math.abs(difference - quarters * quarterHour) <= tolerance && quarters >= -48 && quarters <= 56
    ? quarters
    : undefined
}

const signedAtOf = ({ content }: Found): number => content.verified.signedAt * 1000

/** The sessions that only Django has written: a write from here uses the assumed zone. */
const ofDjango = (found: ReadonlyArray<Found>): ReadonlyArray<Found> => found.filter(({ content }) => !hasOurs(content))

/** Whether a session ends by `SESSION_COOKIE_AGE`. */
const endsByAge = ({ content: { lifetime } }: Found): boolean => lifetime === undefined || lifetime._tag === "Browser"

/** The most frequent age. */
const ageOf = (found: ReadonlyArray<Found>): Report["age"] => {
  const counts = new Map<number, number>()
  for (const session of ofDjango(found).filter(endsByAge)) {
    const seconds = Math.floor((session.expiresAt - signedAtOf(session)) / 1000)
    counts.set(seconds, (counts.get(seconds) ?? 0) + 1)
  }
  const [first] = Array.from(counts).sort(([, a], [, b]) => b - a)
  return first === undefined ? undefined : { seconds: first[0], sessions: first[1] }
}

const day = 86_400

/** The whole number of days from which an age differs by the offset of a zone; `undefined` for ages of hours. */
const daysOf = (seconds: number): number | undefined => {
  const days = Math.round(seconds / day) * day
  return seconds >= 2 * day && offsetOf((seconds - days) * 1000) !== undefined ? days : undefined
}

/** The end of a session by its `_session_expiry`. Absent if that has none, or a date of an unknown zone. */
const endOf = (session: Found): number | undefined => {
  const { content: { hasOffset, lifetime } } = session
  return lifetime?._tag === "Inactivity"
    ? signedAtOf(session) + lifetime.millis
    : lifetime?._tag === "Until" && hasOffset === true
    ? lifetime.at
    : undefined
}

const zoneOf = (found: ReadonlyArray<Found>, keepsMoments: boolean, given: number | undefined): Zone => {
  const dates = {
    withOffset: found.filter(({ content }) => content.hasOffset === true).length,
    withoutOffset: found.filter(({ content }) => content.hasOffset === false).length
  }
  const sessions = keepsMoments ? [] : ofDjango(found)
  const compared = (
    basis: Zone["basis"],
    cookieAge: number | undefined,
    expected: (session: Found) => number | undefined
  ): Zone => {
    let agreeing = 0
    const differing = new Map<number, number>()
    for (const session of sessions) {
      const at = expected(session)
      const offset = at === undefined ? undefined : offsetOf(session.end - at)
      if (at === undefined || offset === undefined) continue
      if (Math.abs(session.expiresAt - at) <= tolerance) agreeing++
      else differing.set(offset, (differing.get(offset) ?? 0) + 1)
    }
    return { keepsMoments, basis, cookieAge, agreeing, differing, dates }
  }
  // A `_session_expiry` is certain; the age of the others may have another reason.
  const certain = compared("sessionExpiry", undefined, endOf)
  if (certain.agreeing + certain.differing.size > 0) return certain
  const frequent = ageOf(sessions)?.seconds
  const cookieAge = given ?? (frequent === undefined ? undefined : daysOf(frequent))
  const age = cookieAge ?? frequent
  return compared(
    cookieAge === undefined ? "frequentAge" : "cookieAge",
    age,
    (session) => age === undefined || !endsByAge(session) ? undefined : signedAtOf(session) + age * 1000
  )
}

/** Formats an offset: `+01:00`. */
export const offsetText = (quarters: number): string => {
  const minutes = Math.abs(quarters) * 15
  const digits = (number: number) => String(number).padStart(2, "0")
  return `${quarters < 0 ? "-" : "+"}${digits(Math.floor(minutes / 60))}:${digits(minutes % 60)}`
}
