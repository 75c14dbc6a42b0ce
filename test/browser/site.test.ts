/**
 * The documentation site: `npm run docs` builds it, a static server serves it, and Chromium opens each page of its sitemap.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, readFileSync, statSync } from "node:fs"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import * as Path from "node:path"
import type { Browser, BrowserContext, Page } from "playwright-core"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { project } from "../../scripts/site/project.js"
import { launch } from "./support.js"

const dist = "site/dist"

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".woff2": "font/woff2",
  ".json": "application/json"
}

/** Serves the files of the built site as they are: no rewriting, and 404 for everything else. */
const staticServer = (): Server =>
  createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost")
    const file = Path.join(dist, decodeURIComponent(pathname), pathname.endsWith("/") ? "index.html" : "")
    if (!existsSync(file) || !statSync(file).isFile()) {
      response.writeHead(404).end()
      return
    }
    response.writeHead(200, { "content-type": types[Path.extname(file)] ?? "text/plain; charset=utf-8" })
    response.end(readFileSync(file))
  })

let browser: Browser
let server: Server
let origin: string
let output = ""

beforeAll(async () => {
  const build = spawn("npm", ["run", "docs"], { env: { ...process.env, NO_COLOR: "1" } })
  for (const stream of [build.stdout, build.stderr]) stream.on("data", (text) => (output += text))
  const [code] = await once(build, "close")
  assert.strictEqual(code, 0, output)
  server = staticServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  browser = await launch()
}, 900_000)

afterAll(async () => {
  await browser?.close()
  server?.closeAllConnections()
  server?.close()
})

/** Everything that a page must not do: errors, failed requests, and requests to other hosts. */
const faultsOf = (context: BrowserContext): ReadonlyArray<string> => {
  const faults: Array<string> = []
  context.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") faults.push(message.text())
  })
  context.on("weberror", (error) => faults.push(String(error.error())))
  context.on("response", (response) => {
    if (response.status() >= 400) faults.push(`${response.status()} ${response.url()}`)
  })
  context.on("requestfailed", (request) => {
    // A navigation that leaves a page cancels what the page loads in advance.
    if (request.failure()?.errorText !== "net::ERR_ABORTED") faults.push(`failed: ${request.url()}`)
  })
  context.on("request", (request) => {
    if (!request.url().startsWith(origin) && !request.url().startsWith("data:")) faults.push(`to ${request.url()}`)
  })
  return faults
}

/** The paths of the sitemap. */
const pages = (): ReadonlyArray<string> =>
  [...readFileSync(`${dist}/sitemap.xml`, "utf8").matchAll(/<loc>([^<]*)<\/loc>/g)].map(([, url = ""]) => {
    assert.isTrue(url.startsWith(project().homepage), url)
    return `/${url.slice(project().homepage.length)}`
  })

/** Loads a page and waits until its script runs. */
const visit = async (page: Page, path: string): Promise<void> => {
  await page.goto(origin + path, { waitUntil: "load" })
  await page.waitForFunction(() => "__vue_app__" in (document.querySelector("#app") ?? {}))
}

interface Visited {
  readonly path: string
  readonly title: string
  readonly description: string
  readonly ids: ReadonlyArray<string>
  readonly links: ReadonlyArray<string>
  readonly isWide: boolean
}

/** Visits every page in four tabs of a phone's width. */
const visitAll = async (context: BrowserContext): Promise<ReadonlyArray<Visited>> => {
  const queue = [...pages()]
  const visited: Array<Visited> = []
  const tab = async () => {
    const page = await context.newPage()
    for (let path = queue.shift(); path !== undefined; path = queue.shift()) {
      await visit(page, path)
      visited.push({
        path,
        ...await page.evaluate(() => ({
          title: document.title,
          description: document.querySelector("meta[name=description]")?.getAttribute("content") ?? "",
          ids: [...document.querySelectorAll("[id]")].map(({ id }) => id),
          links: [...document.querySelectorAll("a[href]")].map((link) => (link as HTMLAnchorElement).href),
          isWide: document.documentElement.scrollWidth > window.innerWidth
        }))
      })
    }
  }
  await Promise.all([tab(), tab(), tab(), tab()])
  return visited
}

