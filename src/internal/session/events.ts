/**
 * Publishes the events of a session, if there is a service for them.
 */
import * as DateTime from "effect/DateTime"
import type { SessionError } from "../../SessionError.js"
import type { SessionEvent } from "../../SessionEvents.js"
import type { SessionId } from "../../SessionId.js"
import type { EndReason } from "../../SessionStore.js"
import type { Draft } from "../domain/draft.js"
import type { Core } from "./core.js"
import type { Loaded, Written } from "./work.js"

type Source = Pick<Core<never>, "events" | "name" | "namespace">

/** The session that an event is about. */
interface Whose {
  readonly id: SessionId | undefined
  readonly subject: string | undefined
}

/** Publishes an event. `details` runs only if there is a subscriber. */
const publish = (
  { events, name, namespace }: Source,
  at: number,
  { id, subject }: Whose,
  details: (common: Common) => SessionEvent
): void => {
  events?.unsafePublish(() => details({ session: name, namespace, id, subject, at: DateTime.unsafeMake(at) }))
}

type Common = Pick<SessionEvent, "session" | "namespace" | "id" | "subject" | "at">

/** The reasons of an event `Refused`. */
type RefusedReason = Extract<SessionEvent, { readonly _tag: "Refused" }>["reason"]

const unknown: Whose = { id: undefined, subject: undefined }

const whose = (loaded: Loaded<unknown> | undefined): Whose => loaded === undefined ? unknown : loaded.record

/** Sessions have ended. `by`: the session that ended them; absent for a job. */
export const ended = (source: Source, at: number, session: Partial<Whose>, reason: EndReason, by?: Whose): void =>
  publish(source, at, { ...unknown, ...session }, (common) => ({
    ...common,
    _tag: "Ended",
    reason,
    by: by === undefined ? undefined : { id: by.id, subject: by.subject }
  }))

export const refused = (source: Source, at: number, loaded: Loaded<unknown> | undefined, reason: RefusedReason): void =>
  publish(source, at, whose(loaded), (common) => ({ ...common, _tag: "Refused", reason }))

export const undecodable = (source: Source, at: number, session: Whose): void =>
  publish(source, at, session, (common) => ({ ...common, _tag: "Undecodable" }))

/** A commit has failed. */
export const failed = (
  source: Source,
  at: number,
  loaded: Loaded<unknown> | undefined,
  draft: Draft<unknown>,
  error: SessionError
): void => {
  switch (error._tag) {
    case "SessionConflict":
      return publish(source, at, whose(loaded), (common) => ({ ...common, _tag: "Conflict" }))
    case "SessionLimitReached":
      return publish(source, at, { id: whose(loaded).id, subject: draft.subject }, (common) => ({
        ...common,
        _tag: "Refused",
        reason: "limit"
      }))
  }
}

/** A session was written. Publishes each difference to `before`. */
export const written = (
  source: Source,
  at: number,
  change: "Create" | "Rotate" | "Save",
  before: Loaded<unknown> | undefined,
  draft: Draft<unknown>,
  { evicted, loaded }: NonNullable<Written<unknown>>
): void => {
  const { attributes, record } = loaded
  const isNew = before?.record.id !== record.id
  if (isNew) publish(source, at, record, (common) => ({ ...common, _tag: "Created" }))
  if (isNew && before !== undefined && change === "Rotate") ended(source, at, before.record, "rotated", record)
  if (draft.authenticated) {
    publish(source, at, record, (common) => ({
      ...common,
      _tag: "Authenticated",
      methods: attributes.methods ?? [],
      level: attributes.level,
      remembered: attributes.remembered === true
    }))
  }
  const earlier = draft.authenticated ? undefined : before?.attributes
  if (attributes.elevated !== undefined && attributes.elevated.at !== earlier?.elevated?.at) {
    const { level, methods } = attributes.elevated
    publish(source, at, record, (common) => ({ ...common, _tag: "Elevated", methods, level }))
  }
  if (attributes.elevated === undefined && earlier?.elevated !== undefined) {
    publish(source, at, record, (common) => ({ ...common, _tag: "Dropped" }))
  }
  const { impersonating } = attributes
  if (impersonating !== undefined && earlier?.impersonating !== impersonating) {
    publish(source, at, record, (common) => ({ ...common, _tag: "Impersonated", as: impersonating }))
  }
  if (impersonating === undefined && before?.attributes.impersonating !== undefined) {
    publish(source, at, before.record, (common) => ({ ...common, _tag: "ImpersonationEnded" }))
  }
  if (change === "Rotate" && !isNew) publish(source, at, record, (common) => ({ ...common, _tag: "Rotated" }))
  for (const id of evicted) ended(source, at, { id, subject: record.subject }, "limit", record)
  if (draft.revokeOthers) {
    ended(source, at, { subject: record.subject }, "subjectRevoked", record)
  }
}
