/**
 * The layout of every page.
 */
import { HttpServerResponse } from "@effect/platform"
import { Option } from "effect"
import { count } from "./catalogue.js"
import type { Frame } from "./frame.js"
import { type Html, html } from "./html.js"
import { style } from "./style.js"

/** Error pages have no frame, because they must not use the session. */
export const page = (
  options: { readonly title: string; readonly body: Html; readonly frame?: Frame; readonly status?: number }
): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.text(
    html`<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <link rel="icon" href="data:,">
  <title>${options.title} · Tea shop</title>
  <style>${style}</style>
</head>
<body>
  <header>
    <a class="brand" href="/">Tea shop</a>
    <nav aria-label="Main">
      ${navigation(options.frame)}
    </nav>
  </header>
  <main>
    ${notice(options.frame)}
    <h1>${options.title}</h1>
    ${options.body}
  </main>
  ${footer(options.frame)}
</body>
</html>
`.text,
    {
      status: options.status ?? 200,
      contentType: "text/html; charset=utf-8",
      headers: {
        // A page contains session data and must not be cached.
        "cache-control": "no-store",
        "content-security-policy": policy
      }
    }
  )

const policy = [
  "default-src 'none'",
  "style-src 'unsafe-inline'",
  "img-src data:",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'"
].join("; ")

const navigation = (frame: Frame | undefined): Html =>
  frame === undefined ? html`<a href="/">Catalogue</a>` : html`<a href="/">Catalogue</a>
      <a href="/cart">Cart (${count(frame.visitor.cart)})</a>
      ${
    frame.visitor.user === undefined
      ? html`<a href="/login">Log in</a>`
      : html`<a href="/account">Account</a>
      <form method="post" action="/logout">${frame.csrf}<button class="link">Log out ${frame.visitor.user}</button></form>`
  }`

const notice = (frame: Frame | undefined): Html =>
  Option.match(Option.flatMap(Option.fromNullable(frame), ({ notice }) => notice), {
    onNone: () => html``,
    onSome: (sentence) => html`<p role="status">${sentence}</p>`
  })

const footer = (frame: Frame | undefined): Html =>
  frame === undefined
    ? html``
    : html`<footer class="soft">Session engine: ${frame.engine} · <a href="/_session">Session devtools</a></footer>`
