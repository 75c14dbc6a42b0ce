/**
 * Hostile cookie headers: Node rejects the request, or the visitor is anonymous, or it is the visitor's own session.
 */
import { Effect } from "effect"
import { assert, describe } from "vitest"
import { alone, cookieName, hostile, ignored, own, pipelined } from "./support/hostileRequests.js"
import { exchange, pairOf, permutations } from "./support/httpServer.js"
import { request } from "./support/rawHttp.js"

const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
const bytes = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, at) => String.fromCharCode(from + at))

const otherCase = (char: string) => char === char.toLowerCase() ? char.toUpperCase() : char.toLowerCase()

describe("hostile bytes", () => {
  hostile("NUL and control bytes at each position of a cookie, alone and beside another one (F2)", (world) => {
    const cookie = own(world.attacker)
    const cases = [...bytes(0x00, 0x1f), "\x7f"].flatMap((byte) =>
      Array.from({ length: cookie.length + 1 }, (_, at) => ({ at, byte, ends: at === 0 || at === cookie.length }))
    )
    return Effect.forEach(cases, ({ at, byte, ends }) =>
      Effect.gen(function*() {
        const broken = `Cookie: ${cookie.slice(0, at)}${byte}${cookie.slice(at)}`
        const seen = [yield* alone(world.port, broken), yield* alone(world.port, `${broken}; ${own(world.visitor)}`)]
        // At an end of the cookie, a tab is trimmed, so both cookies are valid; CR and LF may end the header.
        const whole = ends && "\t\r\n".includes(byte)
        const right = whole ? ["200 attacker", "200 anonymous"] : ["200 anonymous", "200 visitor"]
        if (byte === "\t") assert.deepStrictEqual(seen, right)
        for (const [which, answer] of seen.entries()) {
          assert.include(["refused", right[which], ...(whole ? right : [])], answer, JSON.stringify(broken))
        }
      }), { concurrency: 8, discard: true })
  })

  hostile("bytes over 0x7F and UTF-8 blanks around name and value belong to them (F4, R12)", (world) => {
    const blanks = [0x85, 0xa0, 0x1680, 0x180e, 0x200b, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000, 0xfeff]
      .concat(Array.from({ length: 11 }, (_, at) => 0x2000 + at))
      .map((code) => Buffer.from(String.fromCodePoint(code), "utf8").toString("latin1"))
    return ignored(
      world,
      [...bytes(0x80, 0xff), ...blanks].flatMap((blank) => [
        `${blank}${own(world.attacker)}`,
        ` ${blank} ${own(world.attacker)}`,
        `${cookieName}${blank}=${world.attacker}`,
        `${cookieName}=${blank}${world.attacker}`,
        `${own(world.attacker)}${blank}`
      ])
    )
  })

  hostile(
    "quotes are part of the value, and $Version is an ordinary cookie (R15)",
    (world) =>
      Effect.gen(function*() {
        const { attacker, port, visitor } = world
        yield* ignored(world, [
          `${cookieName}="${attacker}"`,
          `${cookieName}="${attacker}`,
          `${cookieName}=${attacker}"`,
          `${cookieName}='${attacker}'`,
          `${cookieName}=\\"${attacker}\\"`,
          `"${cookieName}"=${attacker}`,
          `$Version=1; ${cookieName}="${attacker}"; $Path="/"`,
          `$Version="1; ${cookieName}=${attacker}"`,
          `x="${own(attacker)}"`,
          `x="a,${own(attacker)},b"`
        ])
        const sandwich = `$Version=1; x="a; ${own(visitor)}; y=b"; $Path=/`
        assert.deepStrictEqual(yield* pipelined(port, [sandwich]), ["200 visitor"])
      })
  )

  hostile("percent-encoded names and values are not decoded (R16, F1)", (world) => {
    const percent = (text: string, at: number, lower: boolean) => {
      const hex = text.charCodeAt(at).toString(16).padStart(2, "0")
      return `${text.slice(0, at)}%${lower ? hex : hex.toUpperCase()}${text.slice(at + 1)}`
    }
    const { attacker } = world
    return ignored(world, [
      ...[...attacker].flatMap((_, at) => [true, false].map((lower) => own(percent(attacker, at, lower)))),
      ...[...cookieName].map((_, at) => `${percent(cookieName, at, false)}=${attacker}`),
      ...["%", "%zz", "%c0%80", "%00", "%u0041", "+", "%2525"].map((junk) => own(`${attacker}${junk}`)),
      own([...attacker].map((char) => `%${char.charCodeAt(0).toString(16)}`).join(""))
    ])
  })

  hostile("cookies without a name or value, or with another name, are ignored (R13, R14)", (world) => {
    const { attacker } = world
    const prefix = "__Host-Http-"
    return ignored(world, [
      ...[`=${own(attacker)}`, `==${own(attacker)}`, ` = ${own(attacker)}`, `=${attacker}`, cookieName, attacker],
      ...[`${cookieName}=`, `${cookieName}==${attacker}`, `${cookieName} =${attacker}`, `${cookieName}= ${attacker}`],
      ...[`x${own(attacker)}`, `${cookieName}x=${attacker}`, `a=b,${own(attacker)}`, `a=${own(attacker)}`],
      ...["session", "__Secure-session", "__Host-session", "__Http-session", "__proto__", "constructor"].map((name) =>
        `${name}=${attacker}`
      ),
      ...[cookieName.toUpperCase(), cookieName.toLowerCase(), `${prefix.toUpperCase()}session`].map((name) =>
        `${name}=${attacker}`
      ),
      ...[...cookieName].flatMap((char, at) =>
        otherCase(char) === char
          ? []
          : `${cookieName.slice(0, at)}${otherCase(char)}${cookieName.slice(at + 1)}=${attacker}`
      )
    ])
  })

  hostile("a token that is truncated, extended or encoded differently opens no session", (world) => {
    const { attacker } = world
    const last = base64url.indexOf(attacker.slice(-1))
    // Of 64 last characters, four decode to the same bytes, and only one of them is canonical.
    assert.strictEqual(last % 4, 0)
    return ignored(world, [
      ...[...attacker].flatMap((_, at) => [own(attacker.slice(0, at)), own(attacker.slice(at + 1))]),
      ...[..."._", ...base64url].flatMap((char) => [own(`${attacker}${char}`), own(`${char}${attacker}`)]),
      ...[...base64url].filter((char) => char !== attacker.slice(-1)).map((char) => own(attacker.slice(0, -1) + char)),
      ...["r2.", "R1.", "e1.", "r1", "r1..", ""].map((version) => own(version + attacker.slice(3))),
      own(attacker.replaceAll(/[A-Za-z]/g, (char) => otherCase(char))),
      own(`${attacker}${attacker}`),
      own(`${attacker}.${attacker}`),
      ...[4096, 4097, 15_000, 60_000].map((length) => own("A".repeat(length)))
    ])
  })
})

