// The last character carries two spare bits that must be zero: every token has exactly one encoding.
const pattern = /^r1\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/

/** Returns whether a text is the canonical encoding of a session token. */
export const isTokenText = (text: string): boolean => text.length === 46 && pattern.test(text)
