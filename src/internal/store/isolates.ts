/**
 * Platforms that keep the requests of one process apart.
 */

/**
 * Whether a fiber may be resumed by its own request only. On Cloudflare Workers all I/O and all timers belong to the request
 * that starts them and are cancelled when it ends. A fiber of one request that another request resumes (through a semaphore,
 * a `Deferred` or a latch) starts its I/O as the other one's, and never ends. A request that is cancelled is not interrupted
 * either: its fibers just stop, so whatever they hold is never released.
 *
 * `WebSocketPair` is a global of that runtime alone, whatever its compatibility date.
 */
export const keepsRequestsApart = (): boolean => "WebSocketPair" in globalThis