describe("several cookies, header lines and requests", () => {
  hostile(
    "at most 1,000 pairs and 65,536 characters are scanned (F3, F5)",
    ({ attacker, port, visitor }) =>
      Effect.gen(function*() {
        const fill = (length: number) => `a=${"b".repeat(length - 3)};`
        const [mine, limit] = [own(visitor), 65_536]
        const within = ["a=b;".repeat(999) + mine, ";".repeat(999) + mine, fill(limit - mine.length) + mine]
        const beyond = ["a=b;".repeat(1000) + mine, ";".repeat(1000) + mine, fill(limit) + mine]
        // Cut off at the limit, this value would be the attacker's complete token.
        const cut = `${fill(limit - own(attacker).length)}${own(attacker)}x`
        assert.deepStrictEqual(yield* pipelined(port, within), within.map(() => "200 visitor"))
        assert.deepStrictEqual(yield* pipelined(port, [...beyond, cut]), [...beyond, cut].map(() => "200 anonymous"))
      })
  )

  hostile(
    "a request causes at most eight loads, and none for values that cannot be a token",
    ({ calls, port, visitor }) =>
      Effect.gen(function*() {
        const loads = (header: string) =>
          Effect.suspend(() => {
            const before = calls.length
            return Effect.map(pipelined(port, [header]), () => calls.slice(before))
          })
        const invented = Array.from(
          { length: 900 },
          (_, at) => own(`r1.${String(at).padStart(43, "A")}`.slice(0, 45) + "A")
        )
        assert.isAtMost((yield* loads(invented.join(";"))).length, 8)
        assert.deepStrictEqual(yield* loads(Array.from({ length: 900 }, () => own(visitor)).join(";")), ["load"])
        for (
          const junk of [
            ";".repeat(300_000),
            `${own("\"")};`.repeat(10_000),
            `${own("x")};`.repeat(10_000),
            own("A".repeat(300_000))
          ]
        ) {
          assert.deepStrictEqual(yield* loads(junk), [])
        }
      })
  )

  hostile(
    "several Cookie lines are joined as separate cookies, so two halves do not form one (R11)",
    (world) =>
      Effect.gen(function*() {
        const [mine, evil] = [own(world.visitor), own(world.attacker)]
        for (let at = 1; at < mine.length; at++) {
          const halves = [`Cookie: ${mine.slice(0, at)}`, `Cookie: ${mine.slice(at)}`]
          assert.strictEqual(yield* alone(world.port, ...halves), "200 anonymous", halves.join())
        }
        const rows: ReadonlyArray<readonly [lines: ReadonlyArray<string>, answer: ReadonlyArray<string>]> = [
          [["Cookie: a=b", `Cookie: ${mine}`, "Cookie: c=d"], ["200 visitor"]],
          [["Cookie: a=b;", `COOKIE:${mine}`], ["200 visitor"]],
          [[`cOOkIe: \t ${mine} \t`], ["200 visitor"]],
          [[...Array.from({ length: 900 }, (_, at) => `Cookie: c${at}=${at}`), `cookie: ${mine}`], ["200 visitor"]],
          [[`Cookie: ${mine}`, `cookie: ${evil}`], ["200 anonymous"]],
          [[`Cookie: ${evil}`, "X: y", `COOKIE: ${mine}`], ["200 anonymous"]],
          ...["Cookie2", "Set-Cookie", "X-Cookie", "Cookies", "Cookie-", "Authorization", "Trailer"].map((name) =>
            [[`${name}: ${mine}`], ["200 anonymous"]] as const
          ),
          [[`Cookie : ${mine}`], ["refused", "200 anonymous"]],
          [[`Cookie\x00: ${mine}`], ["refused"]],
          // A folded line is joined by a blank, if Node accepts it at all.
          [[`Cookie: a=b;\r\n ${mine}`], ["refused", "200 visitor"]],
          [[`Cookie:\r\n\t${mine}`], ["refused", "200 visitor"]],
          [[`Cookie: ${mine.slice(0, 30)}\r\n ${mine.slice(30)}`], ["refused", "200 anonymous"]],
          [[`Cookie: ${mine}\r\n x`], ["refused", "200 anonymous"]]
        ]
        for (const [lines, expected] of rows) {
          assert.include(expected, yield* alone(world.port, ...lines), JSON.stringify(lines))
        }
      })
  )

  hostile(
    "interleaved requests of different visitors on one connection, chunked and pipelined",
    ({ attacker, port, visitor }) =>
      Effect.gen(function*() {
        const smuggled = `GET /be/mallory HTTP/1.1\r\nHost: localhost\r\nCookie: ${own(visitor)}\r\n\r\n`
        const chunked = `${smuggled.length.toString(16)};ext="${own(attacker)}"\r\n${smuggled}\r\n0\r\n`
        const head = (method: string, path: string, ...lines: ReadonlyArray<string>) =>
          [`${method} ${path} HTTP/1.1`, "Host: localhost", ...lines, "", ""].join("\r\n")
        const inChunks = "Transfer-Encoding: chunked"
        const conversation = [
          [head("GET", "/who", `Cookie: ${own(visitor)}`), "visitor"],
          [head("POST", "/read", `Cookie: ${own(attacker)}`, inChunks) + `${chunked}\r\n`, "attacker"],
          [head("GET", "/who"), "anonymous"],
          [
            head("POST", "/read", inChunks, "Trailer: Cookie") + `${chunked}Cookie: ${own(visitor)}\r\n\r\n`,
            "anonymous"
          ],
          [head("POST", "/who", `Cookie: ${own(visitor)}`, `Content-Length: ${smuggled.length}`) + smuggled, "visitor"],
          [head("GET", "/who", `Cookie: ${own(attacker)}`), "attacker"]
        ] as const
        const sent = Array.from({ length: 20 }, () => conversation).flat()
        const answers = yield* exchange(
          port,
          sent.map(([bytes]) => bytes).join("") + head("GET", "/who", "Connection: close")
        )
        assert.deepStrictEqual(answers.map(({ body }) => body), [...sent.map(([, body]) => body), "anonymous"])
      })
  )

  hostile(
    "the attacker's session is never adopted, whatever other cookies are sent in any order (F6, R9, R10)",
    (world) =>
      Effect.gen(function*() {
        const [junk, evil, mine] = [own("r1.junk"), own(world.attacker), own(world.visitor)]
        const sets = [[junk, evil, mine], [evil, mine], [junk, mine], [junk, evil, mine, mine], [
          junk,
          junk,
          evil,
          mine,
          evil
        ]]
        for (const order of sets.flatMap((set) => permutations(set.map((cookie) => cookie ?? "")))) {
          const expected = evil !== undefined && order.includes(evil) ? "200 anonymous" : "200 visitor"
          for (const separator of ["; ", ";", " ;\t", "; a=b; "]) {
            assert.deepStrictEqual(
              yield* pipelined(world.port, [order.join(separator)]),
              [expected],
              order.join(separator)
            )
          }
          assert.strictEqual(yield* alone(world.port, ...order.map((cookie) => `Cookie: ${cookie}`)), expected)
        }
        // A write with both cookies creates a new session.
        const written = yield* request(world.port, "/be/third", [["Cookie", `${evil}; ${mine}`]])
        assert.strictEqual(written.body, "third")
        assert.notInclude([evil, mine], yield* pairOf(written))
        assert.deepStrictEqual(yield* pipelined(world.port, [evil, mine]), ["200 attacker", "200 visitor"])
      })
  )

  for (
    const [title, junk] of [
      ["eight candidates", Array.from({ length: 7 }, (_, at) => own(`junk${at}`))],
      ["1,000 pairs", Array.from({ length: 999 }, () => "a=b")],
      ["65,536 characters", [`a=${"b".repeat(65_536)}`]]
    ] as const
  ) {
    hostile(
      `beyond ${title}: cookies that are not scanned never make the visitor another user (R10)`,
      ({ attacker, port, visitor }) =>
        Effect.gen(function*() {
          const header = [own(attacker), ...junk, own(visitor)].join("; ")
          assert.strictEqual(yield* alone(port, `Cookie: ${header}`), "200 anonymous")
        })
    )
  }
})
