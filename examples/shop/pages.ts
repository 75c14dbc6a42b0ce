/**
 * The pages, as functions of their data.
 */
import { Option } from "effect"
import type { Absence } from "effect-session/SessionHandle"
import { type Locale, maxDevices } from "./AppSession.js"
import * as Catalogue from "./catalogue.js"
import type { Frame } from "./frame.js"
import { type Html, html } from "./html.js"
import { page } from "./layout.js"

export const catalogue = (frame: Frame) =>
  page({
    title: frame.visitor.user === undefined ? "Catalogue" : `Catalogue for ${frame.visitor.user}`,
    frame,
    body: html`<p>${greeting(frame.visitor.locale)}</p>
    <ul class="products">${Catalogue.products.map((product) => productItem(product, frame))}</ul>
    ${localeForm(frame)}`
  })

const productItem = (product: Catalogue.Product, { csrf, visitor: { locale } }: Frame): Html =>
  html`
      <li>
        <div><h2>${product.name}</h2><p class="soft">${product.description}</p></div>
        <span class="price">${money(product.cents, locale)}</span>
        <form method="post" action="/cart">${csrf}
          <button name="sku" value="${product.sku}" aria-label="Add ${product.name} to the cart">Add</button>
        </form>
      </li>`

const localeForm = ({ csrf, visitor }: Frame): Html =>
  html`<form method="post" action="/locale" class="row" aria-label="Language of greeting and prices">${csrf}
      ${
    localeNames.map(([locale, name]) =>
      html`<button class="plain" name="locale" value="${locale}" lang="${locale}" aria-pressed="${
        String(locale === visitor.locale)
      }">${name}</button>`
    )
  }
    </form>`

export const cart = (frame: Frame) =>
  page({
    title: "Cart",
    frame,
    body: Catalogue.lines(frame.visitor.cart).length === 0
      ? html`<p>The cart is empty. <a href="/">See the catalogue.</a></p>`
      : html`${cartTable(frame)}
    ${noteForm(frame)}`
  })

const cartTable = (frame: Frame): Html => {
  const { visitor: { cart, locale } } = frame
  return html`<table>
      <thead><tr><th scope="col">Product</th><th scope="col" class="number">Quantity</th>
        <th scope="col" class="number">Price</th><td></td></tr></thead>
      <tbody>${Catalogue.lines(cart).map((line) => cartRow(line, frame))}</tbody>
      <tfoot><tr><th scope="row" colspan="2">Total</th>
        <td class="number"><strong>${money(Catalogue.total(cart), locale)}</strong></td><td></td></tr></tfoot>
    </table>`
}

const cartRow = ({ cents, product, quantity }: Catalogue.Line, { csrf, visitor: { locale } }: Frame): Html =>
  html`
        <tr><td>${product.name}</td><td class="number">${quantity}</td><td class="number">${money(cents, locale)}</td>
          <td class="number"><form method="post" action="/cart/remove">${csrf}
            <button class="link" name="sku" value="${product.sku}" aria-label="Remove ${product.name}">Remove</button>
          </form></td></tr>`

/** `seen` is the note that the form was made from, so that the handler can detect a change by another tab. */
const noteForm = ({ csrf, visitor: { note } }: Frame): Html =>
  html`<form method="post" action="/cart/note">${csrf}
      <input type="hidden" name="seen" value="${note}">
      <label for="note">Note for the delivery</label>
      <input id="note" name="note" maxlength="200" value="${note}">
      <div class="row"><button>Save the note</button></div>
    </form>`

/** Two tabs have changed the note. Every choice is based on the stored note, so a third tab is detected as well. */
export const noteConflict = (frame: Frame, mine: string) => {
  const theirs = frame.visitor.note
  const choice = (note: string, button: string) =>
    html`<form method="post" action="/cart/note">${frame.csrf}
        <input type="hidden" name="seen" value="${theirs}">
        <input type="hidden" name="note" value="${note}">
        <button>${button}</button>
      </form>`
  return page({
    title: "Which note?",
    frame,
    status: 409,
    body: html`<p role="alert">Another tab has changed the note since this one showed it. Nothing is lost: choose.</p>
    <div class="sides">
      <section aria-label="Your note"><h2>Your note</h2><p>${quoted(mine)}</p>${choice(mine, "Keep yours")}</section>
      <section aria-label="The other note"><h2>The other note</h2><p>${quoted(theirs)}</p>${
      choice(theirs, "Keep the other")
    }</section>
    </div>
    <form method="post" action="/cart/note">${frame.csrf}
      <input type="hidden" name="seen" value="${theirs}">
      <label for="both">Both</label>
      <input id="both" name="note" maxlength="200" value="${theirs} ${mine}">
      <div class="row"><button>Save both</button></div>
    </form>`
  })
}

const quoted = (note: string): Html => note === "" ? html`<span class="soft">empty</span>` : html`${note}`

export const login = (frame: Frame, absence: Option.Option<Absence>, problem?: string) =>
  page({
    title: "Log in",
    frame,
    status: problem === undefined ? 200 : 400,
    body: html`${
      alert(problem ?? Option.getOrUndefined(Option.flatMapNullable(absence, (absence) => reasons[absence])))
    }
    <p>Any name and any password will do.</p>
    <form method="post" action="/login">${frame.csrf}
      <label for="name">Name</label>
      <input id="name" name="name" required maxlength="60" autocomplete="username" autofocus>
      <label for="password">Password</label>
      <input id="password" name="password" type="password" autocomplete="current-password">
      <label class="choice"><input name="remember" type="checkbox" value="yes"> Remember me on this device</label>
      <div class="row"><button>Log in</button></div>
    </form>`
  })

const alert = (problem: string | undefined): Html =>
  problem === undefined ? html`` : html`<p role="alert">${problem}</p>`

/** Why the visitor is not logged in any more. The other reasons are not shown. */
const reasons: Readonly<{ [reason in Absence]?: string }> = {
  expired: "Your session has expired. Log in again.",
  revoked: "You were logged out on another device.",
  subjectRevoked: "You were logged out on another device, which has ended all other sessions.",
  allRevoked: "The shop has ended all sessions. Log in again.",
  limit: `You were logged out here, because you are logged in on ${maxDevices} other devices.`
}

export const problem = (status: number, title: string, sentence: string) =>
  page({
    title,
    status,
    body: html`${alert(sentence)}
    <p><a href="/">Back to the catalogue</a></p>`
  })

const localeNames: ReadonlyArray<readonly [Locale, string]> = [["en", "English"], ["ja", "日本語"], ["ko", "한국어"]]

const greetings: Readonly<Record<Locale, string>> = { en: "Welcome.", ja: "いらっしゃいませ。", ko: "어서 오세요." }

const greeting = (locale: Locale): Html => html`<span lang="${locale}">${greetings[locale]}</span>`

const money = (cents: number, locale: Locale): string =>
  new Intl.NumberFormat(locale, { style: "currency", currency: "EUR" }).format(cents / 100)
