import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { scan } from "../../../src/internal/domain/cookieHeader.js"

const name = "__Host-Http-session"
const mine = `r1.${"m".repeat(42)}A`
const evil = `r1.${"e".repeat(42)}A`

const nothing = { presented: false, values: [] }

/** Asserts that the pair does not match our name, and that a cookie of ours beside it is still found. */
const neverMatches = (pair: string) => {
  assert.deepStrictEqual(scan(pair, name), nothing)
  assert.deepStrictEqual(scan(`${pair}; ${name}=${mine}`, name), { presented: true, values: [mine] })
  assert.deepStrictEqual(scan(`${name}=${mine}; ${pair}`, name), { presented: true, values: [mine] })
}

/**
 * Asserts that the name matches but the value is rejected, and that a valid cookie of ours beside it is still found.
 */
const neverAccepted = (value: string) => {
  assert.deepStrictEqual(scan(`${name}=${value}`, name), { presented: true, values: [] })
  assert.deepStrictEqual(scan(`${name}=${value}; ${name}=${mine}`, name), { presented: true, values: [mine] })
}

const escaped = (text: string) =>
  [...text].map((char) => `U+${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`).join(" ")

describe("names", () => {
  it("a missing header, an empty header and other cookies return nothing", () => {
    assert.deepStrictEqual(scan(undefined, name), nothing)
    for (const header of ["", ";", "a=b", `a=${name}`, `a="${name}=${evil}"`, `${name}x=${evil}`, `x${name}=${evil}`]) {
      assert.deepStrictEqual(scan(header, name), nothing, header)
    }
  })

  it("R12: spaces and tabs around a pair are trimmed, as in browsers", () => {
    for (const blank of ["", " ", "\t", " \t ", "   "]) {
      assert.deepStrictEqual(
        scan(`a=b;${blank}${name}=${mine}${blank};${blank}c=d`, name),
        { presented: true, values: [mine] }
      )
    }
  })

  describe("R12, F4: bytes that browsers do not trim are part of the name", () => {
    const bytes = [
      "\u00A0",
      "\u0085",
      "\u000B",
      "\u000C",
      "\r",
      "\n",
      "\u0000",
      "\u0001",
      "\u001F",
      "\u007F",
      "\u00C2\u00A0",
      "\u1680",
      "\u2000",
      "\u2009",
      "\u2028",
      "\u2029",
      "\u202F",
      "\u205F",
      "\u3000",
      "\u200B",
      "\u200D",
      "\uFEFF",
      "\u00EF\u00BB\u00BF"
    ]
    for (const byte of bytes) {
      it(escaped(byte), () => {
        neverMatches(`${byte}${name}=${evil}`)
        neverMatches(`${name}${byte}=${evil}`)
        neverMatches(` ${byte} ${name}=${evil}`)
        neverMatches(`${name.slice(0, 5)}${byte}${name.slice(5)}=${evil}`)
        neverAccepted(`${byte}${evil}`)
        neverAccepted(`${evil}${byte}`)
      })
    }

    it("any character but space, tab and semicolon", () =>
      fc.assert(fc.property(fc.string({ unit: "binary", minLength: 1, maxLength: 3 }), (text) => {
        fc.pre(!/[ \t;=]/.test(text))
        neverMatches(`${text}${name}=${evil}`)
        neverMatches(`${name}${text}=${evil}`)
      })))
  })

  it("R13: a pair without = is ignored, and a pair that begins with = has no name", () => {
    for (
      const pair of [name, `=${name}=${evil}`, `=${name}`, `==${name}=${evil}`, ` =${name}=${evil}`, `= ${name}=x`]
    ) {
      neverMatches(pair)
    }
  })

  it("R14: names are case-sensitive", () => {
    for (const other of [name.toLowerCase(), name.toUpperCase(), "__HOST-Http-session", "__Host-Http-Session"]) {
      neverMatches(`${other}=${evil}`)
    }
  })

  it("R15: $Version and $Path are ordinary cookies", () =>
    assert.deepStrictEqual(
      scan(`$Version=1; ${name}=${mine}; $Path=/; $Domain=evil.example`, name),
      { presented: true, values: [mine] }
    ))

  it("R16: names are not percent-decoded", () => {
    neverMatches(`${name.replaceAll("-", "%2D")}=${evil}`)
    neverMatches(`${name.replaceAll("_", "%5F")}=${evil}`)
  })

  it("a comma does not separate cookies", () => neverMatches(`a=b,${name}=${evil}`))
})

