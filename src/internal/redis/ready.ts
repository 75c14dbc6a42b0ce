/**
 * Commands that a client cannot send at once. A client would keep them, and do them when its server is back: a rotation that
 * was said to have failed would log the visitor out then.
 */

/** Rejection of a command that changed nothing and never will: the caller may send it again. */
export class NotSent extends Error {
  constructor(message = "the client is not connected to the server: nothing was sent") {
    super(message)
    this.name = "NotSent"
  }
}

/** Sends if that can be done at once. */
export const sentIf = <A>(isReady: boolean, send: () => Promise<A>): Promise<A> =>
  isReady ? send() : Promise.reject(new NotSent())

/** Minimum time between two reconnects of one connection, in milliseconds: the address may lead to the replica a while longer. */
const reconnectPauseMillis = 1000

const reconnectedAt = new WeakMap<object, number>()

/**
 * Passes on a reply of a primary. If the server was demoted to a replica, which refuses every script of the store, reconnects:
 * behind the same address, or by its Sentinel, the client finds the new primary. The refused command has changed nothing.
 */
export const fromPrimary = (connection: object, reply: Promise<unknown>, reconnect: () => void): Promise<unknown> =>
  reply.catch((error: unknown) => {
    if (!(error instanceof Error && /\b(?:READONLY|MASTERDOWN)\b/.test(error.message))) throw error
    const now = performance.now()
    if (now - (reconnectedAt.get(connection) ?? -Infinity) >= reconnectPauseMillis) {
      reconnectedAt.set(connection, now)
      reconnect()
    }
    throw new NotSent("the server is a replica and refuses every write: nothing was changed")
  })

const slots = 16_384

/** Which slot of a Cluster has a key: CRC16 (XMODEM) of what is in its first braces. */
export const slotOf = (key: string): number => {
  const [, tag = key] = /\{([^}]+)\}/.exec(key) ?? []
  let crc = 0
  for (const byte of new TextEncoder().encode(tag)) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021
  }
  return (crc & 0xffff) % slots
}
