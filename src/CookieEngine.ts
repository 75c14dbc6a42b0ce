/**
 * Sessions inside the cookie: sealed, so that nobody reads or changes them, and nothing is kept on the server.
 *
 * What that cannot do is in `docs/cookies.md`: two requests at once lose an update, and a cookie that was copied is good
 * until it expires, unless {@link layerRevocable} is used. Lists and `take` do not compile with it.
 *
 * @since 0.5.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { isExpired } from "./Expiry.js"
import * as Ledger from "./internal/cookieLedger.js"
import type { CookieRecords } from "./internal/cookieRecord.js"
import * as CookieRecord from "./internal/cookieRecord.js"
import { Keyring } from "./Keyring.js"
import { SessionConfigError } from "./SessionConfigError.js"
import type { BoundEngine, CookieValue, Written } from "./SessionEngine.js"
import { SessionEngine } from "./SessionEngine.js"
import * as SessionMetrics from "./SessionMetrics.js"
import type { SessionRecord } from "./SessionRecord.js"
import { SessionRevocation } from "./SessionRevocation.js"
import type * as SessionSchema from "./SessionSchema.js"
import type { Shape } from "./SessionStore.js"
import { SessionStore, SessionStoreError } from "./SessionStore.js"

/**
 * @since 0.5.0
 * @category models
 */
export interface Options {
  /**
   * `"e1"`: XChaCha20-Poly1305, the default. `"f1"`: AES-256-GCM with a key for each cookie, where policy demands
   * approved algorithms.
   */
  readonly suite?: "e1" | "f1"
  /** Keeps applications apart that share a secret: the cookie of one is nothing to another. */
  readonly audience?: string
}

/** A browser drops a cookie whose name and value are longer. */
const mostBytes = 4096

/** How far the clock of another node may be ahead, in milliseconds. */
const skew = 60_000

/** What a cookie holds. */
interface Content {
  readonly record: SessionRecord
  readonly stale: boolean
}

const bind = (
  records: CookieRecords,
  cookieName: string,
  ledger: Ledger.Ledger | undefined
): BoundEngine => {
  /** What a value holds, whenever that was. */
  const contentOf = (value: CookieValue): Effect.Effect<Option.Option<Content>, SessionStoreError> =>
    Effect.suspend(() => {
      const decoded = records.decode(Redacted.value(value))
      switch (decoded._tag) {
        case "Invalid":
          return Effect.succeedNone
        case "Unreadable":
          SessionMetrics.countRejection("unreadable")
          return new SessionStoreError({ operation: "open", reason: "corrupt" })
        case "Opened":
          return Effect.succeedSome(decoded)
      }
    })

  const read = (value: CookieValue, now: number) =>
    Effect.map(
      contentOf(value),
      Option.filter(({ record }) => {
        const problem = isExpired(record.expiry, now)
          ? "expired"
          : record.createdAt > now + skew
          ? "premature"
          : undefined
        if (problem !== undefined) SessionMetrics.countRejection(problem)
        return problem === undefined
      })
    )

  const written = (operation: string, record: SessionRecord): Effect.Effect<Written, SessionStoreError> =>
    Effect.flatMap(
      // The source of random bytes may fail.
      Effect.try({
        try: () => records.encode(record),
        catch: (cause) => new SessionStoreError({ operation, reason: "unavailable", cause })
      }),
      Either.match({
        onLeft: (problem) => new SessionStoreError({ operation, reason: "corrupt", cause: new TypeError(problem) }),
        onRight: (token): Effect.Effect<Written, SessionStoreError> =>
          token.length + cookieName.length > mostBytes
            ? new SessionStoreError({ operation, reason: "size" })
            : Effect.succeed({ _tag: "Written", value: Redacted.make(token), record })
      })
    )

  return {
    remote: ledger?.remote ?? false,
    open: (value, now) =>
      Effect.flatMap(
        read(value, now),
        Option.match({
          onNone: () => Effect.succeedNone,
          onSome: ({ record, stale }) =>
            Effect.map(
              ledger === undefined ? Effect.succeed(true) : ledger.isCurrent(record, now),
              (current) => {
                if (current) return Option.some({ value, record, stale })
                SessionMetrics.countRejection("ended")
                return Option.none()
              }
            )
        })
      ),
    write: (write, now) =>
      // Whether it fits is known before anything is written.
      Effect.flatMap(written(write._tag.toLowerCase(), write.record), (outcome) => {
        if (ledger === undefined) return Effect.succeed(outcome)
        if (write._tag === "Create") return Effect.as(ledger.enter(write.record, now), outcome)
        return Effect.flatMap(
          read(write.value, now),
          Option.match({
            onNone: () => Effect.succeed<Written>({ _tag: "Gone" }),
            onSome: ({ record: before }) =>
              Effect.map(
                write._tag === "Touch"
                  ? ledger.touch(write.record, now)
                  : ledger.advance(before, write.record, write.expectedVersion, now),
                (done): Written => done ? outcome : { _tag: "Gone" }
              )
          })
        )
      }),
    destroy: (value) =>
      ledger === undefined
        ? Effect.void
        : Effect.flatMap(
          contentOf(value),
          Option.match({ onNone: () => Effect.void, onSome: ({ record }) => ledger.strike(record) })
        )
  }
}

