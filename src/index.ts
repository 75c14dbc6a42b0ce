/**
 * Typed, durable, revocable sessions for Effect HTTP servers.
 *
 * What an application needs whatever its engine is, and the engines in memory and in files. Every module has a path of its
 * own, and the others have that only: `effect-session/SqlEngine`, `effect-session/CookieEngine`, `effect-session/Keyring`.
 *
 * @since 0.1.0
 */
export * as Expiry from "./Expiry.js"
export * as FileEngine from "./FileEngine.js"
export * as FileStore from "./FileStore.js"
export * as Lifetime from "./Lifetime.js"
export * as MemoryEngine from "./MemoryEngine.js"
export * as MemoryStore from "./MemoryStore.js"
export * as Merge from "./Merge.js"
export * as ReadOnce from "./ReadOnce.js"
export * as Session from "./Session.js"
export * as SessionCodec from "./SessionCodec.js"
export * as SessionConfig from "./SessionConfig.js"
export { SessionConfigError } from "./SessionConfigError.js"
export * as SessionCookie from "./SessionCookie.js"
export { SessionDirectory } from "./SessionDirectory.js"
export { SessionEngine } from "./SessionEngine.js"
export * as SessionError from "./SessionError.js"
export * as SessionErrorPage from "./SessionErrorPage.js"
export type { SessionHandle } from "./SessionHandle.js"
export * as SessionHistory from "./SessionHistory.js"
export type { SessionHttpApi } from "./SessionHttpApi.js"
export * as SessionId from "./SessionId.js"
export { SessionMaintenance } from "./SessionMaintenance.js"
export * as SessionMetrics from "./SessionMetrics.js"
export * as SessionReaper from "./SessionReaper.js"
export type { SessionInfo, SessionRecord } from "./SessionRecord.js"
export { SessionRevocation } from "./SessionRevocation.js"
export * as SessionSchema from "./SessionSchema.js"
export type { SessionService } from "./SessionService.js"
export { SessionStore, SessionStoreError } from "./SessionStore.js"
export * as SessionToken from "./SessionToken.js"
export * as StoredEngine from "./StoredEngine.js"
export * as StoreKey from "./StoreKey.js"
