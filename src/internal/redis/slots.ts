/**
 * The slots of a Redis Cluster.
 */
const slots = 16_384

/**
 * Returns the slot of a key in a Cluster: CRC16 (XMODEM) of the text in its first braces.
 */
export const slotOf = (key: string): number => {
  const [, tag = key] = /\{([^}]+)\}/.exec(key) ?? []
  let crc = 0
  for (const byte of new TextEncoder().encode(tag)) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021
  }
  return (crc & 0xffff) % slots
}
