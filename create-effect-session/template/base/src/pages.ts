/**
 * The pages, as functions of what they show.
 */
import { HttpServerResponse } from "@effect/platform"
import { DateTime } from "effect"
import type { OwnSession } from "effect-session/SessionAdmin"
import { type Html, html } from "./html.js"

/** What every page has from the session. */
export interface Frame {
  readonly user: string | undefined
  readonly theme: string
  /** The token against forged requests. Every form needs it; visitors without a session have none, and need none. */
  readonly csrfToken: string
}

const page = (title: string, { csrfToken, theme, user }: Frame, body: Html, status = 200) =>
  HttpServerResponse.text(
    html`<!doctype html>
<html lang="en" style="color-scheme: ${theme}">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <link rel="icon" href="data:,">
  <title>${title}</title>
</head>
<body>
  <nav aria-label="Main">
    <a href="/">Home</a>
    ${
      user === undefined ? html`<a href="/login">Log in</a>` : html`<a href="/account">Account</a>
    <form method="post" action="/logout">${tokenField(csrfToken)}<button>Log out</button></form>`
    }
  </nav>
  <main>
    <h1>${title}</h1>
    ${body}
  </main>
</body>
</html>
`.text,
    {
      status,
      contentType: "text/html; charset=utf-8",
      headers: {
        "cache-control": "no-store",
        "content-security-policy":
          "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; " +
          "base-uri 'none'; frame-ancestors 'none'"
      }
    }
  )

const tokenField = (token: string): Html => html`<input type="hidden" name="csrfToken" value="${token}">`

export const home = (frame: Frame) =>
  page(
    `Hello ${frame.user ?? "stranger"}`,
    frame,
    html`<form method="post" action="/theme">${tokenField(frame.csrfToken)}
      <button name="theme" value="light">Light</button>
      <button name="theme" value="dark">Dark</button>
    </form>`
  )

export const login = (frame: Frame, problem?: string) =>
  page(
    "Log in",
    frame,
    html`${problem === undefined ? "" : html`<p role="alert">${problem}</p>`}
    <form method="post" action="/login">${tokenField(frame.csrfToken)}
      <p><label>Name <input name="name" required autocomplete="username"></label></p>
      <p><label>Password <input name="password" type="password" required autocomplete="current-password"></label></p>
      <button>Log in</button>
    </form>`,
    problem === undefined ? 200 : 401
  )

type Device = OwnSession<{ readonly browser: string }>

export const account = (frame: Frame, devices: ReadonlyArray<Device>) =>
  page(
    "Account",
    frame,
    html`<h2>My devices</h2>
    <ul>${devices.map((device) => deviceItem(device, frame))}</ul>
    <form method="post" action="/account/log-out-others">${tokenField(frame.csrfToken)}
      <button>Log out all other devices</button>
    </form>`
  )

const deviceItem = ({ context, id, isCurrent, lastSeenAt }: Device, { csrfToken }: Frame): Html =>
  html`
      <li>${context?.browser ?? "Unknown browser"}, last seen ${DateTime.formatIso(lastSeenAt)}
        ${
    isCurrent ?
      html`<strong>This device</strong>` :
      html`<form method="post" action="/account/log-out">${
        tokenField(csrfToken)
      }<button name="id" value="${id}">Log out</button></form>`
  }
      </li>`
