/**
 * Commands that a client cannot send at once. A client would keep them, and do them when its server is back: a rotation that
 * was said to have failed would log the visitor out then.
 */

/** Nothing was sent, and nothing will be. */
export class NotSent extends Error {
  constructor() {
    super("the client is not connected to the server: nothing was sent")
    this.name = "NotSent"
  }
}

/** Sends if that can be done at once. */
export const sentIf = <A>(isReady: boolean, send: () => Promise<A>): Promise<A> =>
  isReady ? send() : Promise.reject(new NotSent())

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