describe("values", () => {
  it("an empty value counts as presented, and is no candidate", () => neverAccepted(""))

  it("R15: a quoted value is not unquoted, and quotes do not protect a semicolon", () => {
    neverAccepted(`"${evil}"`)
    neverAccepted(`"${evil}`)
    neverAccepted(`${evil}"`)
    assert.deepStrictEqual(
      scan(`${name}="abc; other=${evil}; ${name}=${mine}"`, name),
      { presented: true, values: [] },
      "a cookie sandwich"
    )
    assert.deepStrictEqual(scan(`a="b; ${name}=${mine}; c=d"`, name), { presented: true, values: [mine] })
  })

  it("R16, F1: values are not percent-decoded", () => {
    for (
      const value of ["%", "%zz", "%c0%80", "%00", "%41", `${mine.slice(0, -1)}%41`, `r1%2E${mine.slice(3)}`, "a+b"]
    ) {
      neverAccepted(value)
    }
  })

  it("F2: values with control bytes or bytes over 0x7F are rejected", () => {
    for (let code = 0; code <= 0xFF; code++) {
      const char = String.fromCharCode(code)
      // The colon is in Django's signed cookies.
      if (!/[A-Za-z0-9._:;-]/.test(char)) neverAccepted(`abc${char}def`)
    }
  })

  it("a value that contains another = is rejected", () => {
    neverAccepted(`=${evil}`)
    neverAccepted(`${evil}=`)
    neverAccepted(`a=${evil}`)
  })

  it("blanks between name and value belong to them", () => {
    neverMatches(`${name} =${evil}`)
    neverAccepted(` ${evil}`)
  })

  it("R1: every accepted value equals its percent-encoding", () =>
    fc.assert(fc.property(fc.string({ unit: "binary-ascii" }), (value) => {
      for (const found of scan(`${name}=${value}`, name).values) assert.strictEqual(encodeURIComponent(found), found)
    })))
})

