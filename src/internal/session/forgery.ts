/**
 * Tokens against forged requests. A token is derived from a secret of the session, so it needs no storage and changes with every
 * rotation. It is masked: each time it is issued, its text is another one, so that compression of a page with other content does not
 * reveal it (BREACH).
 *
 * ```
 * base64url of: mask 32 | mask XOR HMAC-SHA-256(secret of the session, purpose and namespace)
 * ```
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { CookieValue } from "../../SessionEngine.js"
import type { SessionUnavailable } from "../../SessionError.js"
import type { SessionRecord } from "../../SessionRecord.js"
import {
  decodeBase64Url,
  encodeBase64Url,
  equals,
  hmacSha256,
  lengthPrefixed,
  nameBytes,
  randomBytes
} from "../crypto/primitives.js"
import type { Draft } from "../domain/draft.js"
import * as Ids from "../domain/id.js"
import * as Done from "../done.js"
import { withHelp } from "../help.js"
import type { Uncommitted } from "./commit.js"
import type { Core } from "./core.js"
import type { Loaded, Minted } from "./work.js"
import * as Write from "./write.js"

/** The token of a request's session, and its check. */
export interface Forgery {
  /** The transport of the request: see `RequestSession`. */
  readonly transport: "cookie" | "bearer" | undefined
  /** A newly masked token of the session that the response leaves to the browser; `None` without one. */
  readonly token: Effect.Effect<Option.Option<string>, SessionUnavailable>
  /** Checks a token of the session that the request has presented; `None` without a live one. Does not count as a use. */
  readonly verify: Effect.Effect<Option.Option<(token: string) => boolean>, SessionUnavailable>
  /** Drops all changes of a request that is refused, and publishes that as an event. */
  readonly refuse: Effect.Effect<void>
}

/** Draws the identity of a session. `beside`: the value that it is rotated from. */
export const mint = <A extends object>(core: Core<A>, beside: CookieValue | undefined): Minted => ({
  value: core.engine.mint?.(beside),
  id: Ids.fromBytes(nameBytes(Ids.byteLength)),
  rotation: encodeBase64Url(nameBytes(9))
})

/**
 * The token of the session that the response leaves to the browser, masked anew. If the pending changes create or rotate a session, the
 * identity of that one is drawn now, and the commit uses it.
 */
export const tokenAfter = <A extends object>(
  core: Core<A>,
  live: Pick<Uncommitted<A>, "discarded" | "loaded" | "predecessor" | "stale" | "steps"> & {
    minted: Minted | undefined
  },
  draft: Draft<A>
): Effect.Effect<Option.Option<string>> =>
  Effect.withFiberRuntime((fiber) => {
    const { loaded, predecessor, steps } = live
    const current = Effect.transposeMapOption(Option.fromNullable(loaded), (loaded) => tokenOf(core, loaded))
    if (live.discarded || live.stale === true || (loaded !== undefined && !draft.rotates)) return current
    return Effect.flatMap(Write.changesOf(core, draft), (changes) => {
      const work = { loaded, draft, steps, origin: draft.loaded, changes, predecessor }
      if (loaded === undefined && !Write.isChanged(work)) return Effect.succeedNone
      const minted = live.minted ??= mint(core, loaded?.value)
      const change = loaded === undefined ? "Create" : "Rotate"
      return Effect.asSome(tokenOf(core, Write.upcoming(core, change, { ...work, minted }, Done.millisOf(fiber))))
    }).pipe(
      // A value that cannot be encoded fails the commit, so the session stays as it is.
      Effect.catchAll(() => current)
    )
  })

const tokenOf = <A extends object>(
  core: Core<A>,
  session: { readonly value: CookieValue | undefined; readonly record: SessionRecord }
): Effect.Effect<string> => Effect.map(proofOf(core, session), mask)

/** Returns the check of the tokens of a session. */
export const verifierOf = <A extends object>(
  core: Core<A>,
  loaded: Loaded<A>
): Effect.Effect<(token: string) => boolean> =>
  Effect.map(proofOf(core, loaded), (proof) => (token) => isTokenOf(proof, token))

const proofOf = <A extends object>(
  { engine, name, namespace }: Core<A>,
  { record, value = none }: { readonly value: CookieValue | undefined; readonly record: SessionRecord }
): Effect.Effect<Uint8Array> =>
  Effect.suspend(() =>
    engine.secretOf === undefined
      ? Effect.dieMessage(
        withHelp(
          `The engine of the session "${name}" cannot protect against forged requests: implement secretOf of its BoundEngine, or do not ` +
            "use Csrf with it.",
          "csrf-not-supported"
        )
      )
      : Effect.succeed(
        hmacSha256(engine.secretOf({ value, record }), lengthPrefixed("effect-session/csrf token", namespace))
      )
  )

const none: CookieValue = Redacted.make("")

const length = 32

/** Masks 32 bytes with 32 random ones. */
export const mask = (proof: Uint8Array): string => {
  const bytes = new Uint8Array(2 * length)
  bytes.set(randomBytes(length))
  for (let at = 0; at < length; at++) bytes[length + at] = (bytes[at] ?? 0) ^ (proof[at] ?? 0)
  return encodeBase64Url(bytes)
}

/** Returns whether a text is `proof` with any mask. Compares in constant time. */
export const isTokenOf = (proof: Uint8Array, text: string): boolean => {
  if (text.length !== textLength) return false
  const bytes = decodeBase64Url(text)
  if (bytes === undefined || bytes.length !== 2 * length) return false
  return equals(proof, bytes.subarray(0, length).map((byte, at) => byte ^ (bytes[length + at] ?? 0)))
}

/** 64 bytes in base64url. */
const textLength = 86
