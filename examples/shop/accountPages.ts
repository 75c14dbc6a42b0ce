/**
 * The pages of the account.
 */
import { DateTime } from "effect"
import type { OwnSession } from "effect-session/SessionAdmin"
import type { Client } from "./AppSession.js"
import type { Frame } from "./frame.js"
import { type Html, html } from "./html.js"
import { page } from "./layout.js"

type Device = OwnSession<typeof Client.Type>

export const account = (frame: Frame, devices: ReadonlyArray<Device>) =>
  page({
    title: "Account",
    frame,
    body: html`<p><a href="/account/password">Change the password</a></p>
    <h2>Your devices</h2>
    <ul class="devices">${devices.map((device) => deviceItem(device, frame))}</ul>
    ${devices.length < 2 ? html`` : othersForm(frame)}`
  })

const deviceItem = (device: Device, frame: Frame): Html =>
  html`
      <li>
        <div><h2>${nameOf(device)}</h2>
          <p class="soft">Since ${time(device.createdAt)}, last seen ${time(device.lastSeenAt)}, ends ${
    time(device.endsAt)
  }${device.isRemembered ? ", remembered" : ""}</p></div>
        ${device.isCurrent ? html`<strong>This device</strong>` : logOutForm(device, frame)}
      </li>`

const logOutForm = (device: Device, { csrf }: Frame): Html =>
  html`<form method="post" action="/account/logout">${csrf}
          <button class="plain" name="id" value="${device.id}" aria-label="Log out ${nameOf(device)}">Log out</button>
        </form>`

const othersForm = ({ csrf }: Frame): Html =>
  html`<form method="post" action="/account/logout-others" class="row">${csrf}
      <button>Log out all other devices</button>
    </form>`

const nameOf = ({ context }: Device): string => context?.browser ?? "Unknown browser"

const time = (at: DateTime.Utc): Html =>
  html`<time datetime="${DateTime.formatIso(at)}">${
    DateTime.formatUtc(at, { locale: "en-GB", dateStyle: "medium", timeStyle: "short" })
  } UTC</time>`

export const confirm = (frame: Frame) =>
  page({
    title: "Is it you?",
    frame,
    body: html`<p>Enter your password again to change it.</p>
    ${passwordForm(frame, "/account/confirm", "Password", "current-password", "Continue")}`
  })

export const password = (frame: Frame) =>
  page({
    title: "Change the password",
    frame,
    body: html`<p>All other devices will be logged out.</p>
    ${passwordForm(frame, "/account/password", "New password", "new-password", "Change it")}`
  })

const passwordForm = (
  { csrf }: Frame,
  action: string,
  label: string,
  autocomplete: string,
  button: string
): Html =>
  html`<form method="post" action="${action}">${csrf}
      <label for="password">${label}</label>
      <input id="password" name="password" type="password" required autocomplete="${autocomplete}">
      <div class="row"><button>${button}</button></div>
    </form>`