describe("several cookies of our name", () => {
  const permutations = <A>(items: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
    items.length === 0
      ? [[]]
      : items.flatMap((item, i) => permutations(items.filter((_, other) => other !== i)).map((rest) => [item, ...rest]))

  it("R9, R10, F6: all distinct values are candidates, in any order", () => {
    for (const values of permutations([mine, evil, "junk", "\"quoted\"", mine])) {
      const found = scan(values.map((value) => `${name}=${value}`).join("; "), name)
      assert.isTrue(found.presented)
      assert.sameMembers([...found.values], [mine, evil, "junk"])
    }
  })

  it("R11: header lines joined by the server are one list of pairs", () =>
    assert.deepStrictEqual(
      scan([`a=b; ${name}=${mine}`, `c=d; ${name}=${evil}`].join("; "), name).values,
      [mine, evil]
    ))

  it("R10: at most eight candidates are returned, and duplicates do not count", () => {
    const pairs = Array.from({ length: 20 }, (_, i) => `${name}=value-${i}; ${name}=value-0; ${name}="junk"`)
    const values = Array.from({ length: 8 }, (_, i) => `value-${i}`)
    assert.deepStrictEqual(scan(pairs.slice(0, 8).join("; "), name), { presented: true, values })
    assert.deepStrictEqual(scan(pairs.join("; "), name), { presented: true, values, partial: true })
  })
})

describe("bounds", () => {
  it("F3: a value of 4096 characters is accepted, and one of 4097 is rejected", () => {
    assert.deepStrictEqual(scan(`${name}=${"a".repeat(4096)}`, name).values, ["a".repeat(4096)])
    neverAccepted("a".repeat(4097))
  })

  it("F5: only the first 1,000 pairs are scanned", () => {
    const others = (count: number) => "a=b; ".repeat(count)
    assert.deepStrictEqual(scan(`${others(999)}${name}=${mine}`, name), { presented: true, values: [mine] })
    assert.deepStrictEqual(scan(`${others(1000)}${name}=${mine}`, name), nothing)
    assert.deepStrictEqual(scan(`${";".repeat(1000)}${name}=${mine}`, name), nothing)
    assert.deepStrictEqual(
      scan(`${name}=${mine}; ${others(10_000)}${name}=${evil}`, name),
      { presented: true, values: [mine], partial: true }
    )
  })

  const fill = (length: number) => `a=${"b".repeat(length - 3)};`
  const cookie = `${name}=${mine}`

  it("F3: only the first 65,536 characters are scanned", () => {
    assert.deepStrictEqual(scan(fill(65_536 - cookie.length) + cookie, name).values, [mine])
    assert.deepStrictEqual(scan(fill(65_536) + cookie, name), nothing)
    assert.deepStrictEqual(scan(fill(10_000_000) + cookie, name), nothing)
    assert.deepStrictEqual(scan(`${cookie};${fill(65_536)}`, name), { presented: true, values: [mine], partial: true })
  })

  it("F3: a value cut off at the limit is not accepted as a shorter one", () => {
    for (const cut of [1, 10, mine.length - 1]) {
      const header = fill(65_536 - cookie.length + cut) + cookie
      assert.deepStrictEqual(scan(header, name).values, [], `${cut} characters beyond the limit`)
    }
  })

  it("F3: a header of blanks returns nothing", () =>
    assert.deepStrictEqual(scan(`${" \t".repeat(30_000)}${name}`, name), nothing))
})

/** A simple reference implementation: split, trim, compare. */
const reference = (header: string, name: string) => {
  const values: Array<string> = []
  let presented = false
  for (const pair of header.split(";").slice(0, 1000)) {
    const stripped = pair.replace(/^[\x20\x09]+/, "").replace(/[\x20\x09]+$/, "")
    const equals = stripped.indexOf("=")
    if (equals === -1 || stripped.slice(0, equals) !== name) continue
    presented = true
    const value = stripped.slice(equals + 1)
    const ours = value.length >= 1 && value.length <= 4096 &&
      [...value].every((char) => "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-".includes(char))
    if (ours && !values.includes(value)) values.push(value)
  }
  return { presented, values: values.slice(0, 8) }
}

describe("scan agrees with a simple reference scanner", () => {
  const fragment = fc.oneof(
    {
      weight: 8,
      arbitrary: fc.constantFrom(";", "; ", " ", "\t", "=", "==", ";;", "\"", "%41", ",", "\u00A0", "\uFEFF")
    },
    { weight: 6, arbitrary: fc.constantFrom("s", "s=", "S=", "ss=", "s=1", "s=2;", ";s=", "; s=", "$Version=1") },
    { weight: 2, arbitrary: fc.constantFrom("a", "b=c", mine, evil) },
    { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 4 }) }
  )
  const header = fc.array(fragment, { maxLength: 40 }).map((fragments) => fragments.join(""))

  it("on random headers", () =>
    fc.assert(
      fc.property(header, (header) => assert.deepStrictEqual(scan(header, "s"), reference(header, "s"))),
      { numRuns: 20_000 }
    ))

  it("on random lists of cookies", () =>
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom(name, "other", `${name} `), fc.stringMatching(/^[a-c. "]{0,3}$/))),
        (pairs) => {
          const header = pairs.map(([name, value]) => `${name}=${value}`).join("; ")
          assert.deepStrictEqual(scan(header, name), reference(header, name))
        }
      ),
      { numRuns: 2000 }
    ))
})
