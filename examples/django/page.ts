/**
 * The frame of a page, which is that of Django's `base.html`.
 */
import { HttpServerResponse } from "@effect/platform"
import { SqlClient } from "@effect/sql"
import { Array, Effect, Option } from "effect"
import { type Html, html } from "../shop/html.js"
import { AppSession, csrfField } from "./session.js"

/** The name of the user. The subject of a login is the primary key of Django's user, as text. */
const username = Effect.flatMap(
  AppSession.subject,
  Option.match({
    onNone: () => Effect.succeedNone,
    onSome: (id) =>
      Effect.flatMap(SqlClient.SqlClient, (sql) =>
        Effect.map(
          sql<{ readonly username: string }>`SELECT username FROM auth_user WHERE id = ${Number(id)}`,
          (rows) => Option.map(Array.head(rows), ({ username }) => username)
        ))
  })
)

/** Makes a page. `content` is given the hidden field of its forms. */
export const page = (title: string, content: (csrf: Html) => Html) =>
  Effect.gen(function*() {
    const { cart } = yield* AppSession.value
    const csrf = yield* csrfField
    const account = Option.match(yield* username, {
      onNone: () => html`<a href="/login/">Log in</a>`,
      onSome: (name) => html`<form method="post" action="/cart/logout">${csrf}<button>Log out ${name}</button></form>`
    })
    return HttpServerResponse.text(
      html`<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <link rel="icon" href="data:,">
  <title>${title} · Bookshop</title>
  <style>
    body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem }
    nav { display: flex; gap: 1rem; align-items: center; border-bottom: 1px solid; padding-bottom: 0.5rem }
    nav :last-child { margin-left: auto }
  </style>
</head>
<body>
  <nav aria-label="Main">
    <a href="/">Catalogue</a>
    <a href="/cart">Cart (${cart.length})</a>
    ${account}
  </nav>
  <main>
    <h1>${title}</h1>
    ${content(csrf)}
  </main>
  <footer><small>This page is from Effect.</small></footer>
</body>
</html>
`.text,
      // The back button shows no page of a visitor who has logged out.
      { contentType: "text/html; charset=utf-8", headers: { "cache-control": "no-store" } }
    )
  })
