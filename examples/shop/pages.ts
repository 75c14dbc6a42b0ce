/**
 * The pages, as functions of their data.
 */
import { Option } from "effect"
import type { Locale } from "./AppSession.js"
import * as Catalogue from "./catalogue.js"
import { type Html, html } from "./html.js"
import { page, type Visitor } from "./layout.js"
import type { RequestCost } from "./StoreCosts.js"

export const catalogue = (visitor: Visitor) =>
  page({
    title: visitor.user === undefined ? "Catalogue" : `Catalogue for ${visitor.user}`,
    visitor,
    body: html`<p>${greeting(visitor.locale)}</p>
    <ul class="products">${Catalogue.products.map((product) => productItem(product, visitor.locale))}</ul>
    ${localeForm(visitor.locale)}`
  })

const productItem = (product: Catalogue.Product, locale: Locale): Html =>
  html`
      <li>
        <div><h2>${product.name}</h2><p class="soft">${product.description}</p></div>
        <span class="price">${money(product.cents, locale)}</span>
        <form method="post" action="/cart">
          <button name="sku" value="${product.sku}" aria-label="Add ${product.name} to the cart">Add</button>
        </form>
      </li>`

const localeForm = (current: Locale): Html =>
  html`<form method="post" action="/locale" class="row" aria-label="Language of greeting and prices">
      ${
    localeNames.map(([locale, name]) =>
      html`<button class="plain" name="locale" value="${locale}" lang="${locale}" aria-pressed="${
        String(locale === current)
      }">${name}</button>`
    )
  }
    </form>`

export const cart = (visitor: Visitor) =>
  page({
    title: "Cart",
    visitor,
    body: Catalogue.lines(visitor.cart).length === 0
      ? html`<p>The cart is empty. <a href="/">See the catalogue.</a></p>`
      : html`<table>
      <thead><tr><th scope="col">Product</th><th scope="col" class="number">Quantity</th>
        <th scope="col" class="number">Price</th><td></td></tr></thead>
      <tbody>${Catalogue.lines(visitor.cart).map((line) => cartRow(line, visitor.locale))}</tbody>
      <tfoot><tr><th scope="row" colspan="2">Total</th>
        <td class="number"><strong>${
        money(Catalogue.total(visitor.cart), visitor.locale)
      }</strong></td><td></td></tr></tfoot>
    </table>`
  })

const cartRow = ({ cents, product, quantity }: Catalogue.Line, locale: Locale): Html =>
  html`
        <tr><td>${product.name}</td><td class="number">${quantity}</td><td class="number">${money(cents, locale)}</td>
          <td class="number"><form method="post" action="/cart/remove">
            <button class="link" name="sku" value="${product.sku}" aria-label="Remove ${product.name}">Remove</button>
          </form></td></tr>`

export const login = (problem?: string) =>
  page({
    title: "Log in",
    status: problem === undefined ? 200 : 400,
    body: html`${problem === undefined ? "" : html`<p role="alert">${problem}</p>`}
    <p>Any name and any password will do.</p>
    <form method="post" action="/login">
      <label for="name">Name</label>
      <input id="name" name="name" required maxlength="60" autocomplete="username" autofocus>
      <label for="password">Password</label>
      <input id="password" name="password" type="password" autocomplete="current-password">
      <div class="row"><button>Log in</button></div>
    </form>`
  })

export const session = (
  view: {
    readonly visitor: Visitor
    readonly id: Option.Option<string>
    readonly subject: Option.Option<string>
    readonly costs: ReadonlyArray<RequestCost>
  }
) =>
  page({
    title: "Session",
    visitor: view.visitor,
    body: html`<dl>
      <dt>Id</dt><dd>${orElse(view.id, "none: nothing has been stored yet")}</dd>
      <dt>Subject</dt><dd>${orElse(view.subject, "none: not logged in")}</dd>
    </dl>
    <h2>What it holds</h2>
    <pre tabindex="0" role="region" aria-label="The session as JSON">${JSON.stringify(view.visitor, undefined, 2)}</pre>
    <h2>What requests cost</h2>
    <table>
      <caption>The latest requests to this server, newest first. This page itself is answered, then counted.</caption>
      <thead><tr><th scope="col">Request</th><th scope="col">Calls of the session store</th></tr></thead>
      <tbody>${view.costs.map(costRow)}</tbody>
    </table>`
  })

const costRow = ({ calls, method, path }: RequestCost): Html =>
  html`
        <tr><td>${method} ${path}</td><td>${calls.length === 0 ? "none" : calls.join(", ")}</td></tr>`

export const problem = (status: number, title: string, sentence: string) =>
  page({
    title,
    status,
    body: html`<p role="alert">${sentence}</p>
    <p><a href="/">Back to the catalogue</a></p>`
  })

const localeNames: ReadonlyArray<readonly [Locale, string]> = [["en", "English"], ["ja", "日本語"], ["ko", "한국어"]]

const greetings: Readonly<Record<Locale, string>> = { en: "Welcome.", ja: "いらっしゃいませ。", ko: "어서 오세요." }

const greeting = (locale: Locale): Html => html`<span lang="${locale}">${greetings[locale]}</span>`

const money = (cents: number, locale: Locale): string =>
  new Intl.NumberFormat(locale, { style: "currency", currency: "EUR" }).format(cents / 100)

const orElse = (text: Option.Option<string>, otherwise: string): Html =>
  Option.match(text, { onNone: () => html`<span class="soft">${otherwise}</span>`, onSome: (value) => html`${value}` })
