/**
 * What is in the file of a version: a checksum, and the record as JSON without the times that its marker carries.
 */
import * as Data from "effect/Data"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SessionId from "../../SessionId.js"
import type { SessionRecord } from "../../SessionRecord.js"
import { sha256 } from "../crypto/primitives.js"
import type { Marker } from "./names.js"

/** A record, and the revocations that had happened when it was made: a later one ends it. */
export interface Kept {
  readonly record: SessionRecord
  readonly namespaceEpoch: number
  readonly subjectEpoch: number
}

/** A file is not what its name promises. What is in it is not told. */
export class Damaged extends Data.TaggedError("Damaged")<{ readonly message: string }> {}

const fields = Schema.Struct({
  namespace: Schema.String,
  id: Schema.String,
  data: Schema.String,
  schemaVersion: Schema.Number,
  subject: Schema.optional(Schema.String),
  version: Schema.Number,
  writeId: Schema.String,
  createdAt: Schema.Number,
  authenticatedAt: Schema.optional(Schema.Number),
  modifiedAt: Schema.Number,
  deadline: Schema.optional(Schema.Number),
  lifetime: Schema.optional(Schema.Union(
    Schema.TaggedStruct("Inactivity", { millis: Schema.Number }),
    Schema.TaggedStruct("Until", { at: Schema.Number }),
    Schema.TaggedStruct("Browser", {})
  )),
  namespaceEpoch: Schema.Number,
  subjectEpoch: Schema.Number
})

const decodeFields = Schema.decodeUnknownEither(Schema.parseJson(fields))

const checksum = (body: string) => sha256(new TextEncoder().encode(body))

/** The text of a file. */
export const encode = ({ namespaceEpoch, record, subjectEpoch }: Kept): string => {
  const { expiry: { deadline, lifetime }, lastSeenAt: _, ...rest } = record
  const body = JSON.stringify({ ...rest, deadline, lifetime, namespaceEpoch, subjectEpoch })
  return `${checksum(body)}\n${body}`
}

/** What a file holds, under the marker that names it. */
export const decode = (text: string, marker: Marker): Either.Either<Kept, Damaged> => {
  const end = text.indexOf("\n")
  const body = text.slice(end + 1)
  if (checksum(body) !== text.slice(0, Math.max(end, 0))) return damaged("its checksum is not that of its content")
  return Either.flatMap(
    Either.mapLeft(decodeFields(body), () => new Damaged({ message: "a file of a session does not hold a record" })),
    ({ deadline, id, lifetime, namespaceEpoch, subjectEpoch, ...rest }) => {
      const known = SessionId.parse(id)
      if (Option.isNone(known) || rest.version !== marker.version) return damaged("it holds another record")
      const { authenticatedAt, subject } = rest
      const expiry = { at: marker.end, deadline, lifetime }
      const record = { ...rest, authenticatedAt, subject, id: known.value, lastSeenAt: marker.lastSeenAt, expiry }
      return Either.right({ record, namespaceEpoch, subjectEpoch })
    }
  )
}

const damaged = (problem: string) => Either.left(new Damaged({ message: `a file of a session is damaged: ${problem}` }))
