/**
 * Reads the sessions of Django: verifies a text, decodes it, and checks its login.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SessionStoreError } from "../../SessionStore.js"
import { withHelp } from "../help.js"
import type { Content, Dates } from "./content.js"
import * as DjangoContent from "./content.js"
import type { Secrets, Signer } from "./signing.js"
import * as Signing from "./signing.js"

/** Returns the password of a user as Django's table keeps it; `None` for a user who is unknown or not active. */
export type PasswordOf = (userId: string) => Effect.Effect<Option.Option<string>, SessionStoreError>

/** Why a text has no session, for the log: continues the sentence "Its text …". */
export interface Unreadable {
  readonly _tag: "Unreadable"
  readonly kind: "signature" | "pickle" | "payload"
  readonly reason: string
}

/** A session whose login is valid. */
export interface Read {
  readonly content: Content
  /** The hash of the login by `SECRET_KEY`. Absent for an anonymous session. */
  readonly authHash: string | undefined
}

/** Verifies and decodes a text. */
export const decode = (signer: Signer, text: string, dates: Dates): Effect.Effect<Content | Unreadable> =>
  Effect.map(signer.verify(text), (verified) => {
    if (verified._tag === "Rejected") return unreadable(verified.isSigned ? "payload" : "signature", verified.reason)
    const content = DjangoContent.decode(verified, dates)
    if (content !== undefined) return content
    return /^[\x80-\x85(c]/.test(verified.json)
      ? unreadable(
        "pickle",
        "was written by Django's PickleSerializer. A pickle can run any program, so it is never decoded: set Django's SESSION_SERIALIZER " +
          "to django.contrib.sessions.serializers.JSONSerializer"
      )
      : unreadable("payload", "is signed, but holds no JSON object")
  })

const unreadable = (kind: Unreadable["kind"], reason: string): Unreadable => ({
  _tag: "Unreadable",
  kind,
  reason
})

export const isUnreadable = (value: Content | Unreadable): value is Unreadable => "reason" in value

/** Makes the functions that read sessions and verify their logins. */
export const make = ({ dates, passwordOf, secrets, signer }: {
  readonly signer: Signer
  readonly secrets: Secrets
  readonly passwordOf: PasswordOf
  readonly dates: Dates
}) => {
  const hashes = Signing.authHashes(secrets)

  /** Returns the hash of a user by `SECRET_KEY`, if the session has the hash by one of the secrets. */
  const verifiedLogin = (subject: string, authHash: string | undefined) =>
    Effect.map(passwordOf(subject), (password) => {
      if (Option.isNone(password) || authHash === undefined) return undefined
      const valid = hashes(password.value)
      return valid.some((hash) => Signing.sameText(hash, authHash)) ? valid[0] : undefined
    })

  return {
    /**
     * Returns the session of a text; `undefined`, as Django, if it cannot be read or its login is no longer valid. `place`: where the text
     * is, for the log.
     */
    read: (
      text: string,
      place: "the table" | "a file" | "a cookie"
    ): Effect.Effect<Read | undefined, SessionStoreError> =>
      Effect.flatMap(decode(signer, text, dates), (content): Effect.Effect<Read | undefined, SessionStoreError> => {
        if (isUnreadable(content)) {
          // Any visitor can invent a cookie, and must not fill the log.
          const log = place === "a cookie" && content.kind === "signature" ? Effect.logDebug : Effect.logWarning
          return Effect.as(
            log(
              withHelp(
                `A session of Django in ${place} cannot be read, so its visitor is anonymous, and it was left as it is. Its text ` +
                  `${content.reason}.`,
                "django-session-unreadable"
              )
            ),
            undefined
          )
        }
        const warned = content.isAmbiguous
          ? Effect.logWarning(
            withHelp(
              `The end of a session of Django in ${place} is a date without an offset, which was taken for UTC. If Django's USE_TZ is ` +
                "false, give its TIME_ZONE as timeZone.",
              "django-time-zone"
            )
          )
          : Effect.void
        const { authHash, subject } = content
        const anonymous: Read = { content, authHash: undefined }
        return Effect.zipRight(
          warned,
          subject === undefined ? Effect.succeed(anonymous) : Effect.map(
            verifiedLogin(subject, authHash),
            (authHash): Read | undefined => authHash === undefined ? undefined : { content, authHash }
          )
        )
      }),
    /** Returns the hash for the login of a user; `undefined` for a user who is unknown or not active. */
    authHashOf: (subject: string): Effect.Effect<string | undefined, SessionStoreError> =>
      Effect.map(
        passwordOf(subject),
        Option.match({
          onNone: () => undefined,
          onSome: (password) => hashes(password)[0]
        })
      )
  }
}

export type Reader = ReturnType<typeof make>
