/**
 * The frame of a page, with the links to both sides.
 */
import { HttpServerResponse } from "@effect/platform"
import { Option } from "effect"

/** Makes a page. `user` and `content` are HTML; Django restricts user names to letters, digits and @.+-_ */
export const page = (
  inCart: number,
  user: Option.Option<string>,
  content: string
): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.html(`<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Bookshop</title>
  <style>
    body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem; }
    nav { display: flex; gap: 1rem; align-items: center; border-bottom: 1px solid; padding-bottom: 0.5rem; }
    nav form { margin-left: auto; }
  </style>
</head>
<body>
  <nav>
    <a href="/">Catalogue</a>
    <a href="/cart">Cart (${inCart})</a>
    ${
    Option.match(user, {
      onNone: () => `<a href="/login/">Log in</a>`,
      onSome: (name) => `<form method="post" action="/cart/logout"><button>Log out ${name}</button></form>`
    })
  }
  </nav>
  ${content}
  <p><small>This page is from Effect.</small></p>
</body>
</html>
`)
