/**
 * The page of `SessionDevtools`: HTML without scripts and external resources.
 */
import { sha256 } from "../crypto/primitives.js"
import { titled } from "./diagnosis.js"
import type { Html } from "./html.js"
import { html, trusted } from "./html.js"
import type { RequestReport, Sent, SessionReport, StoreCall } from "./report.js"
import type { SessionView } from "./view.js"

/** The content of the page. */
export interface Content {
  readonly sessions: ReadonlyArray<SessionView>
  /** The latest requests, newest first. */
  readonly requests: ReadonlyArray<RequestReport>
}

const style = `
:root { color-scheme: light dark; --line: #8885; --soft: #666; --mark: #a33a20 }
@media (prefers-color-scheme: dark) { :root { --soft: #aaa; --mark: #ff9d80 } }
body { max-width: 72rem; margin: 0 auto; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif; background: Canvas; color: CanvasText }
h1 { font-size: 1.4rem } h2 { margin-top: 2rem; font-size: 1.15rem }
table { width: 100%; border-collapse: collapse }
th, td { padding: .35rem .75rem .35rem 0; border-top: 1px solid var(--line); text-align: start; vertical-align: top; overflow-wrap: anywhere }
thead th { border: 0; white-space: nowrap }
.notes td { padding-top: 0; border: 0; color: var(--mark) }
.notes p { margin: 0 }
code { font: .9em/1.5 ui-monospace, monospace }
.soft { color: var(--soft) }
.wide { overflow-x: auto }
:focus-visible { outline: 3px solid; outline-offset: 2px }
`

/** The headers of every answer. The page needs its own style sheet, and nothing else. */
export const headers: Readonly<Record<string, string>> = {
  "cache-control": "no-store",
  "content-security-policy": [
    "default-src 'none'",
    // CSP hashes are base64 with padding.
    `style-src 'sha256-${sha256(new TextEncoder().encode(style)).replaceAll("-", "+").replaceAll("_", "/")}='`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'"
  ].join("; "),
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff"
}

export const page = ({ requests, sessions }: Content, path: { readonly html: string; readonly json: string }): string =>
  html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Session devtools</title>
<style>${trusted(style)}</style>
</head>
<body>
<main>
<h1>Session devtools</h1>
<p class="soft">For development on this machine. <a href="${path.html}">Reload</a> · <a href="${path.json}">JSON</a></p>
${sessions.map(sessionView)}
<h2>Requests</h2>
${requests.length === 0 ? html`<p>None yet.</p>` : requestTable(requests)}
</main>
</body>
</html>
`.text

// ---- the session of the viewer

const sessionView = (session: SessionView): Html =>
  html`<section>
<h2>Your session of <code>${session.tag}</code></h2>
${
    session.absence === undefined
      ? undefined
      : html`<p>No session: <code>${session.absence}</code>. These are the values of a new one.</p>`
  }
<div class="wide"><table>
<thead><tr><th scope="col">Field</th><th scope="col">Type</th><th scope="col">Value</th></tr></thead>
<tbody>
${
    session.fields.map(({ name, type, value }) =>
      html`<tr><th scope="row"><code>${name}</code></th><td><code>${type}</code></td><td><code>${value}</code></td></tr>
`
    )
  }</tbody>
</table></div>
<div class="wide"><table><tbody>
${row("Cookie", session.cookie)}${row("Id", session.id)}${row("Subject", session.subject)}${
    row("Impersonator", session.impersonator)
  }${row("Methods", session.methods.join(", ") || undefined)}${
    row("Level", session.level === undefined ? undefined : String(session.level))
  }${row("Created", session.createdAt)}${row("Logged in", session.authenticatedAt)}${
    row("Last seen (written)", session.lastSeenAt)
  }${row("Ends", session.endsAt)}</tbody></table></div>
</section>
`

const row = (title: string, value: string | undefined): Html | undefined =>
  value === undefined ? undefined : html`<tr><th scope="row">${title}</th><td><code>${value}</code></td></tr>
`

// ---- the requests

const requestTable = (requests: ReadonlyArray<RequestReport>): Html =>
  html`<div class="wide"><table>
<thead><tr><th scope="col">#</th><th scope="col">Request</th><th scope="col">Status</th><th scope="col">Session</th>
<th scope="col">Loaded</th><th scope="col">Decided</th><th scope="col">Store calls</th><th scope="col">Sent</th></tr></thead>
<tbody>
${requests.map(requestRows)}</tbody>
</table></div>`

const requestRows = (request: RequestReport): Html =>
  request.sessions.length === 0
    ? requestRow(request, undefined)
    : html`${
      request.sessions.map((session) =>
        html`${requestRow(request, session)}${
          session.notes.length === 0 ?
            undefined :
            html`<tr class="notes"><td></td><td colspan="7">${
              session.notes.map((note) => html`<p>${note}</p>`)
            }</td></tr>
`
        }`
      )
    }`

const requestRow = (request: RequestReport, session: SessionReport | undefined): Html =>
  html`<tr><td>${request.number}</td><td><code>${request.method} ${request.path}</code> <span class="soft">${request.duration} ms</span></td><td>${request.status}</td>${
    session === undefined
      ? html`<td colspan="3" class="soft">not used</td>`
      : html`<td><code>${session.tag}</code></td><td>${session.loads.join(", ") || "–"}</td><td>${
        decided(session)
      }</td>`
  }<td>${request.storeCalls.length === 0 ? "–" : request.storeCalls.map(storeCall)}</td><td>${
    session?.sent === undefined ? "–" : sent(session.sent)
  }</td></tr>
`

const decided = ({ commits }: SessionReport): Html =>
  commits.length === 0
    ? html`–`
    : html`${
      commits.map(({ decision, fields }) =>
        html`<div>${decision}${fields.length === 0 ? undefined : html` <code>${fields.join(", ")}</code>`}</div>`
      )
    }`

const storeCall = ({ duration, operation, outcome }: StoreCall): Html =>
  html`<div>${operation} <span class="soft">${outcome}, ${duration.toFixed(2)} ms</span></div>`

const sent = (sent: Sent): Html =>
  sent._tag === "Token"
    ? html`header <code>${titled(sent.header)}</code>`
    : html`${sent.expires ? "Set-Cookie, without a token" : "Set-Cookie"} <code>${sent.attributes}</code>`
