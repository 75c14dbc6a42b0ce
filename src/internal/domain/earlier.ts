/** The earlier of two moments, or the shorter of two lengths, either of which may be absent. */
export const earlier = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b)
