/**
 * The layout of every page.
 */
import { HttpServerResponse } from "@effect/platform"
import type { Effect } from "effect"
import type { AppSession } from "./AppSession.js"
import { count } from "./catalogue.js"
import { type Html, html } from "./html.js"
import { style } from "./style.js"

/** The session value shown on pages. */
export type Visitor = Effect.Effect.Success<typeof AppSession.value>

export const page = (
  options: { readonly title: string; readonly body: Html; readonly visitor?: Visitor; readonly status?: number }
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
      ${navigation(options.visitor)}
    </nav>
  </header>
  <main>
    <h1>${options.title}</h1>
    ${options.body}
  </main>
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

/** Pages that do not use the session, such as the login form, cause no store call. */
const navigation = (visitor: Visitor | undefined): Html =>
  visitor === undefined ? html`<a href="/">Catalogue</a>` : html`<a href="/">Catalogue</a>
      <a href="/cart">Cart (${count(visitor.cart)})</a>
      <a href="/session">Session</a>
      ${
    visitor.user === undefined
      ? html`<a href="/login">Log in</a>`
      : html`<form method="post" action="/logout"><button class="link">Log out ${visitor.user}</button></form>`
  }`