/** A namespace has no line breaks, so no two pairs read alike. */
const audienceOf = ({ audience = "" }: Pick<Options, "audience">, namespace: string) => `${audience}\n${namespace}`

const make = (
  options: Options,
  store: Shape | undefined
): Effect.Effect<Context.Tag.Service<SessionEngine>, never, Keyring> =>
  Effect.map(Keyring, (keyring) => ({
    bind: ({ cookieName, namespace }) =>
      Effect.map(
        keyring.derive({
          purpose: "seal",
          suite: options.suite ?? "e1",
          cookieName,
          audience: audienceOf(options, namespace)
        }),
        ({ open, seal }) =>
          bind(
            CookieRecord.make({ read: open, write: seal }, namespace),
            cookieName,
            store === undefined ? undefined : Ledger.make(store, namespace)
          )
      )
  }))

/**
 * Sessions in sealed cookies. A logout deletes the cookie of this browser; a copy of it is good until it expires.
 *
 * @since 0.5.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<SessionEngine, never, Keyring> =>
  Layer.effect(SessionEngine, make(options, undefined))

/**
 * Sessions in signed cookies, which whoever holds them can read: for a tag whose schema was declared `SessionSchema.readable`,
 * and no other compiles.
 *
 * @since 0.5.0
 * @category layers
 */
export const layerSigned = (
  tag: { readonly schema: SessionSchema.Any & SessionSchema.Readable; readonly namespace: string },
  options: Pick<Options, "audience"> = {}
): Layer.Layer<SessionEngine, never, Keyring> =>
  Layer.effect(
    SessionEngine,
    Effect.map(Keyring, (keyring) => ({
      bind: ({ cookieName, namespace }) =>
        namespace === tag.namespace
          ? Effect.map(
            keyring.derive({ purpose: "sign", suite: "h1", cookieName, audience: audienceOf(options, namespace) }),
            ({ sign, verify }) =>
              bind(CookieRecord.make({ read: verify, write: sign }, namespace), cookieName, undefined)
          )
          : new SessionConfigError({
            subject: "CookieEngine",
            problem: `Signed cookies were chosen for "${tag.namespace}", and "${namespace}" is not declared readable.`
          })
    }))
  )

/**
 * The same with a ledger in a store: for each session one small entry without data. A logout, a revocation and a rotation
 * then truly end a session, and an older generation of a cookie is refused ten seconds after a newer one was made (until then
 * requests that were sent together may read it, and none may write). Costs one read of the store for each request that
 * uses the session.
 *
 * @since 0.5.0
 * @category layers
 */
export const layerRevocable = (
  options: Options = {}
): Layer.Layer<SessionEngine | SessionRevocation, never, Keyring | SessionStore> =>
  Layer.effectContext(
    Effect.flatMap(SessionStore, (store) =>
      Effect.map(make(options, store), (engine) =>
        Context.make(SessionEngine, engine).pipe(Context.add(SessionRevocation, store))))
  )