describe("the documentation site", () => {
  it("is built without a warning", () => {
    assert.notMatch(output, /warn|deprecat|\(!\)|dead link|not loaded/i)
  })

  it("each page works at the width of a phone: title, description, no dead link, no error, no request to another host", async () => {
    const context = await browser.newContext({ viewport: { width: 390, height: 844 } })
    const faults = faultsOf(context)
    const visited = await visitAll(context)
    await context.close()
    assert.isAbove(visited.length, 100)
    assert.deepStrictEqual(faults, [])

    const titles = visited.map(({ title }) => title)
    assert.deepStrictEqual(titles.filter((title, at) => titles.indexOf(title) < at), [], "titles are unique")
    assert.deepStrictEqual(visited.filter(({ description }) => description === "").map(({ path }) => path), [])
    assert.deepStrictEqual(visited.filter(({ isWide }) => isWide).map(({ path }) => path), [], "wider than the screen")

    const anchors = new Map(visited.map(({ ids, path }) => [new URL(path, origin).pathname, new Set(ids)]))
    const dead = visited.flatMap(({ links, path }) =>
      links.map((link) => new URL(link)).filter((url) => url.origin === origin).flatMap(({ hash, pathname }) => {
        const ids = anchors.get(pathname)
        const exists = ids !== undefined && (hash === "" || ids.has(decodeURIComponent(hash.slice(1))))
        return exists ? [] : [`${path} has a link to ${pathname}${hash}`]
      })
    )
    assert.deepStrictEqual(dead, [])

    const { repository } = project()
    const other = new Set(visited.flatMap(({ links }) => links).filter((link) => link.startsWith(`${repository}/`)))
    const missing = [...other].flatMap((link) => {
      const [, file = ""] = /^\/(?:blob|tree)\/main\/([^#]+)/.exec(link.slice(repository.length)) ?? []
      return file !== "" && existsSync(decodeURIComponent(file)) ? [] : [link]
    })
    assert.deepStrictEqual(missing, [], "files of the repository")
  })

  it("the home page has the first program and the seven laws of the README", async () => {
    const page = await browser.newPage()
    await visit(page, "/")
    const text = await page.locator("#app").innerText()
    assert.include(text, "class AppSession extends Session.Tag<AppSession>()")
    for (const law of ["L1 No lost update", "L2 Gone is gone", "L4 Commit, then answer", "L7 Deploys are safe"]) {
      assert.include(text, law)
    }
    await page.close()
  })

  for (const [term, path] of [["lost update", /\.html/], ["TieredStore", /TieredStore\.html/]] as const) {
    it(`the search finds "${term}" and opens a page that has it`, async () => {
      const context = await browser.newContext()
      const faults = faultsOf(context)
      const page = await context.newPage()
      await visit(page, "/concepts.html")
      await page.getByRole("button", { name: "Search" }).first().click()
      await page.locator("#localsearch-input").fill(term)
      const result = page.locator(".VPLocalSearchBox .result").first()
      await result.waitFor()
      await result.click()
      await page.locator(".VPLocalSearchBox").waitFor({ state: "detached" })
      await page.waitForURL((url) => path.test(url.pathname))
      const text = (await page.getByRole("main").textContent())?.toLowerCase() ?? ""
      for (const word of term.toLowerCase().split(" ")) assert.include(text, word)
      assert.deepStrictEqual(faults, [])
      await context.close()
    })
  }

  it("the switch changes between light and dark, and the choice stays", async () => {
    const context = await browser.newContext({ colorScheme: "light" })
    const page = await context.newPage()
    await visit(page, "/concepts.html")
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
    const light = await background()
    await page.getByRole("switch", { name: "Switch to dark theme" }).first().click()
    await page.locator("html.dark").waitFor({ state: "attached" })
    const dark = await background()
    assert.notStrictEqual(dark, light)
    await visit(page, "/http.html")
    assert.strictEqual(await background(), dark)
    await context.close()
  })

  it("the results of the laws are in boxes that open", async () => {
    const page = await browser.newPage()
    await visit(page, "/laws.html")
    const law = page.getByText("of concurrent saves with one expected version exactly one is written")
    assert.isFalse(await law.isVisible())
    await page.locator("details", { has: law }).locator("summary").click()
    await law.waitFor({ state: "visible" })
    await page.close()
  })

  it("llms.txt lists pages that are there as Markdown", async () => {
    const index = await (await fetch(`${origin}/llms.txt`)).text()
    const links = [...index.matchAll(/\]\(([^)]+)\): \S/g)].map(([, link = ""]) => link)
    assert.isAbove(links.length, 50)
    for (const link of [...links, "llms-full.txt"]) {
      const response = await fetch(new URL(link, `${origin}/llms.txt`))
      assert.strictEqual(response.status, 200, link)
      assert.match(await response.text(), /^# /m)
    }
  })
})
