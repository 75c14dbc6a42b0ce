/**
 * Detection of platforms that isolate the requests of one process from each other.
 */

/**
 * Returns whether only its own request may resume a fiber. On Cloudflare Workers all I/O and all timers belong to the request that starts
 * them and are cancelled when it ends. A fiber that another request resumes (through a semaphore, a `Deferred` or a latch) starts its I/O in
 * that request, and may never end. A cancelled request is not interrupted either: its fibers just stop, and never release what they hold.
 *
 * `WebSocketPair` is a global of that runtime alone, whatever its compatibility date.
 */
export const keepsRequestsApart = (): boolean => "WebSocketPair" in globalThis
